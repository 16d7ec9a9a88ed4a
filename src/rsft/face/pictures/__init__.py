"""Face pictures: detection, alignment, landmarks, covariates and embedding."""
