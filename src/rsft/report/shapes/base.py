"""What all declared files have in common: numbers, and intervals of them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=-(10**19), le=10**19)]  # also a seed
LogM = Annotated[float, Field(ge=-700, le=700)]  # its exponential is a float


class Shape(BaseModel):
    """A JSON object with at least these entries."""

    model_config = ConfigDict(strict=True)


class Interval(Shape):
    """An `rsft.types.Interval`: three numbers, or none with the reason."""

    model_config = ConfigDict(strict=True, extra="forbid")

    value: float | None
    low: float | None
    high: float | None
    note: str | None = None

    @model_validator(mode="after")
    def _all_or_none(self) -> "Interval":
        if len({number is None for number in (self.value, self.low, self.high)}) > 1:
            raise ValueError("value, low and high are numbers together, or null together")
        return self


class Estimate(Interval):
    """An interval that has a value."""

    value: float
    low: float
    high: float
