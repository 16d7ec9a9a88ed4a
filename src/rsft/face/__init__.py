"""Face recognition: alignment, networks, heads, verification."""
