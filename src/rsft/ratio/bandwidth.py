"""The scale of a Gaussian kernel."""

import torch
from torch import Tensor

PAIRS = 1000
MIN_DISTANCE = 1e-6  # where all items are the same


def median_distance(x: Tensor, generator: torch.Generator) -> float:
    """Of random pairs of items of x, (n, D): the median of their Euclidean distances."""
    first, second = (torch.randint(len(x), (PAIRS,), generator=generator) for _ in range(2))
    return max(float((x[first] - x[second]).norm(dim=1).median()), MIN_DISTANCE)
