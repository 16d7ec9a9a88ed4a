"""Bandwidth of a Gaussian kernel by the median heuristic."""

import torch
from torch import Tensor

PAIRS = 1000
MIN_DISTANCE = 1e-6  # keeps the bandwidth positive if all items are equal


def median_distance(x: Tensor, generator: torch.Generator) -> float:
    """Return the median Euclidean distance between random pairs of rows of x, (n, D)."""
    first, second = (torch.randint(len(x), (PAIRS,), generator=generator) for _ in range(2))
    return max(float((x[first] - x[second]).norm(dim=1).median()), MIN_DISTANCE)
