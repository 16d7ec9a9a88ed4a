"""Whether the items that a run meets are as its plan promised."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from rsft.envelope import choose_envelope
from rsft.sampling.acceptance import acceptance_probability
from rsft.types import Interval, normal_interval
from rsft.verdict import MEAN_RATIO_ERRORS, MEAN_RATIO_TOLERANCE, Outcome, Verdict

MIN_MET = 200
MORE_CLIPPED = 0.02  # excess of clipped mass over the promised interval that breaks a promise


@dataclass(frozen=True)
class Promise:
    """Figures of the items that a run has met, outside the part of the pool that its plan was made from.

    Attributes:
        items: Number of these items.
        mean_ratio: Mean of the ratio of target to pool over them, with the target as planned. It should be 1.
        acceptance_rate: Mean acceptance probability, in [0, 1].
        clipped_mass: Total variation between target and accepted items, over these items.
        above: Number of items whose ratio exceeds M.
        broken: What differs from the plan, as a sentence; None if nothing does, or fewer than `MIN_MET` items were met.
    """

    items: int
    mean_ratio: Interval
    acceptance_rate: Interval
    clipped_mass: float
    above: int
    broken: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary."""
        intervals = {name: getattr(self, name).to_dict() for name in ("mean_ratio", "acceptance_rate")}
        return vars(self) | intervals

    def judged(self, verdict: Verdict) -> Verdict:
        """Return a verdict in view of the promise: a plan that is not kept cannot be estimated."""
        return verdict if self.broken is None else Verdict(Outcome.NOT_ESTIMABLE, self.broken)


def check_promise(
    log_ratio: Tensor, log_m: float, *, mean_error: float, clipped_mass: float, retain_fraction: float = 0.0
) -> Promise:
    """Compare the items met with the plan.

    Args:
        log_ratio: (n,) log ratios of the usable items met, at least one, with the retained share of the pool.
        log_m: Log of the plan's M.
        mean_error: Standard error of the mean ratio, relative to it, of the items that the plan was made from.
        clipped_mass: Largest clipped mass that the plan allows for: the upper end of its interval.
        retain_fraction: Share of the pool in the target. What it adds to the ratio cannot be wrong, so it is left out
            of the comparison.
    """
    ratio = log_ratio.exp()
    count = len(ratio)
    spread = _error(ratio)
    clipped = choose_envelope(log_ratio, log_m=log_m).clipped_mass if bool((ratio > 0).any()) else 0.0
    share = 1 - retain_fraction
    error = math.hypot(spread, mean_error * share)
    off = abs(float(ratio.mean()) - 1)
    broken = None
    if count >= MIN_MET and off > max(MEAN_RATIO_TOLERANCE * share, MEAN_RATIO_ERRORS * error):
        broken = (
            f"the mean ratio of the {count} items met is {float(ratio.mean()):.3f} and should be 1: the part of the "
            "pool that the plan was made from is unlike the rest"
        )
    elif count >= MIN_MET and clipped > clipped_mass + MORE_CLIPPED:
        broken = (
            f"{clipped:.1%} of the target is clipped over the {count} items met, and the plan promised at most "
            f"{clipped_mass:.1%}: some items are more like the target than the plan could see; plan on a larger part"
        )
    return Promise(
        count,
        _mean(ratio),
        _mean(acceptance_probability(log_ratio, log_m)),
        clipped,
        int((log_ratio > log_m).sum()),
        broken,
    )


def _error(values: Tensor) -> float:
    """Return the standard error of the mean of (n,) values; infinite for a single one."""
    return float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.inf


def _mean(values: Tensor) -> Interval:
    """Return the mean of (n,) values with its interval; no value for a single one, which tells no error."""
    if len(values) == 1:
        return Interval(None, None, None, "a single item")
    return normal_interval(float(values.mean()), _error(values))
