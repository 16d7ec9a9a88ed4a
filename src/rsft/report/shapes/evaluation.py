"""What the report needs of `evaluation.json`."""

from typing import Annotated

from pydantic import Field, model_validator

from rsft.report.shapes.base import Count, Interval, Shape
from rsft.report.shapes.rates import Band, Groups, Rates


class EvaluatedSet(Shape):
    """The networks on one evaluation set."""

    systems: dict[str, Rates]
    curves: dict[str, Band | None]
    left_out: dict[str, Count]
    differences: dict[str, dict[str, dict[str, Interval]]] = Field(default_factory=dict)
    groups: dict[str, Groups | None] | None = None


class Evaluation(Shape):
    """`evaluation.json`."""

    version: str
    seed: Count
    models: Annotated[list[str], Field(min_length=1, max_length=100)]
    sets: dict[str, EvaluatedSet]

    @model_validator(mode="after")
    def _one_table(self) -> "Evaluation":
        """Check that every network has figures on every set at the same FMRs, and that the target is one of them."""
        rates = [of.systems.get(name) for of in self.sets.values() for name in self.models]
        if "target" not in self.sets or not set(self.sets) <= {"target", "retain"} or None in rates:
            raise ValueError("every network needs figures on the target and on every other set")
        rows = [set(row) for one in rates if one is not None for row in (one.tar_at_fmr, one.thresholds)]
        for of in self.sets.values():
            rows += [set(values) for others in of.differences.values() for values in others.values()]
        if not rows[0] or any(row != rows[0] for row in rows):
            raise ValueError("the networks need figures at the same FMRs")
        return self
