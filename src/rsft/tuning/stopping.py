"""When to stop training: at a condition, or at a signal."""

import signal
import threading
from dataclasses import dataclass
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Stopping:
    """Conditions that end a training. The first condition met ends it; at least one is required.

    Attributes:
        steps: Number of optimiser steps.
        epochs: Number of epochs.
        accepted: Number of samples trained on, summed over all processes.
        seconds: Wall time in seconds, including that before a resume.
        patience: Number of validations in a row without a new best score.
        score: Validation score to reach.

    Raises:
        ValueError: If no condition is set, or one other than `score` is not above 0.

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
        """Return the first condition other than `epochs` that is met, or None.

        Args:
            steps: Number of steps so far.
            accepted: Number of samples trained on so far.
            seconds: Wall time so far, in seconds.
            stale: Number of validations since the best one.
            score: Best validation score so far.
        """
        so_far = {"steps": steps, "accepted": accepted, "seconds": seconds, "patience": stale, "score": score}
        return next((name for name, limit in self._limits().items() if name in so_far and so_far[name] >= limit), None)

    def _limits(self) -> dict[str, float]:
        return {name: limit for name, limit in vars(self).items() if limit is not None}


class Interruption:
    """Context manager that notes the first SIGINT or SIGTERM, so that a loop can end; a second has its usual effect.

    Only the main thread can catch signals. In other threads, signals keep their usual effect.

    Attributes:
        name: Name of the signal received, or None.

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
