"""How ranks divide one sequence of rows: in turns, or in shares. Ranks do not communicate.

A place says what all ranks together have taken. It is plain data, so it can be saved, and resumed with another number
of ranks. A step is one row for each rank. All ranks get the same number of rows: those of an incomplete last step are
left out, or repeated to fill it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

Spans = list[tuple[int, int]]  # (start, stop) of rows, in the order in which they are used


class Rows(Protocol):
    """A sequence of rows that is drawn part by part."""

    def _parts(self) -> Iterator[np.ndarray]:
        """Yield the sequence in parts: (k, ...) arrays of rows."""

    def _count(self) -> int:
        """Return the number of rows."""

    def _between(self, spans: Spans) -> Iterator[np.ndarray]:
        """Yield the rows of some spans in parts: (k, ...) arrays."""


class Division(ABC):
    """How ranks divide a sequence."""

    origin: Any  # the place where nothing is taken yet; false as a condition

    @abstractmethod
    def after(self, place: Any, world_size: int, taken: int) -> Any:
        """Return the place when, from a place on, each of `world_size` ranks has taken `taken` rows."""

    @abstractmethod
    def left(self, place: Any, rows: int) -> int:
        """Return how many rows of a sequence of `rows` rows are left at a place."""

    @abstractmethod
    def mine(self, sequence: Rows, place: Any, rank: int, world_size: int, pad: bool) -> Iterator[np.ndarray]:
        """Yield the rows of a rank from a place on: (k, ...) arrays."""


class Turns(Division):
    """Rank k of n takes the rows k, k + n, k + 2n, ...; a place is the number of rows that all ranks have taken."""

    origin = 0

    def after(self, place: int, world_size: int, taken: int) -> int:
        return place + world_size * taken

    def left(self, place: int, rows: int) -> int:
        return max(0, rows - place)

    def mine(self, sequence: Rows, place: int, rank: int, world_size: int, pad: bool) -> Iterator[np.ndarray]:
        rest: np.ndarray | None = None
        for part in sequence._parts():
            skipped = min(place, len(part))
            place -= skipped
            rows = part[skipped:] if rest is None else np.concatenate([rest, part[skipped:]])
            whole = len(rows) // world_size * world_size
            yield rows[rank:whole:world_size]
            rest = rows[whole:]
        if pad and rest is not None and len(rest):
            yield rest[[rank % len(rest)]]


class Shares(Division):
    """Rank k of n takes the k-th of n consecutive shares, so it needs to draw and order no other part of the sequence.

    A place is one pair (world size, rows taken by each rank) for each time that the rest was divided.
    """

    origin = ()

    def after(self, place: tuple[tuple[int, int], ...], world_size: int, taken: int) -> tuple[tuple[int, int], ...]:
        return (*place, (world_size, taken)) if taken else place

    def left(self, place: tuple[tuple[int, int], ...], rows: int) -> int:
        return _total(spans_left(place, rows))

    def mine(
        self, sequence: Rows, place: tuple[tuple[int, int], ...], rank: int, world_size: int, pad: bool
    ) -> Iterator[np.ndarray]:
        if world_size == 1 and not place:  # nothing to divide, so nothing to count
            yield from sequence._parts()
            return
        spans = spans_left(place, sequence._count())
        each, rest = divmod(_total(spans), world_size)
        yield from sequence._between(_cut(spans, rank * each, (rank + 1) * each))
        if pad and rest:
            last = world_size * each + rank % rest
            yield from sequence._between(_cut(spans, last, last + 1))


def spans_left(place: tuple[tuple[int, int], ...], rows: int) -> Spans:
    """Return what is left of a sequence of `rows` rows at a place of `Shares`.

    >>> spans_left(((2, 3),), 11)  # two ranks with shares 0 ... 4 and 5 ... 9 have taken three rows each
    [(3, 5), (8, 10), (10, 11)]
    """
    spans = [(0, rows)]
    for world_size, taken in place:
        each, rest = divmod(_total(spans), world_size)
        if taken > each:  # the last step was filled by repeating its rows
            return []
        starts = [rank * each for rank in range(world_size)]
        left = [_cut(spans, start + taken, start + each) for start in starts]
        spans = [span for part in (*left, _cut(spans, world_size * each, world_size * each + rest)) for span in part]
    return spans


def _total(spans: Spans) -> int:
    return sum(stop - start for start, stop in spans)


def _cut(spans: Spans, start: int, stop: int) -> Spans:
    """Return the rows `start` ... `stop - 1` of some spans laid end to end.

    >>> _cut([(0, 5), (10, 15)], 3, 7)
    [(3, 5), (10, 12)]
    """
    found, passed = [], 0
    for first, last in spans:
        low, high = max(first, first + start - passed), min(last, first + stop - passed)
        if low < high:
            found.append((low, high))
        passed += last - first
    return found
