"""What the report needs of the files of a run folder, which may come from anybody: declared once, checked when read.

Entries that are not named here are let through. Numbers that are only shown may be anything that a run can write, also
NaN.
"""

from itertools import pairwise
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
    people: int
    thresholds: dict[str, float]


class Verdict(Shape):
    """The verdict on a run."""

    action: str
    outcome: str
    reason: str
    risk: str
    shipped: str
    then: str
    text: str


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


class Group(Shape):
    """The error rates of one group."""

    people: int
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
    curves: dict[str, dict[str, Band | None]]
    errors: dict[str, Errors]
    groups: dict[str, Groups | None] | None = None
    validation: Validation
    acceptance_rate: float
    pool_pictures: int
    images_decoded: int
    images_embedded: int
    images_trained: int
    seconds: dict[str, float]
    quarantined: list[tuple[str, str]]
    passed_over: dict[str, dict[str, int]] = {}
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
        named = named and "target" in self.errors
        if not known or not named or self.headline_fmr not in fmrs or any(row != fmrs for row in rows):
            raise ValueError("the systems need figures on the same sets and at the same FMRs")
        return self


class EvaluatedSet(Shape):
    """The networks on one evaluation set."""

    systems: dict[str, Rates]
    curves: dict[str, Band | None]
    left_out: dict[str, int]
    differences: dict[str, dict[str, dict[str, Interval]]] = {}
    groups: dict[str, Groups | None] | None = None


class Evaluation(Shape):
    """`evaluation.json`."""

    version: str
    seed: int
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


class Price(Shape):
    """What an envelope costs."""

    rule: str
    log_m: LogM
    acceptance_rate: float
    clipped_mass: float
    effective_size: float


class Prices(Shape):
    """What an envelope costs over M."""

    log_m: Annotated[list[LogM], Field(min_length=1, max_length=10_000)]
    acceptance_rate: list[float]
    clipped_mass: list[float]

    @model_validator(mode="after")
    def _equally_long(self) -> "Prices":
        if len({len(values) for values in (self.log_m, self.acceptance_rate, self.clipped_mass)}) > 1:
            raise ValueError("log_m, acceptance_rate and clipped_mass need as many values")
        return self


class Ratios(Shape):
    """A histogram of the log ratios of a pool."""

    edges: Annotated[list[LogM], Field(min_length=2, max_length=10_000)]
    pool: list[int]
    accepted: list[float]
    without_mass: int

    @model_validator(mode="after")
    def _between_edges(self) -> "Ratios":
        if len(self.pool) != len(self.edges) - 1 or len(self.accepted) != len(self.pool):
            raise ValueError("pool and accepted need a value between each two edges")
        if any(high <= low for low, high in pairwise(self.edges)):
            raise ValueError("the edges need to ascend")
        return self


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


class Advice(Shape):
    """What a plan advises."""

    action: str
    reason: str
    next: str


class Network(Shape):
    """How well one network verifies pictures of the pool."""

    name: str
    licence: str
    milliseconds: float
    alike: Interval
    usual: Interval
    alike_gain: Interval | None
    usual_gain: Interval | None


class Networks(Shape):
    """The networks at hand, side by side."""

    fmr: float
    compared: Annotated[list[Network], Field(max_length=100)]
    pictures: dict[str, int]
    people: int | None
    left_out: dict[str, str]
    reason: str | None
    caveat: str | None


class Plan(Shape):
    """`plan.json`."""

    verdict: Outcome
    envelope: Price
    m: float
    prices: list[Price]
    price_curve: Prices
    ratios: Ratios
    diagnostics: dict[str, Any]
    arrival: Arrival | None
    notes: list[str] = []
    pilot: Pilot = None  # type: ignore[assignment]  # absent, but never null
    retain_fraction: float = 0.0
    advice: Advice | None = None
    models: Networks | None = None
    passed_over: dict[str, dict[str, int]] = {}

    @model_validator(mode="after")
    def _diagnosed(self) -> "Plan":
        shown = ["unsupported_fraction"] * bool(self.arrival) + ["pool_items", "expected_accepted"]
        missing = [name for name in shown if not isinstance(self.diagnostics.get(name), float | int)]
        if missing:
            raise ValueError(f"diagnostics needs a number as {missing[0]}")
        return self


class Step(Shape):
    """A line of `history.jsonl`."""

    step: int = None  # type: ignore[assignment]  # absent in records of other kinds
    loss: float = None  # type: ignore[assignment]  # likewise


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
    seeds: int
    samples: int
    distinct: float
    seconds: float


Metric = Annotated[list[str], Field(min_length=1, max_length=100)]
ByMetric = Annotated[dict[str, dict[str, Measured]], Field(min_length=1, max_length=1000)]


class Comparison(Shape):
    """`comparison.json` or `models.json`."""

    metrics: Metric
    values: ByMetric
    differences: dict[str, dict[str, dict[str, Measured]]] = {}
    cost: dict[str, Cost] = {}
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
