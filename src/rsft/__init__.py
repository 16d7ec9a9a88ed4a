"""Rejection sampling fine-tuning for PyTorch, with face recognition as the first application.

Public names are imported when they are first used, so that importing the package is cheap; `__init__.pyi` says where
each is defined.
"""

import sys
from types import ModuleType
from typing import Any

import lazy_loader

from rsft.threads import sleep_while_waiting

sleep_while_waiting()  # before anything imports PyTorch

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


class _Package(ModuleType):
    """A package: a public function is not hidden by the module of the same name, such as `rsft.plan`."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and name in self.__all__:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
