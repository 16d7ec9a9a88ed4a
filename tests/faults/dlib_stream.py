"""A small file in dlib's stream format, and the network that it fills: dlib's own file has 22 MB."""

import struct
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rsft.face.networks.backbones.dlib import Affine, fill_from_stream

FILE = "x.dat"
SOLVER = bytes(range(64))  # stands for the state of the training, which is skipped


class _First(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.conv, self.affine = nn.Conv2d(3, 4, 3), Affine(4)


class _Last(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2, bias=False)


def thin_network() -> nn.Sequential:
    """Return a network with one layer of each kind that dlib's has."""
    return nn.Sequential(_First(), _Last())


def write_thin(root: Path) -> None:
    """Write the file of `thin_network`."""
    (root / FILE).write_bytes(
        b"".join(
            [
                b"input_rgb_image_sized" + b"".join(_packed(number) for number in (31, 2, -33, 1, 7, -1)),
                _layer("con_4", (4, 3, 3, 3), extra=4),
                _layer("affine_", (1, 4, 1, 1), extra=4),
                _layer("fc_2", (4, 2, 1, 1), before=(2, 4)),
            ]
        )
    )


def read_thin(root: Path) -> nn.Sequential:
    """Read the file of `thin_network`."""
    network = thin_network()
    fill_from_stream(network, root / FILE)
    return network


def _layer(name: str, shape: tuple[int, ...], extra: int = 0, before: tuple[int, ...] = ()) -> bytes:
    numbers = int(np.prod(shape)) + extra
    head = b"".join(map(_packed, (1, *before, numbers, 1, 1, 1)))
    return name.encode() + head + struct.pack(f"<{numbers}f", *np.linspace(-1, 1, numbers)) + SOLVER


def _packed(number: int) -> bytes:
    size = (abs(number).bit_length() + 7) // 8
    return bytes([size | (0x80 if number < 0 else 0)]) + abs(number).to_bytes(size, "little")
