"""Rows that repeat one another, within the target, within the pool and between the two."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsft.groups import effective_number, in_order, joined
from rsft.per_item import codes_of
from rsft.ratio.near_copies import near_copies
from rsft.ratio.rows import Rows

# Equal rows are one item if hardly any rows of the pool are equal by chance, or each half of the columns tells nearly
# as many rows apart as all columns do. Counts and classes, of which equal values say nothing, pass neither.
FINE, MIN_DIFFERENT = 0.95, 30
KEY_COLUMNS = 8  # columns that are compared first; few rows need the others


@dataclass(frozen=True)
class Repeats:
    """Which rows of pool and target show the same item.

    Attributes:
        pool: (N,) int64 number of the item of each pool row; rows of one number repeat one another.
        target: (K,) int64 the same for the target rows. Pool and target share the numbers.
        shared_items: Number of target rows that equal a row of the pool.
    """

    pool: np.ndarray
    target: np.ndarray
    shared_items: int

    @cached_property
    def none(self) -> bool:
        """Whether no row repeats another."""
        return int(max(self.pool.max(), self.target.max())) + 1 == len(self.pool) + len(self.target)

    def figures(self) -> dict[str, float]:
        """Return the counts, for diagnostics."""
        return {
            "shared_items": float(self.shared_items),
            "target_groups": float(len(np.unique(self.target))),
            "target_effective_groups": effective_number(self.target),
        }


def find_repeats(pool: Rows, target: Rows, target_groups: Any = None) -> Repeats:
    """Find the rows that repeat one another: equal rows, near-copies in the target, and the rows of one target group.

    Args:
        pool: Features of the N pool items.
        target: Features of the K target items.
        target_groups: (K,) integers or texts: items of one group, such as the frames of a clip, count as one. None if
            all are different, except for those that are found to be equal or near-copies; see `near_copies`.

    Raises:
        ValueError: If `target_groups` does not have length K, or a feature is NaN or infinite.
    """
    items = len(pool)
    equal = _equal_rows(pool, target)
    shared = int(np.isin(equal[items:], equal[:items]).sum())
    alone = np.arange(items) + len(target)
    grouped = [np.concatenate([alone, near_copies(pool, target, equal[:items])])]
    if target_groups is not None:
        _, index = codes_of(target_groups, "fit_ratio(target_groups=...)", len(target))
        grouped.append(np.concatenate([alone, index]))
    units = joined(equal, *grouped)
    return Repeats(units[:items], units[items:], shared)


def _equal_rows(pool: Rows, target: Rows) -> np.ndarray:
    """Number the rows of pool and target so that equal ones have one number: (N + K,) int64."""
    width, items = pool.width, len(pool) + len(target)
    some = np.unique(np.linspace(0, width - 1, KEY_COLUMNS).astype(int))
    keys = _hashes(pool, target, some)
    _, index, counts = np.unique(keys, return_inverse=True, return_counts=True)
    again = counts[index] > 1
    if not again.any():
        return np.arange(items)
    keys[again] = _hashes(pool, target, np.arange(width), again)[again]
    keys = in_order(keys)
    return keys if _is_fine(keys, pool, target) else np.arange(items)


def _is_fine(equal: np.ndarray, pool: Rows, target: Rows) -> bool:
    """Return whether the features are so fine that equal rows are one item; see `FINE`."""
    if len(np.unique(equal[: len(pool)])) >= FINE * len(pool):
        return True
    different = len(np.unique(equal))
    halves = [np.arange(start, pool.width, 2) for start in (0, 1)]
    return (
        different >= MIN_DIFFERENT
        and pool.width > 1
        and all(len(np.unique(_hashes(pool, target, half))) >= FINE * different for half in halves)
    )


def _hashes(pool: Rows, target: Rows, columns: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Hash some columns of the rows, those of the pool first: (N + K,) uint64. Rows outside the mask are left at 0."""
    result = np.zeros(len(pool) + len(target), np.uint64)
    factors = np.random.default_rng(0).integers(1 << 63, size=len(columns), dtype=np.uint64) * np.uint64(2)
    for start, block in _blocks(pool, target):
        mine = slice(start, start + len(block))
        rows = torch.arange(len(block)) if mask is None else torch.from_numpy(np.flatnonzero(mask[mine]))
        values = block[rows][:, torch.from_numpy(columns)].double().numpy() + 0.0  # -0 becomes 0
        bits = values.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        bits ^= bits >> np.uint64(32)
        result[start + rows.numpy()] = (bits * (factors + np.uint64(1))).sum(1, dtype=np.uint64)
    return result


def _blocks(pool: Rows, target: Rows) -> Iterator[tuple[int, Tensor]]:
    """Yield the blocks of both tables, with row numbers that go on from the pool to the target."""
    yield from pool.blocks()
    for start, block in target.blocks():
        yield len(pool) + start, block
