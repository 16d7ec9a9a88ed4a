"""Face networks as trainable modules, one file a family."""
