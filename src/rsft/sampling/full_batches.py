"""Batches of one size from epochs of any length."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from rsft.errors import LowAcceptanceError

MAX_EMPTY_EPOCHS = 1000


class FullBatches:
    """Batches of one size from consecutive epochs; items left over from an epoch open the next batches.

    Args:
        epoch: Function from the number of an epoch to its items, in the order in which they are used.
        batch_size: Number of items in every batch.

    Attributes:
        batch_size: As given.
        drop_last: True, as all batches have one size; accelerate reads both.

    Raises:
        LowAcceptanceError: When iterated, if `MAX_EMPTY_EPOCHS` epochs do not fill a batch.
    """

    def __init__(self, epoch: Callable[[int], Iterable[int]], batch_size: int) -> None:
        self._items_of, self.batch_size, self.drop_last = epoch, batch_size, True
        self._epoch, self._under_way = 0, False
        self._waiting: deque[int] = deque()

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the batches (B,) left of an interrupted iteration, or those of the next epochs that fill a batch."""
        if not self._under_way:
            self._fill()
        self._under_way = True
        while len(self._waiting) >= self.batch_size:
            yield np.array([self._waiting.popleft() for _ in range(self.batch_size)])
        self._under_way = False

    def endless(self) -> Iterator[np.ndarray]:
        """Yield batches without end, epoch after epoch."""
        while True:
            yield from self

    def state_dict(self) -> dict[str, Any]:
        """Return the position, as plain values."""
        return {"epoch": self._epoch, "under_way": self._under_way, "waiting": list(self._waiting)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the position that `state_dict` returned."""
        self._epoch, self._under_way, self._waiting = state["epoch"], state["under_way"], deque(state["waiting"])

    def _fill(self) -> None:
        for _ in range(MAX_EMPTY_EPOCHS):
            if len(self._waiting) >= self.batch_size:
                return
            self._waiting += self._items_of(self._epoch)
            self._epoch += 1
        raise LowAcceptanceError(
            f"{MAX_EMPTY_EPOCHS} epochs accept fewer than one batch of {self.batch_size} items: the pool holds almost "
            "nothing like the target; raise `retain_fraction` or lower the envelope."
        )
