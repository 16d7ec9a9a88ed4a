"""The upper tail of a sample of ratios: how heavy it is, and how large the largest of many more would be."""

import math
from typing import NamedTuple

import numpy as np
from torch import Tensor

from rsft.acceptance import check_log_ratio
from rsft.types import CONFIDENCE, Interval

MIN_TAIL = 5
PRIOR_SPREAD = 3
MIN_K = -0.5
# k is drawn towards 1/2 as if by so many more exceedances (A. Vehtari et al., 2024, appendix C).
PRIOR_WEIGHT, PRIOR_K = 10, 0.5


class _Tail(NamedTuple):
    """Generalised Pareto exceedances of `threshold`, which a share `above` of the sample are, with their uncertainty.

    Survival is (1 + k x / scale)^(-1/k); each pair (k, scale) has a posterior weight.
    """

    threshold: float
    above: float
    k: np.ndarray
    scale: np.ndarray
    weight: np.ndarray


def pareto_k(log_ratio: Tensor) -> float:
    """Shape k of the generalised Pareto tail of the ratio: its moments of order above 1 / k do not exist.

    Below 0.5 the effective size and the mean can be trusted; above 0.7 the pool is too small for the ratio's tail (A.
    Vehtari et al., "Pareto smoothed importance sampling", 2024). NaN with fewer than 25 items.

    Args:
        log_ratio: (N,).

    >>> import torch
    >>> uniforms = (torch.arange(10000) + 0.5) / 10000
    >>> round(pareto_k(-0.4 * uniforms.log()), 1)  # a Pareto tail with k = 0.4
    0.4
    """
    check_log_ratio(log_ratio, "pareto_k(log_ratio=...)")
    logs = np.sort(log_ratio.detach().double().numpy())
    tail = _fit(np.exp(logs - logs[-1]))
    if tail is None:
        return math.nan
    exceedances = _tail_size(len(logs))
    k = float(tail.weight @ tail.k)
    return (exceedances * k + PRIOR_WEIGHT * PRIOR_K) / (exceedances + PRIOR_WEIGHT)


def largest_ratio(log_ratio: Tensor, items: int) -> Interval:
    """Log of the largest ratio among `items`, of which those given are a random sample, with a 95 % interval.

    A pilot's largest ratio is too small for the whole pool: an M from it promises too high a rate. The tail of the log
    ratio is extrapolated as a generalised Pareto distribution (J. Pickands, 1975) whose parameters carry the posterior
    of J. Zhang and M. Stephens, 2009.

    Args:
        log_ratio: (n,) of the pilot, n >= 25.
        items: of the whole, >= n.

    Returns:
        The median of the largest, and the interval; the pilot's own maximum where the pilot is the whole.

    Raises:
        ValueError: the pilot is too small, or larger than the whole.
    """
    check_log_ratio(log_ratio, "largest_ratio(log_ratio=...)")
    logs = np.sort(log_ratio.detach().double().numpy())
    n = len(logs)
    if not n <= items or _tail_size(n) < MIN_TAIL:
        raise ValueError(f"`largest_ratio` needs a pilot of 25 to `items` items, got {n} of {items}.")
    most = float(logs[-1])
    tail = _fit(logs[np.isfinite(logs)])
    if n == items or tail is None:
        return Interval(most, most, most)
    outside = (1 - CONFIDENCE) / 2
    middle, low, high = (max(most, _quantile_of_largest(tail, items - n, q)) for q in (0.5, outside, 1 - outside))
    return Interval(middle, low, high)


def _tail_size(n: int) -> int:
    return int(min(0.2 * n, 3 * math.sqrt(n)))


def _fit(ascending: np.ndarray) -> _Tail | None:
    """The posterior of Zhang and Stephens over a grid; None where the tail is too small or all of it equal."""
    n, size = len(ascending), _tail_size(len(ascending))
    if size < MIN_TAIL:
        return None
    threshold = float(ascending[-size - 1])
    x = ascending[-size:] - threshold
    quarter = x[int(size / 4 + 0.5) - 1]
    if not quarter > 0 or x[-1] == x[0]:
        return None
    grid = 30 + int(math.sqrt(size))
    b = 1 / x[-1] + (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (PRIOR_SPREAD * quarter)
    b = b[b != 0]
    k = np.log1p(-b[:, None] * x).mean(1)
    fit = size * (np.log(-b / k) - k - 1)
    # Below k = -1/2 the likelihood has no regular maximum: it would put the tail's end at the largest item seen.
    regular = k >= MIN_K
    if not regular.any():
        regular = k == k.max()
    weight = np.where(regular, np.exp(fit - fit[regular].max()), 0.0)
    return _Tail(threshold, size / n, k, -k / b, weight / weight.sum())


def _quantile_of_largest(tail: _Tail, items: int, q: float) -> float:
    """Where P(all of `items` are below) = q, by bisection."""

    def below(x: float) -> float:
        base = np.maximum(0.0, 1 + tail.k * x / tail.scale)
        survival = np.where(base > 0, base, 1.0) ** (-1 / tail.k) * (base > 0)
        return float(tail.weight @ np.exp(items * np.log1p(-tail.above * np.minimum(survival, 1 - 1e-12))))

    low, high = 0.0, float(tail.scale.max())
    while below(high) < q and high < 1e6:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < q else (low, middle)
    return tail.threshold + high
