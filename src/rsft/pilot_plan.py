"""A plan for a pool of any size, from as small a random part of it as tells enough."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsft.law import Score, features_of
from rsft.pilot import pilot_items
from rsft.plan import Plan, plan
from rsft.ratio.rows import Table

PILOT_SIZES = (750, 1500, 3000)
CALL = "plan_from_pilot(score=...)"


def plan_from_pilot(
    score: Score, target: Table, *, items: int, sizes: Sequence[int] = PILOT_SIZES, seed: int = 0, **options: Any
) -> Plan:
    """Make a plan from a pilot: a random part of the pool that grows until it tells enough, see `Pilot.is_enough`.

    `Plan.sampler` then draws from the whole pool.

    Args:
        score: Function from (n,) int64 items of the pool, ascending, to their (n, D) features; or to (features,
            usable), where usable is (n,) bool and False for an item that cannot be used. It is called once for each
            item of the pilot.
        target: (K, D) features of the target items.
        items: Number N of items of the pool.
        sizes: Sizes of the pilot that are tried, ascending. The last is used if none tells enough.
        seed: Seed for the choice of the pilot, the folds of the ratio and the accept decisions.
        **options: Further arguments of `plan`, except those with one value for each item.

    Raises:
        ValueError: If `items` or a size is not positive, `score` returns NaN or features of another shape, no item can
            be used, or an argument of `plan` is not valid.

    >>> generator = torch.Generator().manual_seed(0)
    >>> pool = torch.randn(100_000, 1, generator=generator)
    >>> made = plan_from_pilot(lambda items: pool[items], torch.randn(400, 1, generator=generator) + 1, items=100_000)
    >>> len(made.pilot), made.pilot.items
    (750, 100000)
    """
    if items < 1 or not sizes or min(sizes) < 1:
        raise ValueError(f"`plan_from_pilot` needs items and sizes of 1 or more, got {items} and {list(sizes)}.")
    scored = _Pilot(score)

    def make(rows: np.ndarray) -> Plan:
        usable, features = scored(rows)
        unusable = np.setdiff1d(rows, usable, assume_unique=True)
        return plan(features, target, pilot=(usable, items, unusable), seed=seed, **options)

    return grow(make, items, sizes, seed)


def grow(make: Callable[[np.ndarray], Plan], items: int, sizes: Sequence[int], seed: int) -> Plan:
    """Make plans from growing pilots until one tells enough.

    Args:
        make: Function from the items of a pilot, (n,) int64 ascending, to its plan.
        items: Number of items of the pool.
        sizes: Sizes of the pilot, ascending.
        seed: Seed for the choice of the pilot.
    """
    for size in sizes:
        made = make(pilot_items(items, size, seed=seed))
        if size >= items or (made.pilot is not None and made.pilot.is_enough):
            break
    return made


class _Pilot:
    """Features of the items of a growing pilot, each computed once."""

    def __init__(self, score: Score) -> None:
        self._score, self._features = score, dict[int, Tensor | None]()
        self._width: int | None = None

    def __call__(self, rows: np.ndarray) -> tuple[np.ndarray, Tensor]:
        """Return the usable items among `rows`, and their features."""
        new = np.array([row for row in rows.tolist() if row not in self._features], np.int64)
        if len(new):
            features, usable = features_of(self._score, new, CALL)
            width = self._width = self._width or features.shape[1]
            if features.shape[1] != width:
                raise ValueError(
                    f"`{CALL}` gave {features.shape[1]} features for the items from {new[0]} on, and {width} before. "
                    "Were all embedded with one model?"
                )
            told = zip(new.tolist(), features, usable.tolist(), strict=True)
            self._features |= {row: value if good else None for row, value, good in told}
        kept = [(row, value) for row in rows.tolist() if (value := self._features[row]) is not None]
        if not kept:
            raise ValueError(f"`{CALL}`: none of {len(rows)} items of the pilot can be used.")
        return np.array([row for row, _ in kept]), torch.stack([value for _, value in kept])
