"""Duration and progress of the stages of a run."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str, int, int], None]  # stage, done, total


def silent(stage: str, done: int, total: int) -> None:
    """Ignore the progress; the default listener."""


class Stages:
    """A timer of stages that reports their progress to a listener.

    Args:
        listener: Callback that receives (stage, done, total) as each stage advances.

    Attributes:
        seconds: Name -> duration in seconds of each finished stage.
    """

    def __init__(self, listener: Listener = silent) -> None:
        self._listener = listener
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, total: int = 1) -> Iterator[Callable[[int], None]]:
        """Time a stage of `total` parts; yield a function to call with the number of parts done since the last call."""
        started, done = time.monotonic(), 0

        def advance(parts: int) -> None:
            nonlocal done
            done += parts
            self._listener(name, done, total)

        self._listener(name, 0, total)
        yield advance
        self._listener(name, total, total)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started
