"""Fusion of networks: one chip for all of them, and their unit embeddings side by side as one embedding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rsft.face.networks.chip_points import Template, similarity_transform


class Crop(nn.Module):
    """Cut the chip of one network out of a larger chip (B, C, large, large), by bilinear interpolation.

    Args:
        size: Side of the small chip in pixels.
        matrix: (2, 3) map from its pixels to those of the larger chip.
        large: Side of the larger chip in pixels.
    """

    grid: Tensor

    def __init__(self, size: int, matrix: np.ndarray, large: int) -> None:
        super().__init__()
        y, x = np.mgrid[:size, :size]
        places = np.stack([x, y, np.ones_like(x)], -1) @ matrix.T
        grid = torch.from_numpy((2 * places / (large - 1) - 1).astype(np.float32))[None]
        self.register_buffer("grid", grid, persistent=False)

    def forward(self, chips: Tensor) -> Tensor:
        return nn.functional.grid_sample(chips, self.grid.expand(chips.shape[0], -1, -1, -1), align_corners=True)


class SideBySide(nn.Module):
    """The unit embeddings of several networks, one after the other: (B, 3, size, size) -> (B, D_1 + D_2 + ...).

    The cosine of two such embeddings is the mean of the networks' cosines.
    """

    never_tuned = True  # read by `FaceModel.split`

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, chips: Tensor) -> Tensor:
        return torch.cat([nn.functional.normalize(branch(chips)) for branch in self.branches], 1)


class PartByPart(nn.Module):
    """An affine map of each network's part of the embedding, made a unit vector again: (B, D) -> (B, D).

    At first it changes nothing.

    Args:
        widths: Width of each part; D is their sum.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = list(widths)
        linears = [nn.Linear(width, width) for width in widths]
        for linear in linears:
            nn.init.eye_(linear.weight)
            nn.init.zeros_(linear.bias)
        self.maps = nn.ModuleList(linears)

    def forward(self, embeddings: Tensor) -> Tensor:
        parts = zip(self.maps, embeddings.split(self.widths, 1), strict=True)
        return torch.cat([nn.functional.normalize(linear(part)) for linear, part in parts], 1)


@dataclass(frozen=True)
class CommonChip:
    """The smallest square chip that holds the chips of several networks, as finely resolved as the finest of them.

    Attributes:
        size: Its side in pixels.
        template: Its five points in pixels.
        maps: For each network, the (2, 3) map from the pixels of its own chip to those of this one.
    """

    size: int
    template: Template
    maps: Sequence[np.ndarray]


def common_chip(chips: Sequence[tuple[int, Template]]) -> CommonChip:
    """Find the common chip of several networks.

    Args:
        chips: Size in pixels and template of each network's chip. The first sets how a face lies in the common one.

    >>> from rsft.face.networks.chip_points import ARCFACE, scaled
    >>> common_chip([(112, ARCFACE), (56, scaled(ARCFACE, 0.5))]).size
    112
    """
    first = np.array(chips[0][1])
    maps = [similarity_transform(np.array(template), first) for _, template in chips]
    ends = [np.array([[x, y, 1] for x in (0, size - 1) for y in (0, size - 1)]) for size, _ in chips]
    corners = np.concatenate([end @ to_first.T for end, to_first in zip(ends, maps, strict=True)])
    low, high = corners.min(0), corners.max(0)
    side = (high - low).max()
    start, finer = (low + high - side) / 2, max(1 / np.hypot(*to_first[0, :2]) for to_first in maps)
    size = round(float(finer * side)) + 1
    factor = (size - 1) / side
    return CommonChip(
        size,
        tuple((round(float(x), 4), round(float(y), 4)) for x, y in factor * (first - start)),
        [factor * np.column_stack([to_first[:, :2], to_first[:, 2] - start]) for to_first in maps],
    )


def fused_network(networks: Sequence[nn.Sequential], sizes: Sequence[int], chip: CommonChip) -> nn.Sequential:
    """Return the fusion of several networks: (B, 3, size, size) RGB in 0..255 -> (B, D_1 + D_2 + ...).

    Its last stage maps each network's part and changes nothing at first. It is all that can be tuned.

    Args:
        networks: Networks with their preprocessing, which are not changed.
        sizes: Side of each network's own chip in pixels.
        chip: The common chip, which the fusion takes.
    """
    crops = [Crop(size, matrix, chip.size) for size, matrix in zip(sizes, chip.maps, strict=True)]
    branches = [nn.Sequential(crop, *network) for crop, network in zip(crops, networks, strict=True)]
    beside = SideBySide(branches).eval()
    with torch.inference_mode():
        widths = [branch(torch.zeros(1, 3, chip.size, chip.size)).shape[1] for branch in beside.branches]
    return nn.Sequential(beside, PartByPart(widths))
