"""Progress of the stages of a command on the error stream: bars in a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from rsft.cli import launch, verbosity

SECONDS_BETWEEN_LINES = 30.0
SHORT = 2.0  # seconds; a stage that ends sooner has no line

Listener = Callable[[str, int, int], None]  # stage, done, total


@contextmanager
def progress(*, quiet: bool) -> Iterator[Listener]:
    """Yield a listener that shows how far each stage is, how fast it is and how long it still takes.

    Only the first process shows it. Where the error stream is a file or a pipe, a stage has a line every half minute
    and one at its end.

    Args:
        quiet: Show nothing.
    """
    if quiet or verbosity.is_quiet() or launch.number() > 0:
        yield lambda stage, done, total: None
    elif Console(stderr=True).is_terminal:
        columns = (TextColumn("{task.description:28s}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, _Left(), console=Console(stderr=True)) as bars:
            yield _Bars(bars)
    else:
        yield Lines()


class _Bars:
    """Listener that draws a bar for each stage."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)


class _Left(ProgressColumn):
    """Column with the rate of a running stage and its time left."""

    def render(self, task: Task) -> Text:
        seconds = task.elapsed or 0.0
        if task.finished or seconds < SHORT or not task.completed:
            return Text("")
        return Text(_pace(task.completed, task.total or 0, seconds), style="dim")


class Lines:
    """Listener that prints a line for each stage at its end, and every half minute before.

    Args:
        write: Function that prints a line.
        clock: Function that returns the time in seconds.
    """

    def __init__(
        self,
        write: Callable[[str], object] = lambda line: print(line, file=sys.stderr, flush=True),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write, self._clock = write, clock
        self._began: dict[str, float] = {}
        self._told: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = self._clock()
        began = self._began.setdefault(stage, now)
        seconds = now - began
        if done >= total:
            if seconds >= SHORT:
                self._write(f"{stage}: {total:,} of {total:,}, {_duration(seconds)}")
            del self._began[stage]  # a stage may come again
            self._told.pop(stage, None)
        elif now - self._told.get(stage, began) >= SECONDS_BETWEEN_LINES:
            self._told[stage] = now
            pace = f", {_pace(done, total, seconds)}" if done else ""
            self._write(f"{stage}: {done:,} of {total:,}{pace}")


def _pace(done: float, total: float, seconds: float) -> str:
    """Return the rate and the time left as text."""
    rate = done / seconds
    speed = f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:,.0f} s each"
    return f"{speed}, {_duration((total - done) / rate)} left"


def _duration(seconds: float) -> str:
    """Return a duration as text, such as "45 s", "3 min 20 s" or "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
