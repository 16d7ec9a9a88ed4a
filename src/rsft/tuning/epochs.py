"""Epochs: iterates epoch after epoch over the batches, from any position."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from rsft.errors import LowAcceptanceError
from rsft.tuning.random_state import random_state, set_random_state


class Epochs:
    """Iterable of (epoch, batch), epoch after epoch, whose position can be saved and restored.

    If the batches, or the sampler of a loader without workers, have `state_dict` and `load_state_dict`, these restore
    the position, and nothing is loaded twice. Otherwise the batches of the epoch that were already yielded are drawn
    again and dropped, starting from the random state at the beginning of the epoch.

    Args:
        batches: Iterated once per epoch. If it, its `sampler` or its `batch_sampler` has `set_epoch`, that is called
            first.
        epochs: Number of epochs; None for no limit.

    Attributes:
        epoch: Number of the current epoch, which is the number of completed epochs.
    """

    def __init__(self, batches: Iterable[Any], epochs: int | None) -> None:
        self._batches, self._epochs = batches, epochs
        self._place = _with_place(batches)
        self.epoch = self._given = 0
        self._resumed: dict[str, Any] | None = None
        self._random_at_start = random_state()

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        """Yield (epoch, batch) from the current position on.

        Raises:
            LowAcceptanceError: If an epoch has no batch.
        """
        while self._epochs is None or self.epoch < self._epochs:
            for batch in self._one():
                self._given += 1
                yield self.epoch, batch
            if not self._given:
                raise LowAcceptanceError(
                    f"epoch {self.epoch} has no batch of accepted samples: lower the envelope (`rate=` or `max_tv=`), "
                    "raise `retain_fraction`, or use smaller batches."
                )
            self.epoch, self._given = self.epoch + 1, 0

    def _one(self) -> Iterator[Any]:
        """Yield the batches of the current epoch; after a resume, the rest of them."""
        resumed, self._resumed = self._resumed, None
        for owner in (self._batches, *_samplers(self._batches)):
            getattr(owner, "set_epoch", lambda epoch: None)(self.epoch)
        if resumed:
            set_random_state(resumed["random_at_start"])
        self._random_at_start = random_state()
        batches = iter(self._batches)
        if resumed:
            if self._place is None:
                for _ in itertools.islice(batches, self._given):
                    pass
            set_random_state(resumed["random"])
        yield from batches

    def state_dict(self) -> dict[str, Any]:
        """Return the position as tensors and plain numbers."""
        return {
            "epoch": self.epoch,
            "given": self._given,
            "batches": self._place.state_dict() if self._place is not None else None,
            "random_at_start": self._random_at_start,
            "random": random_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the position that `state_dict` returned, at the next iteration."""
        self.epoch, self._given, self._resumed = state["epoch"], state["given"], state
        if self._place is not None:
            self._place.load_state_dict(state["batches"])


def _samplers(batches: Any) -> tuple[Any, Any]:
    return getattr(batches, "sampler", None), getattr(batches, "batch_sampler", None)


def _with_place(batches: Any) -> Any:
    """Return the object that saves the position, or None; with workers, a loader's sampler is ahead of the batches."""
    owners = (batches,) if getattr(batches, "num_workers", 0) else (batches, *_samplers(batches))
    return next((owner for owner in owners if hasattr(owner, "state_dict") and hasattr(owner, "load_state_dict")), None)
