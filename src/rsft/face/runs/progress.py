"""The stages of a run: how long each took, and how far it is."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str, int, int], None]  # stage, done, total


def silent(stage: str, done: int, total: int) -> None:
    """A listener that shows nothing."""


class Stages:
    """Times stages, and tells a listener about them.

    Attributes:
        seconds: of each stage so far.
    """

    def __init__(self, listener: Listener = silent) -> None:
        self._listener = listener
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, total: int = 1) -> Iterator[Callable[[int], None]]:
        """Run a stage of `total` parts; the function given is called with the number of further parts done."""
        started, done = time.monotonic(), 0

        def advance(parts: int) -> None:
            nonlocal done
            done += parts
            self._listener(name, done, total)

        self._listener(name, 0, total)
        yield advance
        self._listener(name, total, total)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started
