"""Cells of the tables that benchmarks write."""

from typing import Any

from rsft.types import Interval


def difference(figures: dict[str, Any]) -> str:
    """An interval of a difference, bold where it leaves out zero."""
    interval = Interval(**figures)
    clear = interval.low is not None and interval.high is not None and interval.low * interval.high > 0
    return f"**{interval.signed()}**" if clear else interval.signed()
