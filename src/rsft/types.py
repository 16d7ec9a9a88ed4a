"""Types, constants and records that several modules share."""

import os
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

PathLike = str | os.PathLike[str]
CONFIDENCE = 0.95
# Names of the systems that runs and comparisons report.
PRETRAINED, UNIFORM, TUNED = "pretrained", "uniform", "tuned"


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval. All three numbers are None if the data do not support an estimate.

    Attributes:
        value: The estimate.
        low: Lower end of the interval.
        high: Upper end of the interval.
        note: Reason for a missing value, such as "insufficient data", or a remark on the value.
    """

    value: float | None
    low: float | None
    high: float | None
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary that can be written as JSON, with `note` only if there is one."""
        return {key: value for key, value in asdict(self).items() if key != "note" or value is not None}

    def __str__(self) -> str:
        return self._format(".3f")

    def signed(self) -> str:
        """Return the interval as text with signs, for differences."""
        return self._format("+.3f")

    def _format(self, form: str) -> str:
        """Return the interval as text in a number format, or the note."""
        if self.value is None or self.low is None or self.high is None:
            return self.note or "-"
        return f"{self.value:{form}} [{self.low:{form}}, {self.high:{form}}]"


def normal_interval(value: float, error: float) -> Interval:
    """Return an estimate with its normal 95 % interval.

    Args:
        value: The estimate.
        error: Its standard error, at least 0.

    >>> print(normal_interval(1.0, 0.1))
    1.000 [0.804, 1.196]
    """
    half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * error
    return Interval(value, value - half, value + half)
