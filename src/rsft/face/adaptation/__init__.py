"""Adaptation of a network to a target, from features and a plan; no pictures or run folders are read here."""

import sys

import lazy_loader

# PyTorch is not imported with the package, so that a command line is checked before it
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
sys.modules[__name__].__class__ = type(sys.modules["rsft"])  # `tune` is the function, and not the module
