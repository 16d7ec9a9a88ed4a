"""Pictures on disk, and what was computed from them."""
