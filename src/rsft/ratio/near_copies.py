"""Target rows that are nearly the same, such as copies of a picture with other noise, or frames of a clip."""

import numpy as np
import torch
from torch import Tensor

from rsft.groups import in_order, linked
from rsft.ratio.rows import Rows

REFERENCE, PROBES = 4000, 500  # pool rows that are looked among, and rows whose neighbours are looked for
MIN_REFERENCE, MAX_TARGET = 50, 5000  # fewer pool rows tell too little; no number of more target rows decides
RARE = 0.01  # share of pool rows that lie as near to another one as near-copies do, at the most
FEWEST = 0.05  # share of the target rows that must repeat others; fewer change no count, and can be chance
APART = 2.0  # times farther than within a group of near-copies, at least, is the nearest other row
BLOCK = 1000


def near_copies(pool: Rows, target: Rows, items: np.ndarray) -> np.ndarray:
    """Group the target rows that lie nearer together than different items do: (K,) int64.

    Two rows are near-copies if their distance, in units of the median distance between target rows, is one that only a
    share `RARE` of the pool's rows has from its nearest neighbour, in units of the pool. The nearest row outside a
    group must be `APART` times as far as neighbours within it, or the rows only lie densely. At least a share `FEWEST`
    of the rows must repeat others.

    Args:
        pool: Features of the N pool items, which tell how near different items lie.
        target: Features of the K target items.
        items: (N,) int64 number of the item of each pool row; rows of one number repeat one another.
    """
    alone = np.arange(len(target))
    if not 2 < len(target) <= MAX_TARGET or len(pool) < MIN_REFERENCE:
        return alone
    generator = np.random.default_rng(0)
    taken = np.sort(generator.permutation(len(pool))[:REFERENCE])
    reference, rows = pool.take(taken).double(), target.take(alone).double()
    spread, mean = torch.std_mean(reference, 0, correction=0)
    spread = torch.where(spread > 0, spread, torch.inf)
    reference, rows = ((x - mean) / spread for x in (reference, rows))
    probes = generator.permutation(len(reference))[:PROBES]
    between = _distances(reference[probes], reference)
    same = torch.from_numpy(items[taken][probes][:, None] == items[taken])
    nearest = float(between.masked_fill(same, torch.inf).amin(1).quantile(RARE) / between.median())
    nearest *= min(1.0, len(reference) / len(target))  # on a line, neighbours among more rows lie so much nearer
    if not 0 < nearest < np.inf:  # the pool's rows are equal by chance, as counts and classes are
        return alone
    distance = _distances(rows, rows)
    limit = nearest * distance[generator.permutation(len(rows))[:PROBES]].median()
    distance.fill_diagonal_(torch.inf)
    first, second = torch.where(distance <= limit)
    groups = linked(first.numpy(), second.numpy(), len(rows))
    found = in_order(_apart(groups, distance.numpy()))
    return found if len(found) - (int(found.max()) + 1) >= FEWEST * len(found) else alone


def _apart(groups: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Dissolve the groups that are not apart from the other rows."""
    result, free = groups.copy(), int(groups.max()) + 1
    for group, size in zip(*np.unique(groups, return_counts=True), strict=True):
        rows = np.flatnonzero(groups == group)
        if size == 1:
            continue
        to_rows = distance[rows]
        within = to_rows[:, rows].min(1).max()
        outside = np.delete(to_rows, rows, axis=1)
        if outside.size and outside.min() < APART * within:
            result[rows] = free + np.arange(size)
            free += int(size)
    return result


def _distances(one: Tensor, other: Tensor) -> Tensor:
    """Return the distances (n, m) between rows; in float64, those of near-copies keep their digits."""
    return torch.cat([torch.cdist(block, other) for block in one.split(BLOCK)])
