"""Readers for pictures, and storage of the features computed from them."""
