"""How a system verifies one set of pictures: rates, a DET curve, and the rates of groups."""

from typing import Annotated

from pydantic import Field, model_validator

from rsft.report.shapes.base import Count, Interval, Shape


class Rates(Shape):
    """How one system verifies one set of pictures."""

    tar_at_fmr: dict[str, Interval]
    eer: float
    pairs_genuine: Count
    pairs_impostor: Count
    people: Count
    thresholds: dict[str, float]


class Band(Shape):
    """A DET curve with its interval."""

    fmr: Annotated[list[float], Field(max_length=1000)]
    fnmr: list[float]
    low: list[float]
    high: list[float]

    @model_validator(mode="after")
    def _equally_long(self) -> "Band":
        if len({len(values) for values in (self.fmr, self.fnmr, self.low, self.high)}) > 1:
            raise ValueError("fmr, fnmr, low and high need as many values")
        return self


class Group(Shape):
    """The error rates of one group."""

    people: Count
    fmr: dict[str, Interval]
    fnmr: dict[str, Interval]


class Groups(Shape):
    """The error rates of all groups of an attribute."""

    attribute: str
    thresholds: dict[str, float]
    groups: Annotated[dict[str, Group], Field(max_length=1000)]

    @model_validator(mode="after")
    def _at_each(self) -> "Groups":
        known = set(self.thresholds)
        if any(not known <= set(rates) for group in self.groups.values() for rates in (group.fmr, group.fnmr)):
            raise ValueError("every group needs its rates at every threshold")
        return self
