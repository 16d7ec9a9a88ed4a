"""Tensors on disk, by safetensors."""

import errno
import re
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from rsft.disk.access import make_usual
from rsft.disk.room import telling_full


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to a `.safetensors` file with the mode that the umask gives.

    Args:
        path: The file.
        tensors: Name -> tensor; contiguous, and no two of them share memory.

    Raises:
        DiskFullError: There is no room.
        OSError: The file cannot be written.
    """
    wanted = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    with telling_full(path, wanted):
        try:
            safetensors.torch.save_file(dict(tensors), path)
        except safetensors.SafetensorError as error:
            number = re.search(r"os error (\d+)", str(error))  # the library passes on the system's error as text
            raise OSError(int(number[1]) if number else errno.EIO, str(error), str(path)) from error
    make_usual(path)
