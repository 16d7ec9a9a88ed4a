"""Tasks other than faces: feature matrices, classification, segmentation, detection, and your own tasks."""
