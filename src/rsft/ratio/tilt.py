"""Ratios for a target that is the pool reweighted by a score, for instance towards hard or well-lit items.

Each function returns the (N,) float64 log ratio of the tilted pool to the pool, with mean ratio 1 over the pool. The
score is any number per item: a loss (to prefer hard items), a quality, or a loss minus that of a reference model (to
prefer learnable items: S. Mindermann et al., "Prioritized training on points that are learnable, worth learning, and
not yet learnt", 2022).
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsft.per_item import as_numbers


def exponential_tilt(score: Any, strength: float) -> Tensor:
    """Tilt the pool by exp(strength * score).

    Among all reweightings of the pool with the same mean score, this one has the smallest Kullback-Leibler divergence
    from the pool.

    Args:
        score: (N,) finite scores. The largest score determines the largest ratio and thereby the envelope, so clip the
            scores first if they have outliers.
        strength: Strength of the tilt, in 1 / unit of the score. A negative value prefers small scores.

    Returns:
        (N,) float64 log ratio with mean ratio 1 over the pool.

    Raises:
        ValueError: If `score` is not (N,), or a score is not finite.

    >>> exponential_tilt(torch.tensor([0.0, 1.0]), math.log(3)).exp()
    tensor([0.5000, 1.5000], dtype=torch.float64)
    """
    return _normalised(strength * _checked(score, "exponential_tilt"))


def percentile_tilt(score: Any, power: float) -> Tensor:
    """Tilt the pool by u^power, where u in (0, 1) is the mid-rank of the score.

    For distinct scores of any distribution, the ratio is at most power + 1.

    Args:
        score: (N,) finite scores. Equal scores have equal ranks.
        power: Exponent >= 0. Larger values prefer large scores more strongly; 0 leaves the pool unchanged. Negate the
            score to prefer small scores.

    Returns:
        (N,) float64 log ratio with mean ratio 1 over the pool.

    Raises:
        ValueError: If `score` is not (N,), a score is not finite, or `power` is negative or infinite.

    >>> percentile_tilt(torch.tensor([10.0, 30.0, 20.0]), 1.0).exp()
    tensor([0.3333, 1.6667, 1.0000], dtype=torch.float64)
    """
    if not 0 <= power < math.inf:
        raise ValueError(f"`percentile_tilt(power=...)` needs a value >= 0, got {power}; negate the score instead.")
    return _normalised(power * _mid_ranks(_checked(score, "percentile_tilt")).log())


def band_tilt(score: Any, low: float, high: float, outside: float = 0.0) -> Tensor:
    """Keep the items with scores between two quantiles, and down-weight the others.

    A band of losses, for instance, selects hard items and leaves out the hardest, which may be mislabelled.

    Args:
        score: (N,) finite scores.
        low: Lower quantile, in [0, 1).
        high: Upper quantile, in (low, 1].
        outside: Weight of the items outside the band relative to those inside, in [0, 1].

    Returns:
        (N,) float64 log ratio with mean ratio 1 over the pool.

    Raises:
        ValueError: If `score` is not (N,), a score is not finite, the quantiles are not in order, `outside` is not in
            [0, 1], or no item lies in the band.

    >>> band_tilt(torch.tensor([1.0, 2.0, 3.0, 4.0]), 0.5, 1.0).exp()
    tensor([0., 0., 2., 2.], dtype=torch.float64)
    """
    if not (0 <= low < high <= 1 and 0 <= outside <= 1):
        raise ValueError(
            f"`band_tilt` needs 0 <= low < high <= 1 and `outside` in [0, 1], got low={low}, high={high}, "
            f"outside={outside}."
        )
    rank = _mid_ranks(_checked(score, "band_tilt"))
    inside = (rank >= low) & (rank <= high)
    if not inside.any():
        raise ValueError(f"`band_tilt` finds no item between the quantiles {low} and {high}: widen the band.")
    return _normalised(torch.where(inside, 1.0, outside).double().log())


def _checked(score: Any, call: str) -> Tensor:
    """Return the score as float64; raise ValueError unless it is (N,) and finite."""
    given = torch.from_numpy(as_numbers(score, f"{call}(score=...)").astype(np.float64))
    if not len(given):
        raise ValueError(f"`{call}(score=...)` needs at least one number, got none.")
    wrong = (~torch.isfinite(given)).nonzero()
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(f"`{call}(score=...)` needs finite numbers, got {given[row]:g} at row {row}.")
    return given


def _mid_ranks(score: Tensor) -> Tensor:
    """Return (rank - 1/2) / N of each score, in (0, 1). Equal scores get their mean rank."""
    _, index, counts = torch.unique(score, return_inverse=True, return_counts=True)
    below = counts.cumsum(0) - counts
    return ((below + counts / 2) / len(score))[index].double()


def _normalised(log_ratio: Tensor) -> Tensor:
    """Scale the ratio to mean 1 over the pool."""
    return log_ratio - (torch.logsumexp(log_ratio, 0) - math.log(len(log_ratio)))
