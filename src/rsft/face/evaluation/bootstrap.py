"""Bootstrap over identities: pictures of one person are not independent, so people are drawn and not pairs.

An identity that is drawn k times counts k times in each of its genuine pairs. Two identities that are drawn k and l
times count k * l times in each of their impostor pairs.
"""

import numpy as np

from rsft.types import CONFIDENCE, Interval

ENDS = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
INSUFFICIENT = Interval(None, None, None, "insufficient data")


def draw_identities(people: int, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Draw `people` identities with replacement, `draws` times.

    Args:
        people: Number of identities.
        draws: Number of draws.
        generator: Random generator.

    Returns:
        (1 + draws, people) float32 counts. The first row is all ones: the data themselves.

    >>> draw_identities(3, 2, np.random.default_rng(0)).sum(1)
    array([3., 3., 3.], dtype=float32)
    """
    counts = np.ones((1 + draws, people), np.float32)
    if people:
        counts[1:] = generator.multinomial(people, np.full(people, 1 / people), size=draws)
    return counts


def pair_counts(genuine: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return how often each pair counts in a draw: (..., P).

    Args:
        genuine: (P,) bool, True for genuine pairs.
        first: (..., P) number of times that the identity of the first picture was drawn.
        second: (..., P) number of times that the identity of the second picture was drawn.
    """
    return np.where(genuine, first, first * second)


def interval(value: float, draws: np.ndarray, note: str | None = None) -> Interval:
    """Return a value with the middle 95 % of its bootstrap draws. Draws that are NaN are left out."""
    low, high = np.nanquantile(draws, ENDS)
    return Interval(float(value), float(low), float(high), note)


def interval_around(value: float, changes: np.ndarray) -> Interval:
    """Return a value plus the middle 95 % of the changes that bootstrap draws make; `INSUFFICIENT` without changes."""
    if not len(changes):
        return INSUFFICIENT
    low, high = np.quantile(changes, ENDS)
    return Interval(float(value), float(value + low), float(value + high))
