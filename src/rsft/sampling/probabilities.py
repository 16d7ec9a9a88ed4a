"""Acceptance probabilities, read block by block from any source, and rules that draw the accepted items themselves."""

import zlib
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from rsft.per_item import as_numbers, check_probabilities
from rsft.sampling.acceptance import decide

BLOCK = 2**17
PROBES = 64
QUANTISED = 255
CALL = "RejectionSampler(acceptance=...)"

# (start, stop) -> (stop - start,) probabilities of those items
BlockFunction = Callable[[int, int], np.ndarray]


@runtime_checkable
class AcceptanceRule(Protocol):
    """Rule that draws the accepted items itself, for laws that independent probabilities cannot express."""

    def __len__(self) -> int:
        """Return the number of items of the pool."""

    def accepted(self, seed: int, epoch: int) -> np.ndarray:
        """Return the accepted items of an epoch, (n,) int64, ascending; a pure function of the arguments."""


class Probabilities:
    """Acceptance probabilities of N items; those of single items can be replaced.

    Args:
        acceptance: (N,) tensor, array or list of probabilities in [0, 1], or a function (start, stop) -> (stop -
            start,) probabilities of those items. A uint8 value v stands for v / 255 (see `quantise`). A `numpy.memmap`
            and a function are checked as they are read, all other types at once.
        items: N, if `acceptance` is a function; None otherwise.

    Raises:
        ValueError: If a probability is outside [0, 1] or NaN, the shape is not (N,), or `items` is missing or
            superfluous.
    """

    def __init__(self, acceptance: Tensor | np.ndarray | BlockFunction | Any, items: int | None = None) -> None:
        if callable(acceptance) != (items is not None):
            raise ValueError(
                "`RejectionSampler(items=...)` needs the pool's size if acceptance is a function, and None otherwise: "
                f"got items={items} with a {type(acceptance).__name__}."
            )
        self.indices, self.values = np.empty(0, np.int64), np.empty(0, np.float64)
        self._source: np.ndarray | BlockFunction
        if callable(acceptance):
            self._source, self._items, self._checked = acceptance, int(items or 0), False
            return
        array = as_numbers(acceptance, CALL)
        self._source, self._items, self._checked = array, len(array), False
        if not isinstance(array, np.memmap):
            for start in range(0, len(array), BLOCK):
                self.read(start, min(start + BLOCK, len(array)))
            self._checked = True

    def __len__(self) -> int:
        return self._items

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the probabilities of items `start` ... `stop - 1`: (stop - start,) floating."""
        block = np.asarray(self._block(start, stop))
        if block.shape != (stop - start,):
            raise ValueError(
                f"`{CALL}` needs ({stop - start},) probabilities for the block [{start}, {stop}), got {block.shape}."
            )
        if block.dtype == np.uint8:
            block = block / np.float64(QUANTISED)
        elif not self._checked:
            check_probabilities(block, CALL, start)
        low, high = np.searchsorted(self.indices, (start, stop))
        if low < high:
            block = block.astype(np.float64)  # a copy, so that the caller's array does not change
            block[self.indices[low:high] - start] = self.values[low:high]
        return block

    def _block(self, start: int, stop: int) -> np.ndarray:
        return self._source(start, stop) if callable(self._source) else self._source[start:stop]

    def draw(self, seed: int, epoch: int, start: int, stop: int, *, balanced: bool = False) -> np.ndarray:
        """Return the accepted items among `start` ... `stop - 1`: (n,) int64, ascending."""
        kept = np.flatnonzero(decide(self.read(start, stop), seed=seed, epoch=epoch, start=start, balanced=balanced))
        kept += start
        return kept

    def replace(self, indices: np.ndarray, values: np.ndarray) -> None:
        """Replace the probabilities of items `indices`, (n,) int64, by `values`, (n,) float64, from now on."""
        self.indices, self.values = merge((indices, values), (self.indices, self.values))

    def fingerprint(self) -> int:
        """Return a checksum of up to 64 evenly spaced probabilities, without replacements."""
        rows = np.linspace(0, self._items - 1, min(PROBES, self._items)).astype(np.int64)
        probed = [np.asarray(self._block(row, row + 1), np.float64) for row in rows.tolist()]
        return zlib.crc32(np.concatenate([*probed, [self._items]]).tobytes())


class RuleDraws:
    """An `AcceptanceRule` behind the interface of `Probabilities`; the last epoch drawn is cached."""

    def __init__(self, rule: AcceptanceRule) -> None:
        self._rule = rule
        self._drawn: tuple[tuple[int, int], np.ndarray] | None = None
        self.indices, self.values = np.empty(0, np.int64), np.empty(0, np.float64)

    def __len__(self) -> int:
        return len(self._rule)

    def draw(self, seed: int, epoch: int, start: int, stop: int, *, balanced: bool = False) -> np.ndarray:
        """Return the accepted items among `start` ... `stop - 1`: (n,) int64, ascending; `balanced` has no effect."""
        if self._drawn is None or self._drawn[0] != (seed, epoch):
            self._drawn = (seed, epoch), np.asarray(self._rule.accepted(seed, epoch), np.int64)
        accepted = self._drawn[1]
        return accepted[slice(*np.searchsorted(accepted, (start, stop)))]

    def replace(self, indices: np.ndarray, values: np.ndarray) -> None:
        """Do nothing: `RejectionSampler.update` raises an error for a rule, so there are no new values."""

    def fingerprint(self) -> int:
        """Return a checksum of the items accepted with seed 0 in epoch 0."""
        return zlib.crc32(np.asarray(self._rule.accepted(0, 0), np.int64).tobytes())


def merge(new: tuple[np.ndarray, np.ndarray], old: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Merge two pairs (indices, values), ascending by index; where both have an index, the new value is taken.

    >>> merge((np.array([3, 1]), np.array([0.3, 0.1])), (np.array([1, 2]), np.array([1.0, 2.0])))
    (array([1, 2, 3]), array([0.1, 2. , 0.3]))
    """
    indices, first = np.unique(np.concatenate([new[0], old[0]]), return_index=True)
    return indices, np.concatenate([new[1], old[1]])[first]
