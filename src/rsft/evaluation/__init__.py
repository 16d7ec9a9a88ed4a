"""Comparison of results and samples, with intervals; independent of faces and of ratio estimation."""
