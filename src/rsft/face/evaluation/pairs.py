"""Pairs of pictures that are compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class PairList:
    """Listed pairs of pictures, and the identity of each picture.

    Attributes:
        a: (P,) int index of the first picture of each pair.
        b: (P,) int index of the second picture.
        identity: (N,) int identity of every picture.
        fold: (P,) int fold of each pair, or None if the protocol has no folds.
    """

    a: np.ndarray
    b: np.ndarray
    identity: np.ndarray
    fold: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.a)

    @property
    def genuine(self) -> np.ndarray:
        """(P,) bool, True if both pictures show the same person."""
        return self.identity[self.a] == self.identity[self.b]

    @property
    def counts(self) -> tuple[int, int]:
        """Number of genuine and of impostor pairs."""
        genuine = int(self.genuine.sum())
        return genuine, len(self) - genuine

    @property
    def people(self) -> np.ndarray:
        """(C,) identities that occur in the pairs, sorted."""
        return np.unique(self.identity[np.concatenate([self.a, self.b])])

    def listed(self) -> "PairList":
        """Return this list."""
        return self

    def restricted_to(self, row: np.ndarray) -> "PairList":
        """Return the pairs of which both pictures are kept.

        Args:
            row: (N,) int new index of each picture, or -1 if the picture is not kept.
        """
        kept = (row[self.a] >= 0) & (row[self.b] >= 0)
        fold = None if self.fold is None else self.fold[kept]
        return PairList(row[self.a[kept]], row[self.b[kept]], _moved(self.identity, row), fold)


@dataclass(frozen=True)
class AllPairs:
    """All pairs of N pictures, each pair once. They are listed only on request.

    Attributes:
        identity: (N,) int identity of every picture.
        fold: Always None.
    """

    identity: np.ndarray
    fold: None = None

    def __len__(self) -> int:
        return len(self.identity) * (len(self.identity) - 1) // 2

    @property
    def counts(self) -> tuple[int, int]:
        """Number of genuine and of impostor pairs."""
        pictures = np.bincount(self.identity)
        genuine = int((pictures * (pictures - 1) // 2).sum())
        return genuine, len(self) - genuine

    @property
    def people(self) -> np.ndarray:
        """(C,) identities that occur in the pairs, sorted."""
        return np.unique(self.identity) if len(self.identity) > 1 else self.identity[:0]

    def listed(self) -> PairList:
        """Return the list of all pairs, which takes 8 bytes for each pair and is kept."""
        return self._listed

    @property
    def a(self) -> np.ndarray:
        """(P,) int32 index of the first picture of each pair; this lists the pairs."""
        return self._listed.a

    @property
    def b(self) -> np.ndarray:
        """(P,) int32 index of the second picture of each pair; this lists the pairs."""
        return self._listed.b

    @property
    def genuine(self) -> np.ndarray:
        """(P,) bool, True if both pictures show the same person; this lists the pairs."""
        return self._listed.genuine

    @cached_property
    def _listed(self) -> PairList:
        return list_all_pairs(self.identity)

    def restricted_to(self, row: np.ndarray) -> "AllPairs":
        """Return the pairs of which both pictures are kept; see `PairList.restricted_to`."""
        return AllPairs(_moved(self.identity, row))


def list_all_pairs(identity: Sequence[int] | np.ndarray) -> PairList:
    """List all pairs of pictures, each pair once, from the identity of every picture (N,).

    >>> comparisons = list_all_pairs([0, 0, 1])
    >>> comparisons.a.tolist(), comparisons.b.tolist(), comparisons.genuine.tolist()
    ([0, 0, 1], [1, 2, 2], [True, False, False])
    """
    identity = np.asarray(identity)
    a, b = (index.astype(np.int32) for index in np.triu_indices(len(identity), 1))
    return PairList(a, b, identity)


def _moved(values: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Return the values of the kept pictures at their new rows."""
    moved = np.empty(int((row >= 0).sum()), values.dtype)
    moved[row[row >= 0]] = values[row >= 0]
    return moved
