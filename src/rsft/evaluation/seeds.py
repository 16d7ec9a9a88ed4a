"""Confidence intervals of values measured with several seeds on the same items."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

from rsft.types import CONFIDENCE, Interval


def interval_over_seeds(measured: Sequence[np.ndarray], seed: int = 0) -> Interval:
    """Compute the mean over seeds, with an interval that covers the variation over seeds and over items.

    The bootstrap draws over items are averaged over seeds. Noise is then added to each average: the standard error of
    the mean over seeds times a Student's t variate with S - 1 degrees of freedom. The two sources are independent,
    since all seeds are measured on the same items. Without bootstrap draws the interval is Student's t interval over
    seeds.

    Args:
        measured: One array (1 + B,) for each of S seeds: the value, then its B bootstrap draws over items. All seeds
            use the same draws. B may be 0.
        seed: Seed for the added noise.

    Returns:
        The mean and its 95 % interval. The interval has no ends if there is one seed and no draw.

    >>> print(interval_over_seeds([np.array([0.1]), np.array([0.2]), np.array([0.3])]))
    0.200 [-0.048, 0.448]
    """
    values = np.array([figures[0] for figures in measured], float)
    draws = np.mean([figures[1:] for figures in measured], axis=0)
    mean = float(values.mean())
    ends = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    if not len(draws):
        if len(values) < 2:
            return Interval(mean, None, None, "one seed and no draws: no interval")
        half = student.ppf(ends[1], len(values) - 1) * error
        return Interval(mean, mean - half, mean + half)
    if error:
        noise = student.rvs(len(values) - 1, size=len(draws), random_state=np.random.default_rng(seed))
        draws = draws + error * noise
    low, high = np.nanquantile(draws, ends)
    return Interval(mean, float(low), float(high))
