"""ONNX graphs as trainable networks."""
