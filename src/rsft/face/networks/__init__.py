"""Face networks: weights, and all that travels with them."""

import lazy_loader

# PyTorch is not imported with the package, so that a command line is checked before it
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
