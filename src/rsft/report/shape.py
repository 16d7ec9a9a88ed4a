"""What the report needs of the files of a run folder, which may come from anybody: declared once, checked when read.

Entries that are not named here are let through. Numbers that are only shown may be anything that a run can write, also
NaN.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
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


class Rates(Shape):
    """How one system verifies one set of pictures."""

    tar_at_fmr: dict[str, Interval]
    eer: float
    pairs_genuine: int
    pairs_impostor: int


class Verdict(Shape):
    """The verdict on a run."""

    outcome: str
    text: str


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

    items: int
    mean_ratio: Interval
    acceptance_rate: Interval
    clipped_mass: float
    above: int
    broken: str | None


class Metrics(Shape):
    """`metrics.json`."""

    version: str
    title: str
    seed: int
    folds: int
    headline_fmr: str
    verdict: Verdict
    pretrained: dict[str, Rates]
    uniform: dict[str, Rates] | None = None
    tuned: dict[str, Rates]
    differences: dict[str, dict[str, dict[str, Interval]]]
    validation: Validation
    acceptance_rate: float
    pool_pictures: int
    images_decoded: int
    images_embedded: int
    images_trained: int
    seconds: dict[str, float]
    quarantined: list[tuple[str, str]]
    promise: Promise | None

    @model_validator(mode="after")
    def _one_table(self) -> "Metrics":
        """Check that all systems have figures on the same sets at the same FMRs, and that the target is one of them."""
        systems = [self.pretrained, self.tuned, *([self.uniform] if self.uniform is not None else [])]
        sets, fmrs = set(self.tuned), {*self.tuned["target"].tar_at_fmr} if "target" in self.tuned else set()
        known = all(set(system) == sets for system in systems) and sets <= {"target", "retain"}
        rows = [set(rates.tar_at_fmr) for system in systems for rates in system.values()]
        rows += [set(values) for by_set in self.differences.values() for values in by_set.values()]
        named = all(set(by_set) <= sets for by_set in self.differences.values())
        if not known or not named or self.headline_fmr not in fmrs or any(row != fmrs for row in rows):
            raise ValueError("the systems need figures on the same sets and at the same FMRs")
        return self


class Price(Shape):
    """What an envelope costs."""

    rule: str
    log_m: LogM
    acceptance_rate: float
    clipped_mass: float
    effective_size: float


class Pilot(Shape):
    """What a plan that saw a part of the pool expects of all of it."""

    items: int
    looked_at: Annotated[int, Field(gt=0)]
    acceptance_rate: Interval
    clipped_mass: Interval
    m: Interval
    effective_size: Estimate


class TwoSample(Shape):
    """How well two samples are told apart."""

    auc: Interval


class Covariate(Shape):
    """How a covariate differs between pool, accepted items and target."""

    name: str
    pool: float
    accepted: float
    target: float
    before: Interval
    after: Interval


class Arrival(Shape):
    """Whether what is accepted is like the target."""

    before: TwoSample | None
    after: TwoSample | None
    covariates: list[Covariate]
    unsupported: list[str]


class Outcome(Shape):
    """The verdict on a plan."""

    outcome: str
    reason: str


class Plan(Shape):
    """`plan.json`."""

    verdict: Outcome
    envelope: Price
    m: float
    prices: list[Price]
    diagnostics: dict[str, Any]
    arrival: Arrival | None
    notes: list[str] = []
    pilot: Pilot = None  # type: ignore[assignment]  # absent, but never null
    retain_fraction: float

    @model_validator(mode="after")
    def _diagnosed(self) -> "Plan":
        shown = ["unsupported_fraction"] * bool(self.arrival) + ["pool_items"] * (self.pilot is not None)
        missing = [name for name in shown if not isinstance(self.diagnostics.get(name), float | int)]
        if missing:
            raise ValueError(f"diagnostics needs a number as {missing[0]}")
        return self


class Step(Shape):
    """A line of `history.jsonl`."""

    loss: float = None  # type: ignore[assignment]  # absent in records of other kinds


class Measured(Shape):
    """The value of a method on a metric, with its interval if there is one."""

    value: float
    low: float | None
    high: float | None

    @model_validator(mode="after")
    def _both_ends(self) -> "Measured":
        if (self.low is None) != (self.high is None):
            raise ValueError("low and high are numbers together, or null together")
        return self


class Comparison(Shape):
    """`comparison.json` or `models.json`."""

    metrics: Annotated[list[str], Field(min_length=1, max_length=100)]
    values: Annotated[dict[str, dict[str, Measured]], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _full(self) -> "Comparison":
        if any(metric not in values for values in self.values.values() for metric in self.metrics):
            raise ValueError("every method needs a value on every metric")
        return self
