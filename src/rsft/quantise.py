"""Acceptance probabilities in one or two bytes each, rounded at random so that none is biased."""

import numpy as np

from rsft.acceptance import Stream, uniforms
from rsft.probabilities import QUANTISED, check_probabilities


def quantise(acceptance: np.ndarray, dtype: str, *, seed: int, start: int = 0) -> np.ndarray:
    """Probabilities as uint8, standing for value / 255, or as float16.

    Each is rounded to one of its two neighbours, at random with the chances that keep its mean: over seeds, an item is
    accepted exactly as often as without rounding. Within one run the file's values are the law: there an item's
    probability is off by less than 1/255 (uint8) or by a relative 2^-10 (float16; by 2^-24 below 2^-14), and the mean
    over n items by a standard error of at most that over 2 sqrt(n). 0 and 1 stay as they are. As uint8, most items
    below 1/255 are never accepted in that run: take float16 where these matter.

    Args:
        acceptance: (n,) floating, in [0, 1].
        dtype: "uint8" or "float16".
        seed: of the rounding, in [0, 2^64).
        start: index of the first item, to do a large pool block by block.

    Returns:
        (n,) of that type.

    Raises:
        ValueError: there is no such type, or a value is outside [0, 1].

    >>> quantise(np.array([0.0, 0.2, 1.0]), "uint8", seed=0)
    array([  0,  51, 255], dtype=uint8)
    """
    if dtype not in ("uint8", "float16"):
        raise ValueError(f"`quantise(dtype=...)` needs 'uint8' or 'float16', got {dtype!r}.")
    exact = np.asarray(acceptance, np.float64)
    check_probabilities(exact, "quantise(acceptance=...)", start)
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
