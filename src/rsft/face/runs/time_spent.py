"""Time spent on pictures, and by a comparison before it trains: uniform training of equal time also gets that."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rsft.data.reading import read_json
from rsft.disk.whole import replace_file


@dataclass
class Spent:
    """Seconds spent on a number of pictures."""

    seconds: float = 0.0
    pictures: int = 0

    @property
    def of_one(self) -> float | None:
        """Seconds of one picture; None before the first."""
        return self.seconds / self.pictures if self.pictures else None

    @contextmanager
    def time(self) -> Iterator[Callable[[int], None]]:
        """Time some work; yield a function to call with its number of pictures. Work on none does not count."""
        began, before = time.monotonic(), self.pictures

        def add(pictures: int) -> None:
            self.pictures += pictures

        yield add
        if self.pictures > before:
            self.seconds += time.monotonic() - began


class TimeSpent:
    """Seconds spent before training. They are stored in a file, so that interruptions do not lose them.

    Args:
        path: The file. Times that it already has are added to.

    Attributes:
        told: Seconds of "embed" up to the last `note`, including those before an interruption; once closed, also of
            "plan" and of one training "step".
    """

    def __init__(self, path: Path) -> None:
        self.told: dict[str, float] = {"embed": 0.0}
        self.told |= read_json(path, dict[str, float], "the times of a run") if path.exists() else {}
        self._path, self._before, self._began = path, self.told["embed"], time.perf_counter()

    @property
    def is_closed(self) -> bool:
        """Whether the times are final, so that `steps` is known."""
        return "step" in self.told

    @property
    def steps(self) -> int:
        """The number of training steps that take the same time as embedding and planning."""
        return round((self.told["embed"] + self.told["plan"]) / self.told["step"])

    def note(self) -> None:
        """Count the time since this object was created as embedding. Does nothing once closed."""
        if not self.is_closed:
            self._write(embed=self._before + time.perf_counter() - self._began)

    def close(self, *, plan: float, step: float) -> None:
        """Add the seconds of planning and of one training step, and make the times final."""
        self._write(plan=plan, step=step)

    def _write(self, **told: float) -> None:
        """Update the times and the file."""
        self.told |= told
        replace_file(self._path, json.dumps(self.told).encode())
