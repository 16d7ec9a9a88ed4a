"""The folds of pool and target, and the rows of both that an estimator is trained on."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsft.groups import joined
from rsft.per_item import codes_of
from rsft.ratio.repeats import Repeats, find_repeats
from rsft.ratio.rows import Rows

MAX_ITEMS = 100_000
FOLDS, MIN_FOLDS = 10, 3
FOLDS_OF_SLOW_MODELS = 5


@dataclass(frozen=True)
class Sample:
    """The training items of both sides, and the fold in which each item is held out.

    Attributes:
        x: (n, D) float32 standardised features, with the pool's items first.
        y: (n,) float32 labels, 0 for pool and 1 for target.
        fold: (n,) uint8 fold of each training item.
        mean: (D,) mean of the raw features.
        spread: (D,) standard deviation of the raw features; inf for a constant feature.
        pool_rows: (n_pool,) row numbers in the pool of the training items.
        pool_fold: (N,) uint8 fold of every pool item.
        target_fold: (K,) uint8 fold of every target item.
        repeats: Which rows of pool and target show the same item.
        item: (n,) int64 number of the item that each training row shows; None if nothing repeats.
    """

    x: Tensor
    y: Tensor
    fold: Tensor
    mean: Tensor
    spread: Tensor
    pool_rows: np.ndarray
    pool_fold: np.ndarray
    target_fold: np.ndarray
    repeats: Repeats
    item: Tensor | None

    def standardise(self, x: Tensor) -> Tensor:
        """Standardise raw features (n, D) for the models. Constant features become 0."""
        return standardised(x, self.mean, self.spread)

    def others(self, fold: int) -> Tensor:
        """Return a mask (n,) bool of the items on which the model of `fold` is trained."""
        return self.fold != fold


def standardised(x: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """Return features (n, D) less their mean, over their standard deviation, as float32."""
    return ((x - mean.to(x.dtype)) / spread.to(x.dtype)).float()


def draw_sample(
    pool: Rows,
    target: Rows,
    *,
    folds: int = FOLDS,
    groups: Any = None,
    target_groups: Any = None,
    max_items: int = MAX_ITEMS,
    seed: int = 0,
) -> Sample:
    """Split both sides into folds, and draw at most `max_items` training items from each side at random.

    The variance of the log odds has one term of order 1 / n_pool and one of order 1 / n_target. With a few thousand
    target items, more than `max_items` pool items would take longer without improving the ratio.

    Equal rows, on either side, are found and stay in one fold; see `find_repeats`. If they leave fewer different items
    than folds, there are fewer folds.

    Args:
        pool: Features of the N pool items.
        target: Features of the K target items.
        folds: Number of folds, at least 3: one fold is held out while at least two serve for the calibration. More
            folds leave more training items for each model.
        groups: (N,) integers or texts, or None to split item by item. Items of one group, such as views of one picture,
            stay in the same fold. Do not pass groups that also occur in the target, such as classes: a model that saw
            target items of a class, but no pool items of it, assigns the whole class to the target.
        target_groups: (K,) integers or texts, or None. Items of one group, such as the frames of a clip, stay in the
            same fold and count as one wherever a number of target items decides.
        max_items: Maximum number of training items from each side.
        seed: Seed for the folds and for the choice of training items.

    Returns:
        The training items and the folds.

    Raises:
        ValueError: If `folds` is below 3, `groups` does not have length N or `target_groups` not length K, or a side
            has fewer items or groups than folds.
    """
    generator = np.random.default_rng(seed)
    names, group = np.arange(len(pool)), np.arange(len(pool))
    if groups is not None:
        names, group = codes_of(groups, "fit_ratio(groups=...)", len(pool))
    _check_enough(len(names), len(target), folds)
    repeats = find_repeats(pool, target, target_groups)
    if repeats.none:
        pool_fold, target_fold = _deal(len(names), folds, generator)[group], _deal(len(target), folds, generator)
    else:
        pool_fold, target_fold = _deal_joined(group, repeats, folds, generator)
    taken = [_some(len(side), max_items, generator) for side in (pool, target)]
    x = torch.cat([side.take(rows) for side, rows in zip((pool, target), taken, strict=True)])
    fold = torch.from_numpy(np.concatenate([pool_fold[taken[0]], target_fold[taken[1]]]))
    y = torch.cat([torch.zeros(len(taken[0])), torch.ones(len(taken[1]))])
    item = torch.from_numpy(np.concatenate([repeats.pool[taken[0]], repeats.target[taken[1]]]))
    spread, mean = torch.std_mean(x, 0, correction=0)
    constant = spread <= 8 * torch.finfo(x.dtype).eps * mean.abs()
    spread = torch.where(constant, math.inf, spread)
    return Sample(
        standardised(x, mean, spread),
        y,
        fold,
        mean,
        spread,
        taken[0],
        pool_fold,
        target_fold,
        repeats,
        None if repeats.none else item,
    )


def _check_enough(pool: int, target: int, folds: int) -> None:
    """Raise ValueError unless both sides have as many items or groups as folds."""
    if min(pool, target) < folds or folds < MIN_FOLDS:
        raise ValueError(
            f"`fit_ratio` needs at least as many items on each side as folds, and {MIN_FOLDS} folds: got {pool} pool "
            f"items or groups, {target} target items, {folds} folds. Add target pictures or lower `folds`."
        )


def _deal(items: int, folds: int, generator: np.random.Generator) -> np.ndarray:
    """Assign items at random to folds of nearly equal size: (items,) uint8."""
    dealt = (np.arange(items, dtype=np.uint32) % folds).astype(np.uint8)
    generator.shuffle(dealt)
    return dealt


def _deal_joined(
    group: np.ndarray, repeats: Repeats, folds: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Assign what repeats one another, or is in one group of the pool, to one fold: (N,) and (K,) uint8.

    Each side has nearly equal numbers of such units in every fold: those on both sides are dealt first, and the others
    of either side go on where these end.
    """
    items = len(group)
    alone = len(group) + np.arange(len(repeats.target))
    unit = joined(np.concatenate([group, alone]), np.concatenate([repeats.pool, repeats.target]))
    of_pool, of_target = sides = np.unique(unit[:items]), np.unique(unit[items:])
    folds = min(folds, len(of_pool), len(of_target))
    if folds < MIN_FOLDS:
        raise ValueError(
            f"`fit_ratio` needs {MIN_FOLDS} different items on each side: what repeats or is in one group counts once, "
            f"so the pool has {len(of_pool)} and the target {len(of_target)}. Add other items there."
        )
    fold = np.empty(int(unit.max()) + 1, np.uint8)
    both = np.intersect1d(of_pool, of_target)
    for start, mine in ((0, both), *((len(both), np.setdiff1d(side, both)) for side in sides)):
        fold[generator.permutation(mine)] = (start + np.arange(len(mine))) % folds
    return fold[unit[:items]], fold[unit[items:]]


def _some(items: int, most: int, generator: np.random.Generator) -> np.ndarray:
    """Draw at most `most` of the row numbers 0 ... items - 1, in ascending order."""
    if items <= most:
        return np.arange(items)
    return np.sort(generator.choice(items, most, replace=False, shuffle=False))
