"""Acceptance probabilities in one or two bytes each, rounded at random without bias."""

from typing import Any

import numpy as np

from rsft.per_item import as_probabilities
from rsft.sampling.acceptance import Stream, uniforms
from rsft.sampling.probabilities import QUANTISED


def quantise(acceptance: Any, dtype: str, *, seed: int, start: int = 0) -> np.ndarray:
    """Round acceptance probabilities at random to uint8, where v stands for v / 255, or to float16.

    Each probability is rounded to one of its two neighbours, with chances that keep its mean. Over seeds, an item is
    therefore accepted exactly as often as without rounding. Within one run, the rounded values are the acceptance
    probabilities: each is off by less than 1/255 (uint8) or by less than a relative 2^-10 (float16; 2^-24 for
    probabilities below 2^-14), and the standard error of the mean over n items is at most this bound over 2 sqrt(n).
    0 and 1 are kept exactly. As uint8, most items with a probability below 1/255 are never accepted within one run;
    use float16 if these items matter.

    Args:
        acceptance: (n,) floating, in [0, 1].
        dtype: "uint8" or "float16".
        seed: Seed for the rounding, in [0, 2^64).
        start: Index of the first item, to round a large pool block by block.

    Returns:
        (n,) array of dtype `dtype`.

    Raises:
        ValueError: If `dtype` is not one of the two, or a value is outside [0, 1].

    >>> quantise(np.array([0.0, 0.2, 1.0]), "uint8", seed=0)
    array([  0,  51, 255], dtype=uint8)
    """
    if dtype not in ("uint8", "float16"):
        raise ValueError(f"`quantise(dtype=...)` needs 'uint8' or 'float16', got {dtype!r}.")
    exact = as_probabilities(acceptance, "quantise(acceptance=...)", start)
    u = uniforms(seed, 0, start, start + len(exact), Stream.ROUND)
    if dtype == "uint8":
        scaled = exact * QUANTISED
        below = np.floor(scaled)
        return (below + (u < scaled - below)).astype(np.uint8)
    nearest = exact.astype(np.float16)
    below = np.where(nearest > exact, np.nextafter(nearest, np.float16(-1)), nearest)
    above = np.nextafter(below, np.float16(2))
    low, high = below.astype(np.float64), above.astype(np.float64)
    return np.where(u < (exact - low) / (high - low), above, below)
