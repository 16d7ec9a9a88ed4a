"""When to stop training: at a condition, or when the process is told to."""

import signal
import threading
from dataclasses import dataclass
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Stopping:
    """Training ends at the first condition met; at least one is needed.

    Attributes:
        steps: optimiser steps.
        epochs: passes over the batches.
        accepted: samples trained on, by all processes together.
        seconds: wall time, that before a resume included.
        patience: validations in a row without a new best.
        score: a validation score that is reached.

    >>> Stopping(steps=100, seconds=60.0).reached(steps=100, accepted=6400, seconds=9.0, stale=0, score=0.5)
    'steps'
    """

    steps: int | None = None
    epochs: int | None = None
    accepted: int | None = None
    seconds: float | None = None
    patience: int | None = None
    score: float | None = None

    def __post_init__(self) -> None:
        limits = self._limits()
        if not limits:
            raise ValueError("`Stopping` needs at least one of steps, epochs, accepted, seconds, patience or score.")
        for name, limit in limits.items():
            if limit <= 0 and name != "score":
                raise ValueError(f"`Stopping({name}=...)` needs a value above 0, got {limit}.")

    def reached(self, *, steps: int, accepted: int, seconds: float, stale: int, score: float) -> str | None:
        """The first condition that is met within an epoch, or None.

        Args:
            steps: taken so far.
            accepted: samples trained on so far.
            seconds: so far.
            stale: validations since the best.
            score: the best so far.
        """
        so_far = {"steps": steps, "accepted": accepted, "seconds": seconds, "patience": stale, "score": score}
        return next((name for name, limit in self._limits().items() if name in so_far and so_far[name] >= limit), None)

    def _limits(self) -> dict[str, float]:
        return {name: limit for name, limit in vars(self).items() if limit is not None}


class Interruption:
    """While entered, takes note of the first SIGINT or SIGTERM for a loop to end by; a second has its usual effect.

    Only the main thread can catch signals; in others they keep their effect.

    Attributes:
        name: of the signal that came, or None.

    >>> with Interruption() as interruption:
    ...     signal.raise_signal(signal.SIGTERM)
    >>> interruption.name
    'SIGTERM'
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self._usual: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._usual = {number: signal.signal(number, self._take_note) for number in SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        self._give_back()

    def _take_note(self, number: int, frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._usual.items():
            signal.signal(number, handler)
        self._usual = {}
