"""A target that keeps a share of the pool."""

import math

import torch
from torch import Tensor


def retain_pool(log_ratio: Tensor, retain_fraction: float) -> Tensor:
    """The log ratio of a p + (1 - a) q to q, for a = 1 - `retain_fraction`: log(a r + 1 - a).

    Its envelope is a M + 1 - a, so it accepts more than p alone and stays exact.

    Args:
        log_ratio: (N,) log p - log q.
        retain_fraction: the pool's share 1 - a of the new target, in [0, 1].

    >>> retain_pool(torch.tensor([3.0, 0.0]).log(), 0.5).exp()
    tensor([2.0000, 0.5000])
    """
    if not 0 <= retain_fraction <= 1:
        raise ValueError(f"`retain_fraction` needs a value in [0, 1], got {retain_fraction}.")
    if retain_fraction == 0:
        return log_ratio
    if retain_fraction == 1:
        return torch.zeros_like(log_ratio)
    kept = torch.full_like(log_ratio, math.log(retain_fraction))
    return torch.logaddexp(log_ratio + math.log1p(-retain_fraction), kept)
