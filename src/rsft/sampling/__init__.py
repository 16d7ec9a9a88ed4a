"""Accept or reject the items of a pool: acceptance decisions, samplers, batches and streams."""
