"""Activations of pictures of which some views were computed."""

from typing import Any

import numpy as np

from rsft.data.joined_arrays import JoinedArrays


class PackedViews:
    """The computed views of N pictures, read like an array (N, V, ...) that has all of them.

    Args:
        array: (m, ...) the computed views, picture by picture.
        kept: (N, V) bool, True for the m views that were computed.

    Attributes:
        array: As given.
        kept: As given.
        shape: (N, V, ...).

    >>> packed = PackedViews(np.array([10, 11, 21]), np.array([[True, True], [False, True]]))
    >>> packed[np.array([1, 0]), np.array([1, 0])].tolist(), packed[np.array([0]), :2].tolist()
    ([21, 10], [[10, 11]])
    """

    def __init__(self, array: np.ndarray | JoinedArrays, kept: np.ndarray) -> None:
        self.array, self.kept = array, kept
        self.shape = (*kept.shape, *array.shape[1:])
        self._place = np.where(kept, np.cumsum(kept).reshape(kept.shape) - 1, -1)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: tuple[Any, Any]) -> np.ndarray:
        """Return a copy of some views.

        Args:
            key: `(rows, views)`, where rows is (n,) integers, and views is a slice, or (n,) integers of which each
                belongs to one row.

        Raises:
            IndexError: If one of these views was not computed.
        """
        place = self._place[key]
        if (place < 0).any():
            raise IndexError("a view is asked for that was not computed.")
        return self.array[place.ravel()].reshape(*place.shape, *self.shape[2:])

    def computed(self, rows: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Return the first computed view (n,) int from view `views[i]` of picture `rows[i]` on, in a circle."""
        steps = np.arange(self.shape[1])
        circle = (views[:, None] + steps) % self.shape[1]
        return circle[np.arange(len(rows)), self.kept[rows[:, None], circle].argmax(1)]

    def take(self, rows: np.ndarray) -> "PackedViews":
        """Return the views of some pictures, (n,) integers."""
        place = self._place[rows]
        return PackedViews(self.array[place[place >= 0]], self.kept[rows])


# Activations (N, V, ...) of N pictures.
Activations = np.ndarray | JoinedArrays | PackedViews
