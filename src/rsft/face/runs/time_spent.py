"""What a comparison spends before any training: the time that uniform training of equal time gets too."""

import json
import time
from pathlib import Path

from rsft.run_folder import replace_file


class TimeSpent:
    """Seconds spent before any training; kept in a file, so that an interrupted comparison knows what it spent.

    Args:
        path: the file; what is in it already is added to.

    Attributes:
        told: "embed", as of the last `note` and with what was embedded before an interruption; "plan" and "step", of
            training, once closed.
    """

    def __init__(self, path: Path) -> None:
        self.told: dict[str, float] = json.loads(path.read_text()) if path.exists() else {"embed": 0.0}
        self._path, self._before, self._began = path, self.told["embed"], time.perf_counter()

    @property
    def is_closed(self) -> bool:
        """Whether how many steps are worth it is settled."""
        return "step" in self.told

    @property
    def steps(self) -> int:
        """So many steps of training last as long."""
        return round((self.told["embed"] + self.told["plan"]) / self.told["step"])

    def note(self) -> None:
        """What passed since this was made went into embedding; does nothing once closed."""
        if not self.is_closed:
            self._write(embed=self._before + time.perf_counter() - self._began)

    def close(self, *, plan: float, step: float) -> None:
        """Add the seconds of planning and of a step, and nothing more later."""
        self._write(plan=plan, step=step)

    def _write(self, **told: float) -> None:
        self.told |= told
        replace_file(self._path, json.dumps(self.told).encode())
