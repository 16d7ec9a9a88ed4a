"""A test for two populations in one sample."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

MIN_ITEMS = 40  # different ones
MAX_FEATURES, MAX_COMPONENTS = 50, 10  # lines that are looked along: the features if so few, and components
CHANCE = 1 / 740  # by which one population is called two, at most; that of three standard errors
WIDTH = 0.25  # half of an interval, as a part of the distance between the centres


@dataclass(frozen=True)
class TwoPopulations:
    """Two populations in a sample.

    Attributes:
        second: (K,) bool, whether each item is of the smaller one.
        share: Share of the different items that are of the smaller one, in (0, 0.5].
        chance: Largest chance of so empty a valley between them if there is one population.
    """

    second: np.ndarray
    share: float
    chance: float


@dataclass(frozen=True)
class _Line:
    """A direction, and the two ends on it around which items gather."""

    way: np.ndarray
    ends: tuple[float, float]

    def place(self, items: np.ndarray) -> np.ndarray:
        """Return where items lie: 0 at one end and 1 at the other."""
        return (items @ self.way - self.ends[0]) / (self.ends[1] - self.ends[0])

    def chance(self, items: np.ndarray) -> float:
        """Return the largest chance of so empty a valley between the ends if the law along the line has one mode."""
        place = self.place(items)
        first, middle, second = (int((np.abs(place - at) < WIDTH).sum()) for at in (0.0, 0.5, 1.0))
        return max(float(binom.cdf(middle, middle + side, 0.5)) for side in (first, second))


def find_two_populations(sample: np.ndarray, groups: np.ndarray, *, seed: int = 0) -> TwoPopulations | None:
    """Find out whether a sample has two populations, with a valley between them in which few items lie.

    One half of the items chooses a line and its two ends, the other half is counted along it, and the other way round.
    Three intervals of one length are counted: around each end, and in the middle. If the law along the line has one
    mode, the middle has at least the mass of one of the others; so given the sum of the two counts, that of the middle
    is at least binomial with one half. The test is exact for independent items, whatever the law.

    Args:
        sample: (K, D) features.
        groups: (K,) integers >= 0; items of one group count as one.
        seed: Seed for the halves.

    Returns:
        The populations, or None if there may be only one, or fewer than `MIN_ITEMS` different items.

    >>> one = np.random.default_rng(0).normal(size=(200, 3))
    >>> two = one + np.where(np.arange(200) < 60, 8, 0)[:, None]
    >>> find_two_populations(one, np.arange(200)) is None, find_two_populations(two, np.arange(200)).share
    (True, 0.3)
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(sample))
    different = order[np.unique(groups[order], return_index=True)[1]]
    if len(different) < MIN_ITEMS:
        return None
    scaler = StandardScaler().fit(np.asarray(sample, np.float64)[different])
    items = scaler.transform(np.asarray(sample, np.float64))
    if not np.ptp(items[different], axis=0).any():  # of which there are no components
        return None
    components = PCA(min(MAX_COMPONENTS, len(different), items.shape[1]), random_state=0).fit(items[different])
    items = np.column_stack([items if items.shape[1] <= MAX_FEATURES else items[:, :0], components.transform(items)])
    halves = np.array_split(items[generator.permutation(different)], 2)
    found = []
    for known, counted in (halves, halves[::-1]):
        line = min(_lines(known, seed), key=lambda line: line.chance(known), default=None)
        if line is not None:
            found.append((line.chance(counted), line))
    chance, line = min(found, key=lambda each: each[0], default=(1.0, None))
    if line is None or 2 * chance > CHANCE:  # two halves were tried
        return None
    second = line.place(items) > 0.5
    share = float(second[different].mean())
    return TwoPopulations(second, share, 2 * chance) if share <= 0.5 else TwoPopulations(~second, 1 - share, 2 * chance)


def _lines(items: np.ndarray, seed: int) -> list[_Line]:
    """Return lines on which there may be a valley: along each column, and through the two centres of k-means."""
    if not np.ptp(items, axis=0).any():
        return []
    centres = KMeans(2, n_init=10, random_state=seed).fit(items).cluster_centers_
    ways = [*np.eye(items.shape[1]), centres[1] - centres[0]]
    return [_Line(way, ends) for way in ways if (ends := _two_means(items @ way)) is not None]


def _two_means(values: np.ndarray) -> tuple[float, float] | None:
    """Return the means below and above the split of numbers with the least squared error; None if all are equal."""
    ordered = np.sort(values)
    below = np.arange(1, len(ordered))
    sums = np.cumsum(ordered)
    low, high = sums[:-1] / below, (sums[-1] - sums[:-1]) / (len(ordered) - below)
    between = below * (len(ordered) - below) * (high - low) ** 2
    best = int(between.argmax())
    return (float(low[best]), float(high[best])) if high[best] > low[best] else None
