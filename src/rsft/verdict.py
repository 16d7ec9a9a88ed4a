"""What a plan advises before any training: one of a few named outcomes, with the figures that led to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rsft.envelope import Envelope

MIN_TARGET = 50
MIN_EFFECTIVE_SIZE = 30
MAX_UNSUPPORTED_FRACTION = 0.25
# So many standard errors of the area under the ROC curve above one half: the pool differs from the target.
DIFFERENCE_ERRORS = 3.0
# The mean ratio may be off 1 by so many standard errors, and by so much in any case.
MEAN_RATIO_ERRORS, MEAN_RATIO_TOLERANCE = 4.0, 0.1
# A target for which what is accepted, nothing retained, is worth so much of the pool is nearly the pool.
MATCHING_FRACTION = 0.85
# Accepted items that are worth so much of the pool are nearly a uniform draw.
UNIFORM_FRACTION = 0.95
# What is accepted may still be told from the target by this AUC, where no more than that much of it is clipped.
MAX_ARRIVAL_AUC, MAX_CLIPPED = 0.6, 0.1


class Outcome(StrEnum):
    """What a plan advises."""

    WORTH_TRYING = "worth trying"
    POOL_MATCHES = "the pool already matches the target"
    MODEL_COPES = "the model copes with the target already"
    TOO_LITTLE_SUPPORT = "too little of the pool looks like the target"
    NOT_ESTIMABLE = "the ratio cannot be estimated"
    TARGET_TOO_SMALL = "too few target items to tell"


@dataclass(frozen=True)
class Verdict:
    """A named outcome and the figures that led to it, in words."""

    outcome: Outcome
    reason: str

    def __str__(self) -> str:
        return f"{self.outcome}: {self.reason}"


def judge_plan(figures: Mapping[str, float], envelope: Envelope, unsupported: Sequence[str]) -> Verdict:
    """The outcome for a plan's diagnostics, its envelope, and what the unsupported part of the target is like."""
    auc, error = figures["auc"], figures["auc_error"]
    if figures["target_items"] < MIN_TARGET:
        return Verdict(
            Outcome.TARGET_TOO_SMALL, f"{figures['target_items']:.0f} target items; take at least {MIN_TARGET}"
        )
    if auc < 0.5 + DIFFERENCE_ERRORS * error:
        if figures.get("mmd_low", 0.0) > 0:
            return Verdict(
                Outcome.NOT_ESTIMABLE,
                f"target and pool differ (MMD^2 at least {figures['mmd_low']:.4f}), but not in a way this estimator "
                f"sees (AUC {auc:.3f}): take method 'auto'",
            )
        return Verdict(
            Outcome.POOL_MATCHES,
            f"a classifier tells target from pool with an AUC of {auc:.3f} +- {error:.3f}; 0.5 is chance",
        )
    # The interval's lower end: a few stray items are no lack of support.
    if figures["unsupported_low"] > MAX_UNSUPPORTED_FRACTION:
        where = f": {', '.join(unsupported)}" if unsupported else ""
        return Verdict(
            Outcome.TOO_LITTLE_SUPPORT,
            f"{figures['unsupported_fraction']:.0%} of the target lies where the pool has no items{where}; add pool "
            "items like these, or take other features",
        )
    if envelope.effective_size < MIN_EFFECTIVE_SIZE:
        return _too_small(envelope)
    # Over a pool that lacks a part of the target the ratio's mean is the share of the target that it has.
    mean, mean_error = figures["mean_ratio"], figures["mean_ratio_error"]
    if 1 - mean - MEAN_RATIO_ERRORS * mean_error > MAX_UNSUPPORTED_FRACTION:
        return Verdict(
            Outcome.TOO_LITTLE_SUPPORT,
            f"by the ratio's mean over the pool, {mean:.3f} +- {mean_error:.3f}, that much of the target lies where "
            "the pool has items; add pool items like the target, or take other features",
        )
    off = abs(mean - 1)
    if off > MEAN_RATIO_TOLERANCE and off > MEAN_RATIO_ERRORS * mean_error:
        return Verdict(
            Outcome.NOT_ESTIMABLE,
            f"the mean ratio over the pool is {mean:.3f} +- {mean_error:.3f} and should be 1; take method 'auto', or "
            "fewer features",
        )
    if envelope.clipped_mass <= MAX_CLIPPED and figures.get("arrival_auc_low", 0.5) > MAX_ARRIVAL_AUC:
        return Verdict(
            Outcome.NOT_ESTIMABLE,
            f"what is accepted is still told from the target with an AUC of {figures['arrival_auc']:.3f}; take method "
            "'auto' or other features, and accept by item",
        )
    size, clipped = figures["pool_items"], envelope.clipped_mass > MAX_CLIPPED
    if clipped and envelope.effective_size > UNIFORM_FRACTION * size:
        return Verdict(
            Outcome.TOO_LITTLE_SUPPORT,
            f"what is accepted is nearly a uniform draw, since {envelope.clipped_mass:.0%} of the target is clipped; "
            "clip less, by an envelope such as 'max_tv=0.1', or add pool items like the target",
        )
    if not clipped and figures["target_effective_size"] > MATCHING_FRACTION * size:
        return Verdict(
            Outcome.POOL_MATCHES,
            f"target and pool differ (AUC {auc:.3f}), but so little that what is accepted for the target is worth "
            f"{figures['target_effective_size']:.0f} of {size:.0f} items drawn uniformly",
        )
    return Verdict(
        Outcome.WORTH_TRYING,
        f"target and pool differ (AUC {auc:.3f}); {figures['expected_accepted']:.0f} of {figures['pool_items']:.0f} "
        f"items are accepted an epoch, worth {envelope.effective_size:.0f} items; "
        f"{envelope.clipped_mass:.1%} of the target is clipped",
    )


def judge_given(figures: Mapping[str, float], envelope: Envelope) -> Verdict:
    """The outcome where the ratio was given, and no target sample is at hand to compare with."""
    if envelope.effective_size < MIN_EFFECTIVE_SIZE:
        return _too_small(envelope)
    if envelope.acceptance_rate == 1 and envelope.clipped_mass == 0:
        return Verdict(Outcome.POOL_MATCHES, "the ratio is the same for all items, so all are accepted")
    return Verdict(
        Outcome.WORTH_TRYING,
        f"{figures['expected_accepted']:.0f} of {figures['pool_items']:.0f} items are accepted an epoch, worth "
        f"{envelope.effective_size:.0f} items; {envelope.clipped_mass:.1%} of the target is clipped",
    )


def _too_small(envelope: Envelope) -> Verdict:
    return Verdict(
        Outcome.TOO_LITTLE_SUPPORT,
        f"the accepted are worth {envelope.effective_size:.0f} items; add pool items like the target, clip more of it, "
        "or retain more of the pool",
    )
