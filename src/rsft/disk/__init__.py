"""Files and folders on disk: whole or absent, locked while written, with room for them, and private where they must be.

Every room may import this package. It knows nothing of pictures, runs or networks.
"""
