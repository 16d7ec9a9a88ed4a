"""What the report needs of a run: `metrics.json` and `history.jsonl`."""

from typing import Annotated

from pydantic import Field, model_validator

from rsft.report.shapes.base import Count, Interval, Shape, Share
from rsft.report.shapes.rates import Band, Groups, Rates


class Verdict(Shape):
    """The verdict on a run."""

    action: str
    outcome: str
    reason: str
    risk: str
    shipped: str
    then: str
    text: str


class WrongPair(Shape):
    """A pair that is decided wrongly."""

    pictures: Annotated[list[str], Field(min_length=2, max_length=2)]
    score: float
    threshold: float


class Errors(Shape):
    """The widest errors of the tuned network on a set."""

    fmr: str
    genuine: Annotated[list[WrongPair], Field(max_length=100)]
    impostor: Annotated[list[WrongPair], Field(max_length=100)]


class ErrorsOfSets(Shape):
    """`errors.json`."""

    target: Errors
    retain: Errors = None  # type: ignore[assignment]  # absent, but never null


class Point(Shape):
    """The validation scores at one share of the tuned weights."""

    share: Share
    target: float
    others: float


class Gate(Shape):
    """Which share was kept, and why."""

    share: Share
    candidate: Share
    gain: Interval
    loss: Interval
    reason: str
    retention: list[tuple[float, float]]


class Validation(Shape):
    """How the share to keep was chosen."""

    share: Share
    path: list[Point]
    gates: list[Gate]
    text: str


class Promise(Shape):
    """How what a run met compares with its plan."""

    items: Count
    mean_ratio: Interval
    acceptance_rate: Interval
    clipped_mass: float
    above: Count
    broken: str | None


class Metrics(Shape):
    """`metrics.json`."""

    version: str
    title: str
    seed: Count
    folds: Count
    headline_fmr: str
    verdict: Verdict
    pretrained: dict[str, Rates]
    uniform: dict[str, Rates] | None = None
    tuned: dict[str, Rates]
    differences: dict[str, dict[str, dict[str, Interval]]]
    curves: dict[str, dict[str, Band | None]]
    groups: dict[str, Groups | None] | None = None
    validation: Validation
    acceptance_rate: float
    pool_pictures: Count
    images_decoded: Count
    images_embedded: Count
    images_trained: Count
    seconds: dict[str, float]
    quarantined: list[tuple[str, str]]
    passed_over: dict[str, dict[str, Count]] = Field(default_factory=dict)
    promise: Promise | None

    @model_validator(mode="after")
    def _one_table(self) -> "Metrics":
        """Check that all systems have figures on the same sets at the same FMRs, and that the target is one of them."""
        systems = [self.pretrained, self.tuned, *([self.uniform] if self.uniform is not None else [])]
        sets, fmrs = set(self.tuned), {*self.tuned["target"].tar_at_fmr} if "target" in self.tuned else set()
        known = all(set(system) == sets for system in systems) and sets <= {"target", "retain"}
        rows = [set(rates.tar_at_fmr) for system in systems for rates in system.values()]
        rows += [set(values) for by_set in self.differences.values() for values in by_set.values()]
        rows += [set(rates.thresholds) for system in systems for rates in system.values()]
        named = all(set(by_set) <= sets for by_set in self.differences.values()) and set(self.curves) <= sets
        if not known or not named or self.headline_fmr not in fmrs or any(row != fmrs for row in rows):
            raise ValueError("the systems need figures on the same sets and at the same FMRs")
        return self


class Step(Shape):
    """A line of `history.jsonl`."""

    step: Count = None  # type: ignore[assignment]  # absent in records of other kinds
    loss: float = None  # type: ignore[assignment]  # likewise
