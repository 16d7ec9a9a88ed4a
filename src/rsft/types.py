"""Small frozen records that pass between stages."""

import os
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

PathLike = str | os.PathLike[str]
CONFIDENCE = 0.95
# The systems that runs and comparisons report.
PRETRAINED, UNIFORM, TUNED = "pretrained", "uniform", "tuned"


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval; all three are None where the data do not support one.

    Attributes:
        value: the estimate.
        low: lower end.
        high: upper end.
        note: why there is no value, such as "insufficient data".
    """

    value: float | None
    low: float | None
    high: float | None
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `note` only where there is one."""
        return {key: value for key, value in asdict(self).items() if key != "note" or value is not None}

    def __str__(self) -> str:
        return self._format(".3f")

    def signed(self) -> str:
        """As text with a plus or minus: for differences."""
        return self._format("+.3f")

    def _format(self, form: str) -> str:
        if self.value is None or self.low is None or self.high is None:
            return self.note or "-"
        return f"{self.value:{form}} [{self.low:{form}}, {self.high:{form}}]"


def normal_interval(value: float, error: float) -> Interval:
    """An estimate with its interval from its standard error.

    >>> print(normal_interval(1.0, 0.1))
    1.000 [0.804, 1.196]
    """
    half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * error
    return Interval(value, value - half, value + half)
