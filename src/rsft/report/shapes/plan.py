"""What the report needs of `plan.json`."""

from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field, model_validator

from rsft.report.shapes.base import Count, Estimate, Interval, LogM, Shape

IDENTITIES = ["identities", "identities_accepted", "identities_uniform"]  # diagnostics that are all there, or none
LARGEST = 10**19


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
    pool: list[Count]
    accepted: list[float]
    without_mass: Count

    @model_validator(mode="after")
    def _between_edges(self) -> "Ratios":
        if len(self.pool) != len(self.edges) - 1 or len(self.accepted) != len(self.pool):
            raise ValueError("pool and accepted need a value between each two edges")
        if any(high <= low for low, high in pairwise(self.edges)):
            raise ValueError("the edges need to ascend")
        return self


class Pilot(Shape):
    """What a plan that saw a part of the pool expects of all of it."""

    items: Count
    looked_at: Annotated[Count, Field(gt=0)]
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


class Pictures(Shape):
    """How many pictures networks were compared on."""

    alike: Count
    usual: Count


class Networks(Shape):
    """The networks at hand, side by side."""

    fmr: float
    compared: Annotated[list[Network], Field(max_length=100)]
    pictures: Pictures
    people: Count | None
    left_out: dict[str, str]
    reason: str | None
    caveat: str | None


def _is_shown(value: Any) -> bool:
    """Return whether a value is a number that can be shown, NaN included."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) <= LARGEST)


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
    notes: list[str] = Field(default_factory=list)
    pilot: Pilot = None  # type: ignore[assignment]  # absent, but never null
    retain_fraction: float = 0.0
    advice: Advice | None = None
    models: Networks | None = None
    passed_over: dict[str, dict[str, Count]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _diagnosed(self) -> "Plan":
        shown = ["unsupported_fraction"] * bool(self.arrival) + ["pool_items", "expected_accepted"]
        shown += IDENTITIES if IDENTITIES[0] in self.diagnostics else []
        missing = [name for name in shown if not _is_shown(self.diagnostics.get(name))]
        if missing:
            raise ValueError(f"diagnostics needs a number as {missing[0]}")
        return self
