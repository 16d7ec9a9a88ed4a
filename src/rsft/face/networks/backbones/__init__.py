"""Face networks as trainable modules, one file per family."""
