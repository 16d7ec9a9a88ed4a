"""A test for parts of the target where the pool has no items."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from sklearn.neighbors import NearestNeighbors

from rsft.groups import effective_number
from rsft.types import CONFIDENCE, Interval

# A target item is outside if it is farther from its nearest pool item than the USUAL quantile of such distances within
# the pool, and than LOCAL_FACTOR times the distance of that pool item to its own nearest neighbour.
USUAL = 0.99
LOCAL_FACTOR = 2.0
MAX_POOL, MAX_PROBES = 10_000, 1_000
MIN_NAMED_DIFFERENCE = 0.8  # standard deviations of the pool; "large" in J. Cohen, 1988
MAX_NAMED = 3


@dataclass(frozen=True)
class Support:
    """How much of the target lies where the pool has no items.

    Attributes:
        unsupported_fraction: Fraction of the target outside the support of the pool, in [0, 1], with its interval. At
            most about `1 - USUAL` is expected if target and pool have the same distribution.
        outside: (K,) bool, whether each target item is outside.
    """

    unsupported_fraction: Interval
    outside: np.ndarray


def support(
    pool: np.ndarray,
    target: np.ndarray,
    *,
    identities: np.ndarray | None = None,
    target_groups: np.ndarray | None = None,
    seed: int = 0,
) -> Support:
    """Find the target items that are outside the support of the pool.

    A target item is outside if its distance to the nearest pool item exceeds the `USUAL` quantile of the distances
    between neighbours within the pool, and also exceeds `LOCAL_FACTOR` times the distance from that pool item to its
    own nearest neighbour. Distances are Euclidean, with each feature divided by its standard deviation in the pool.

    Args:
        pool: (N, D) features of the pool; a random subset of at most `MAX_POOL` rows is used.
        target: (K, D) features of the target.
        identities: (N,) identities of the pool. Items of the same identity do not count as neighbours of each other,
            unless the pool has only one identity.
        target_groups: (K,) integers >= 0; target items of one group count as one in the interval. None if all are
            different.
        seed: Seed for the random subsets of the pool.

    Returns:
        The fraction of the target that is outside, and a mask of these items.

    Raises:
        ValueError: Pool and target have different widths.
    """
    if pool.shape[1] != target.shape[1]:
        raise ValueError(f"`support` needs features of one width, got {pool.shape} and {target.shape}.")
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.permutation(len(pool))[:MAX_POOL])
    given = np.asarray(pool[rows], np.float64)
    # Taken off before the rounding to float32, so that a large constant such as a year does not hide the differences.
    mean, spread = given.mean(0), given.std(0)
    scale = np.where(spread > 0, spread, 1)
    items, aims = (((np.asarray(side, np.float64) - mean) / scale).astype(np.float32) for side in (given, target))
    groups = np.arange(len(rows))
    if identities is not None and len(np.unique(np.asarray(identities)[rows])) > 1:
        groups = np.asarray(identities)[rows]
    probes = generator.permutation(len(rows))[:MAX_PROBES]
    usual = float(np.quantile(_distance_to_others(items, groups, probes), USUAL))
    distance, nearest = NearestNeighbors(n_neighbors=1).fit(items).kneighbors(aims)
    far = np.flatnonzero(distance[:, 0] > usual)
    outside = np.zeros(len(aims), bool)
    if len(far):
        local = _distance_to_others(items, groups, nearest[far, 0])
        outside[far] = distance[far, 0] > LOCAL_FACTOR * local
    told = len(outside) if target_groups is None else effective_number(target_groups)
    return Support(wilson(int(outside.sum()) / len(outside), told), outside)


def _distance_to_others(items: np.ndarray, groups: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Compute the distance of some items to the nearest item of another group, searching ever more neighbours."""
    result = np.full(len(rows), np.inf)
    left, wanted = np.arange(len(rows)), 8
    index = NearestNeighbors().fit(items)
    while len(left):
        wanted = min(wanted, len(items))
        distance, neighbour = index.kneighbors(items[rows[left]], wanted)
        other = groups[neighbour] != groups[rows[left]][:, None]
        found = other.any(1)
        result[left[found]] = distance[found, other[found].argmax(1)]
        if wanted == len(items):
            break
        left, wanted = left[~found], wanted * 4
    return result


def wilson(share: float, n: float) -> Interval:
    """Compute the score interval of a proportion among n items (E. Wilson, 1927).

    Args:
        share: The proportion, in [0, 1].
        n: Number of items; their effective number if they repeat.
    """
    z = norm.ppf((1 + CONFIDENCE) / 2)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return Interval(share, max(0.0, float(centre - half)), min(1.0, float(centre + half)))


def name_outside(
    pool: Mapping[str, np.ndarray],
    target: Mapping[str, np.ndarray],
    outside: np.ndarray,
    words: Mapping[str, tuple[str, str]],
) -> list[str]:
    """Name the covariates in which the target items outside the pool differ most from it: ["turned right", "dark"].

    A covariate is named if the mean over the outside items differs from the mean of the pool by at least
    `MIN_NAMED_DIFFERENCE` standard deviations of the pool. At most `MAX_NAMED` are named, the largest difference first.

    Args:
        pool: Covariate -> (N,) values of the pool.
        target: Covariate -> (K,) values of the target.
        outside: (K,) bool, whether each target item is outside the pool (see `support`).
        words: Covariate -> its words for a low and a high value; the default is "low <name>" and "high <name>".

    >>> name_outside({"light": np.arange(10.0)}, {"light": np.array([-9.0, 5.0])}, np.array([True, False]),
    ...              {"light": ("dark", "bright")})
    ['dark']
    """
    named = []
    for name in pool:
        spread = pool[name].std()
        if name in target and outside.any() and spread > 0:
            difference = (target[name][outside].mean() - pool[name].mean()) / spread
            low, high = words.get(name, (f"low {name}", f"high {name}"))
            if abs(difference) >= MIN_NAMED_DIFFERENCE:
                named.append((abs(difference), high if difference > 0 else low))
    return [word for _, word in sorted(named, reverse=True)[:MAX_NAMED]]
