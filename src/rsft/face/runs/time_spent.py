"""Time that a comparison spends on embedding and planning; uniform training of equal time also gets this time."""

import json
import time
from pathlib import Path

from rsft.run_folder import replace_file


class TimeSpent:
    """Seconds spent before training. They are stored in a file, so that interruptions do not lose them.

    Args:
        path: The file. Times that it already has are added to.

    Attributes:
        told: Seconds of "embed" up to the last `note`, including those before an interruption; once closed, also of
            "plan" and of one training "step".
    """

    def __init__(self, path: Path) -> None:
        self.told: dict[str, float] = json.loads(path.read_text()) if path.exists() else {"embed": 0.0}
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
