"""The order in which a pass goes through a pool: a permutation whose memory does not grow with the pool.

Up to `SORTED_ITEMS` numbers are sorted by random keys, so every order is equally likely. More numbers are laid out as a
table of about sqrt(N) rows and columns, and permuted by a Feistel network: in turn, each column is rotated by a random
amount, and each row. A number outside 0 ... N - 1 is permuted again until it is inside. M. Luby and C. Rackoff, "How to
construct pseudorandom permutations from pseudorandom functions", 1988.
"""

import math

import numpy as np

from rsft.sampling.acceptance import Stream, random_words

SORTED_ITEMS = 2**16
ROUNDS = 8


class Permutation:
    """A random permutation of 0 ... N - 1, as a pure function of (seed, epoch).

    Args:
        items: N.
        seed: Integer in [0, 2^64).
        epoch: Integer in [0, 2^64). Every epoch has its own permutation.
        sorted_items: Largest N whose numbers are sorted by random keys.

    >>> order = Permutation(5, seed=0, epoch=0)
    >>> sorted(order(np.arange(5)).tolist())
    [0, 1, 2, 3, 4]
    """

    def __init__(self, items: int, *, seed: int, epoch: int, sorted_items: int = SORTED_ITEMS) -> None:
        self._items, self._table = items, None
        if items <= sorted_items:
            self._table = np.argsort(random_words(seed, epoch, 0, items, Stream.PERMUTE), kind="stable")
            return
        self._rows = math.isqrt(items - 1) + 1
        self._columns = -(-items // self._rows)
        sides = [(self._columns, self._rows), (self._rows, self._columns)] * (ROUNDS // 2)
        self._rotations = [
            (random_words(seed, epoch, 0, size, Stream.PERMUTE, part=part + 1) % np.uint64(most)).astype(np.int64)
            for part, (size, most) in enumerate(sides)
        ]

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """Return the numbers at some places of the order.

        Args:
            places: (n,) int64 in 0 ... N - 1.

        Returns:
            (n,) int64 in 0 ... N - 1.
        """
        if self._table is not None:
            return self._table[places]
        found = self._mixed(places)
        outside = np.flatnonzero(found >= self._items)
        while len(outside):
            found[outside] = self._mixed(found[outside])
            outside = outside[found[outside] >= self._items]
        return found

    def _mixed(self, numbers: np.ndarray) -> np.ndarray:
        """Permute the cells of the whole table."""
        row, column = np.divmod(numbers, self._columns)
        for number, rotation in enumerate(self._rotations):
            if number % 2:
                column = (column + rotation[row]) % self._columns
            else:
                row = (row + rotation[column]) % self._rows
        return row * self._columns + column
