"""dlib's face recognition ResNet as a trainable module, and a reader for dlib's weight file.

Source: D. King, "High quality face recognition with deep metric learning", dlib blog, 2017; the weights are CC0.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsft.data.reading import reading

# (output channels, stride) of the 14 residual blocks, in the order of the forward pass.
BLOCKS = (
    *[(32, 1)] * 3,
    *[(64, 2), (64, 1), (64, 1), (64, 1)],
    *[(128, 2), (128, 1), (128, 1)],
    *[(256, 2), (256, 1), (256, 1)],
    (256, 2),
)


class Affine(nn.Module):
    """Scale and shift per channel: dlib's inference form of batch normalisation, without running statistics."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, x, self.weight)


class Stem(nn.Module):
    """First layers of the network: (B, 3, 150, 150) RGB in 0..255 -> (B, 32, 35, 35)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.conv = nn.Conv2d(3, 32, 7, stride=2)
        self.affine = Affine(32)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.get_buffer("mean")) / 256
        return F.max_pool2d(F.relu(self.affine(self.conv(x))), 3, stride=2)


class Block(nn.Module):
    """Two convolutions and a shortcut.

    With stride 2 the shortcut is average-pooled. Both are zero-padded at the bottom, at the right and in channels until
    their shapes match.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1 if stride == 1 else 0)
        self.affine1 = Affine(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.affine2 = Affine(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.affine2(self.conv2(F.relu(self.affine1(self.conv1(x)))))
        shortcut = x if self.stride == 1 else F.avg_pool2d(x, 2, stride=2)
        rows, columns = (max(y.shape[d], shortcut.shape[d]) for d in (2, 3))
        return F.relu(_pad(y, y.shape[1], rows, columns) + _pad(shortcut, y.shape[1], rows, columns))


class Embedding(nn.Module):
    """Global average pooling and a linear map without bias: (B, 256, 2, 2) -> (B, 128), not normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(256, 128, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3)))


def _pad(x: Tensor, channels: int, rows: int, columns: int) -> Tensor:
    """Zero-pad (B, C, H, W) at the end of each dimension to (B, channels, rows, columns)."""
    padding = (0, columns - x.shape[3], 0, rows - x.shape[2], 0, channels - x.shape[1])
    return F.pad(x, padding) if any(padding) else x


def build_dlib_resnet() -> nn.Sequential:
    """Build the network with untrained weights as a flat sequence: stem, 14 blocks, embedding.

    Returns:
        Module from (B, 3, 150, 150) float RGB chips (aligned face pictures) in 0..255 to (B, 128) embeddings, which are
        not normalised.

    >>> build_dlib_resnet()(torch.zeros(2, 3, 150, 150)).shape
    torch.Size([2, 128])
    """
    layers: list[nn.Module] = [Stem()]
    in_channels = 32
    for channels, stride in BLOCKS:
        layers.append(Block(in_channels, channels, stride))
        in_channels = channels
    return nn.Sequential(*layers, Embedding())


def read_dlib_resnet(path: Path) -> nn.Sequential:
    """Read the weights of `dlib_face_recognition_resnet_model_v1.dat`.

    Args:
        path: The file. That its numbers are dlib's is not checked: the caller must have compared its sha256.

    Returns:
        The network of `build_dlib_resnet` with dlib's weights.

    Raises:
        InputError: The file cannot be read, or its layers are not those of the network.
    """
    network = build_dlib_resnet()
    fill_from_stream(network, path)
    return network


def fill_from_stream(network: nn.Sequential, path: Path) -> None:
    """Give a network the parameters in a file of dlib's stream format.

    The file names every layer before its parameters, in the order of the forward pass. This function finds the layers
    by name and skips the training state between them.

    Args:
        network: Its first module has a buffer `mean`, its last one a linear map `fc`; between them, convolutions and
            `Affine` layers have the sizes of those in the file.
        path: The file.

    Raises:
        InputError: The file cannot be read, or its layers are not those of the network.
    """
    with reading(path, "the weights of dlib's network"), torch.no_grad():
        data = path.read_bytes()
        convolutions, affines = _tensors(data, b"con_4"), _tensors(data, b"affine_")
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                _fill(convolutions, module.weight, module.bias)
            elif isinstance(module, Affine):
                _fill(affines, module.weight, module.bias)
        # dlib stores the map as (inputs, outputs).
        linear = network.get_parameter(f"{len(network) - 1}.fc.weight")
        linear.copy_(_next(_tensors(data, b"fc_2", offset_integers=2), linear.numel()).reshape(linear.T.shape).T)
        network.get_buffer("0.mean").copy_(torch.tensor(_input_mean(data)).reshape(3, 1, 1))


def _fill(stored: Iterator[np.ndarray], weight: Tensor, bias: Tensor | None) -> None:
    """Copy one layer's parameters, stored as a flat array with the weights first."""
    values = _next(stored, weight.numel() + (0 if bias is None else bias.numel()))
    weight.copy_(values[: weight.numel()].reshape(weight.shape))
    if bias is not None:
        bias.copy_(values[weight.numel() :].reshape(bias.shape))


def _next(stored: Iterator[np.ndarray], numbers: int) -> Tensor:
    """Return the next layer's parameters, which must be this many."""
    values = next(stored, np.empty(0, np.float32))
    if len(values) != numbers:
        raise ValueError(f"a layer has {len(values)} parameters and needs {numbers}")
    return torch.from_numpy(values)


def _tensors(data: bytes, name: bytes, offset_integers: int = 0) -> Iterator[np.ndarray]:
    """Yield the flat parameters of each layer called `name`.

    Packed integers come first (a version, `offset_integers` more, four sizes), then little-endian float32 values.
    """
    at = data.find(name)
    while at >= 0:
        at += len(name)
        for _ in range(offset_integers + 1):
            _, at = _integer(data, at)
        size = 1
        for _ in range(4):
            extent, at = _integer(data, at)
            size *= extent
        if size < 0:  # NumPy would take the rest of the file
            raise ValueError(f"a layer has {size} parameters")
        yield np.frombuffer(data, "<f4", size, at).copy()
        at = data.find(name, at + 4 * size)


def _integer(data: bytes, at: int) -> tuple[int, int]:
    """Read dlib's packed integer and return it with the offset of its end.

    One byte holds the sign (bit 7) and the number of bytes that follow, least significant first.
    """
    header = data[at]
    end = at + 1 + (header & 0x0F)
    value = int.from_bytes(data[at + 1 : end], "little")
    return (-value if header & 0x80 else value), end


def _input_mean(data: bytes) -> list[float]:
    """Return the means of red, green and blue, each stored as a mantissa and a binary exponent."""
    name = b"input_rgb_image_sized"
    at = data.index(name) + len(name)
    means = []
    for _ in range(3):
        mantissa, at = _integer(data, at)
        exponent, at = _integer(data, at)
        means.append(mantissa * 2.0**exponent)
    return means
