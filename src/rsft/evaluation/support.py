"""Where the target lies and the pool has nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from sklearn.neighbors import NearestNeighbors

from rsft.types import CONFIDENCE, Interval

# A target item is outside where its nearest pool item is further than is usual in the pool, and than is usual there.
USUAL = 0.99
LOCAL_FACTOR = 2.0
MAX_POOL, MAX_PROBES = 10_000, 1_000
MIN_NAMED_DIFFERENCE = 0.8  # standard deviations of the pool; "large" in J. Cohen, 1988
MAX_NAMED = 3


@dataclass(frozen=True)
class Support:
    """How much of the target lies where the pool has no items.

    Attributes:
        unsupported_fraction: of the target, in [0, 1]; about `1 - USUAL` is expected where the pool has all.
        outside: (K,) bool.
    """

    unsupported_fraction: Interval
    outside: np.ndarray


def support(pool: np.ndarray, target: np.ndarray, *, identities: np.ndarray | None = None, seed: int = 0) -> Support:
    """Compare how far target items are from the pool with how far its own items are from each other.

    Args:
        pool: (N, D) features; at most `MAX_POOL` rows are looked at.
        target: (K, D).
        identities: (N,); items of one identity do not count as neighbours of each other, unless there is but one.
        seed: of the rows looked at.

    Raises:
        ValueError: widths differ.
    """
    if pool.shape[1] != target.shape[1]:
        raise ValueError(f"`support` needs features of one width, got {pool.shape} and {target.shape}.")
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.permutation(len(pool))[:MAX_POOL])
    spread = np.asarray(pool[rows], np.float32).std(0)
    scale = np.where(spread > 0, spread, 1).astype(np.float32)
    items, aims = (np.asarray(side, np.float32) / scale for side in (pool[rows], target))
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
    return Support(_wilson(int(outside.sum()), len(outside)), outside)


def _distance_to_others(items: np.ndarray, groups: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """From some items to the nearest of another group: more neighbours are asked for until one is of another."""
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


def _wilson(count: int, n: int) -> Interval:
    """A binomial share with its interval (E. Wilson, 1927)."""
    z, share = norm.ppf((1 + CONFIDENCE) / 2), count / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return Interval(share, max(0.0, float(centre - half)), min(1.0, float(centre + half)))


def name_outside(
    pool: Mapping[str, np.ndarray],
    target: Mapping[str, np.ndarray],
    outside: np.ndarray,
    words: Mapping[str, tuple[str, str]],
) -> list[str]:
    """What the target items outside the pool are most unlike it in: ["turned right", "dark"].

    Args:
        pool: covariate -> (N,).
        target: covariate -> (K,).
        outside: (K,) bool.
        words: covariate -> what a low and a high value is called; "low <name>" and "high <name>" otherwise.

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
