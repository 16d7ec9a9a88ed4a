"""Tasks other than faces: any matrix of features, classification, segmentation, detection, and one of your own."""
