"""Upper tail of a sample of ratios: its shape, and the predicted maximum of a larger sample."""

import math
from typing import NamedTuple

import numpy as np
from torch import Tensor

from rsft.per_item import as_log_ratio
from rsft.types import CONFIDENCE, Interval

MIN_TAIL = 5
PRIOR_SPREAD = 3
MIN_K = -0.5
# k is shrunk towards PRIOR_K with the weight of PRIOR_WEIGHT exceedances (A. Vehtari et al., 2024, appendix C).
PRIOR_WEIGHT, PRIOR_K = 10, 0.5


class _Tail(NamedTuple):
    """Posterior of a generalised Pareto distribution for the values above a threshold.

    The survival function of an exceedance x is (1 + k x / scale)^(-1/k).

    Attributes:
        threshold: Value at which the tail begins.
        above: Share of the sample above the threshold.
        k: (G,) shapes on a grid.
        scale: (G,) scale for each shape.
        weight: (G,) posterior weight of each pair; the weights sum to 1.
    """

    threshold: float
    above: float
    k: np.ndarray
    scale: np.ndarray
    weight: np.ndarray


def pareto_k(log_ratio: Tensor) -> float:
    """Estimate the shape k of the generalised Pareto tail of the ratio.

    Moments of order above 1 / k do not exist. Below 0.5 the effective size and the mean are reliable; above 0.7 the
    pool is too small for the tail of the ratio (A. Vehtari et al., "Pareto smoothed importance sampling", 2024).

    Args:
        log_ratio: (N,) floating log ratios.

    Returns:
        The estimate of k. NaN if there are fewer than 25 items, or too many of the largest ratios are equal.

    Raises:
        ValueError: If `log_ratio` is not a floating (N,) tensor, or a value is NaN or +inf.

    >>> import torch
    >>> uniforms = (torch.arange(10000) + 0.5) / 10000
    >>> round(pareto_k(-0.4 * uniforms.log()), 1)  # a Pareto tail with k = 0.4
    0.4
    """
    log_ratio = as_log_ratio(log_ratio, "pareto_k(log_ratio=...)")
    logs = np.sort(log_ratio.detach().cpu().double().numpy())
    if not np.isfinite(logs[-1:]).any():
        return math.nan
    tail = _fit(np.exp(logs - logs[-1]))
    if tail is None:
        return math.nan
    exceedances = _tail_size(len(logs))
    k = float(tail.weight @ tail.k)
    return (exceedances * k + PRIOR_WEIGHT * PRIOR_K) / (exceedances + PRIOR_WEIGHT)


def largest_ratio(log_ratio: Tensor, items: int) -> Interval:
    """Predict the largest log ratio in a pool from a random sample of it, the pilot.

    The largest ratio of a pilot underestimates that of the whole pool, so an M based on it promises too high an
    acceptance rate. The tail of the log ratio is extrapolated as a generalised Pareto distribution (J. Pickands, 1975)
    with the posterior of its parameters by J. Zhang and M. Stephens, 2009.

    Args:
        log_ratio: (n,) floating log ratios of the pilot, n >= 25.
        items: Number of items in the whole pool, >= n.

    Returns:
        The median of the largest log ratio, with a 95 % interval. All three are the maximum of the pilot if the pilot
        is the whole pool, or its tail cannot be fitted because of ties.

    Raises:
        ValueError: If the pilot has fewer than 25 items or more than `items`, or a log ratio is NaN or +inf.
    """
    log_ratio = as_log_ratio(log_ratio, "largest_ratio(log_ratio=...)")
    logs = np.sort(log_ratio.detach().cpu().double().numpy())
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
    """Return the number of exceedances that are used of n items."""
    return int(min(0.2 * n, 3 * math.sqrt(n)))


def _fit(ascending: np.ndarray) -> _Tail | None:
    """Compute the posterior of Zhang and Stephens on a grid; None if the tail is too small or has too many ties."""
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
    # For k < -1/2 the likelihood has no regular maximum and would put the end of the tail at the largest observation.
    regular = k >= MIN_K
    if not regular.any():
        regular = k == k.max()
    weight = np.where(regular, np.exp(fit - fit[regular].max()), 0.0)
    return _Tail(threshold, size / n, k, -k / b, weight / weight.sum())


def _quantile_of_largest(tail: _Tail, items: int, q: float) -> float:
    """Return the q-quantile of the maximum of `items` values, found by bisection."""

    def below(x: float) -> float:
        """Return the probability that no value exceeds the threshold by more than x."""
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
