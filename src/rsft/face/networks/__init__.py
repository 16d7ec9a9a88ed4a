"""Face networks: loading, preprocessing, stages, and the bundle saved with their weights."""
