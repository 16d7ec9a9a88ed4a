"""Small frozen records that pass between stages."""

from dataclasses import asdict, dataclass
from typing import Any

CONFIDENCE = 0.95


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
