"""What the report needs of `comparison.json` and `models.json`."""

from typing import Annotated

from pydantic import Field, model_validator

from rsft.report.shapes.base import Count, Shape


class Measured(Shape):
    """The value of a method on a metric, or a difference, with its interval if there is one."""

    value: float
    low: float | None
    high: float | None
    note: str | None = None

    @model_validator(mode="after")
    def _both_ends(self) -> "Measured":
        if (self.low is None) != (self.high is None):
            raise ValueError("low and high are numbers together, or null together")
        return self


class Cost(Shape):
    """What one training of a method cost."""

    learning_rate: float
    seeds: Count
    samples: Count
    distinct: float
    seconds: float


Metric = Annotated[list[str], Field(min_length=1, max_length=100)]
ByMetric = Annotated[dict[str, dict[str, Measured]], Field(min_length=1, max_length=1000)]


class Comparison(Shape):
    """`comparison.json` or `models.json`."""

    metrics: Metric
    values: ByMetric
    differences: dict[str, dict[str, dict[str, Measured]]] = Field(default_factory=dict)
    cost: dict[str, Cost] = Field(default_factory=dict)
    verdict: str = ""
    best_untouched: str = ""

    @model_validator(mode="after")
    def _full(self) -> "Comparison":
        by_metric = [self.values, *self.differences.values()]
        if any(metric not in values for table in by_metric for values in table.values() for metric in self.metrics):
            raise ValueError("every method needs a value on every metric")
        known = set(self.values)
        if any(name not in known or not set(others) <= known for name, others in self.differences.items()):
            raise ValueError("differences are between methods that have values")
        return self
