"""Several arrays that are read as one."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class JoinedArrays:
    """The rows of several arrays or memory maps as one array (N, ...), without copying them.

    Args:
        arrays: At least one array. They may differ only in their number of rows.

    Attributes:
        shape: Shape of the joined array.
        dtype: Type of the first array.

    >>> shards = JoinedArrays([np.zeros((2, 3)), np.ones((1, 3))])
    >>> shards[1:].tolist(), shards[np.array([2, 0]), np.array([1, 1])].tolist()
    ([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]], [1.0, 0.0])
    """

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self._arrays = list(arrays)
        self._starts = np.cumsum([0, *(len(array) for array in arrays)])
        self.shape = (int(self._starts[-1]), *arrays[0].shape[1:])
        self.dtype = arrays[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Return a copy of some rows.

        Args:
            key: `rows` or `(rows, other)`. `rows` is a slice or (n,) integer indices. `other` indexes the second axis
                and is a slice, or (n,) integer indices of which each belongs to one row.
        """
        rows, *others = key if isinstance(key, tuple) else (key,)
        rows = np.arange(len(self))[rows]
        shard = np.searchsorted(self._starts, rows, side="right") - 1
        parts = []
        for number in np.unique(shard) if len(rows) else [0]:
            here = np.flatnonzero(shard == number)
            beside = [other if isinstance(other, slice) else other[here] for other in others]
            parts.append((here, self._arrays[number][(rows[here] - self._starts[number], *beside)]))
        found = np.empty((len(rows), *parts[0][1].shape[1:]), self.dtype)
        for here, part in parts:
            found[here] = part
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return a copy of all rows as one array, for `np.asarray`."""
        return np.asarray(self[:], dtype)
