"""Which pictures are compared with which."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class PairList:
    """Which pictures are compared, and who is in them.

    Attributes:
        a: (P,) index of the first picture.
        b: (P,) index of the second.
        identity: (N,) int, of every picture.
        fold: (P,) int of the protocol's folds, or None.
    """

    a: np.ndarray
    b: np.ndarray
    identity: np.ndarray
    fold: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.a)

    @property
    def genuine(self) -> np.ndarray:
        """(P,) bool: both pictures show one person."""
        return self.identity[self.a] == self.identity[self.b]

    @property
    def counts(self) -> tuple[int, int]:
        """How many are genuine, and how many impostor."""
        genuine = int(self.genuine.sum())
        return genuine, len(self) - genuine

    @property
    def people(self) -> np.ndarray:
        """The identities that are compared, sorted."""
        return np.unique(self.identity[np.concatenate([self.a, self.b])])

    def listed(self) -> "PairList":
        """Itself."""
        return self

    def restricted_to(self, row: np.ndarray) -> "PairList":
        """Those of pictures that are kept.

        Args:
            row: (N,) the new index of each picture, or -1 where it is not kept.
        """
        kept = (row[self.a] >= 0) & (row[self.b] >= 0)
        fold = None if self.fold is None else self.fold[kept]
        return PairList(row[self.a[kept]], row[self.b[kept]], _moved(self.identity, row), fold)


@dataclass(frozen=True)
class AllPairs:
    """Every picture against every other, once; listed only if asked for.

    Attributes:
        identity: (N,) int, of every picture.
    """

    identity: np.ndarray
    fold: None = None

    def __len__(self) -> int:
        return len(self.identity) * (len(self.identity) - 1) // 2

    @property
    def counts(self) -> tuple[int, int]:
        """How many are genuine, and how many impostor."""
        pictures = np.bincount(self.identity)
        genuine = int((pictures * (pictures - 1) // 2).sum())
        return genuine, len(self) - genuine

    @property
    def people(self) -> np.ndarray:
        """The identities that are compared, sorted."""
        return np.unique(self.identity) if len(self.identity) > 1 else self.identity[:0]

    def listed(self) -> PairList:
        """All of them, with 8 bytes each and more for whoever uses them."""
        return self._listed

    @property
    def a(self) -> np.ndarray:
        """(P,) index of the first picture, listed."""
        return self._listed.a

    @property
    def b(self) -> np.ndarray:
        """(P,) index of the second, listed."""
        return self._listed.b

    @property
    def genuine(self) -> np.ndarray:
        """(P,) bool: both pictures show one person; listed."""
        return self._listed.genuine

    @cached_property
    def _listed(self) -> PairList:
        return list_all_pairs(self.identity)

    def restricted_to(self, row: np.ndarray) -> "AllPairs":
        """Those of pictures that are kept; see `PairList.restricted_to`."""
        return AllPairs(_moved(self.identity, row))


def list_all_pairs(identity: Sequence[int] | np.ndarray) -> PairList:
    """Every picture against every other, once.

    >>> comparisons = list_all_pairs([0, 0, 1])
    >>> comparisons.a.tolist(), comparisons.b.tolist(), comparisons.genuine.tolist()
    ([0, 0, 1], [1, 2, 2], [True, False, False])
    """
    identity = np.asarray(identity)
    a, b = (index.astype(np.int32) for index in np.triu_indices(len(identity), 1))
    return PairList(a, b, identity)


def _moved(values: np.ndarray, row: np.ndarray) -> np.ndarray:
    moved = np.empty(int((row >= 0).sum()), values.dtype)
    moved[row[row >= 0]] = values[row >= 0]
    return moved
