"""Verdict on a plan before any training: one of a few named outcomes, with the statistics that led to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rsft.envelope import Envelope

MIN_TARGET = 50
MIN_EFFECTIVE_SIZE = 30
MIN_ACCEPTED = 1  # per epoch, on average
MAX_UNSUPPORTED_FRACTION = 0.25
# Pool and target differ if the area under the ROC curve is this number of standard errors above one half.
DIFFERENCE_ERRORS = 3.0
# Pool and target share items if the AUC within folds is this number of standard errors below one half. By chance it is
# 5.7 below once in 2,100 pairs of equal laws, since the items held out differ the other way than the rest; of pairs
# that are near-copies of each other it is 6 to 33 below, with 8 to 256 features and 100 to 1,000 items.
LEAKAGE_ERRORS = 6.0
# The mean ratio may differ from 1 by this number of standard errors, or by this tolerance if it is larger.
MEAN_RATIO_ERRORS, MEAN_RATIO_TOLERANCE = 4.0, 0.1
# The pool matches the target if the effective size without a retained share exceeds this fraction of the pool.
MATCHING_FRACTION = 0.85
# Acceptance is nearly uniform if the effective size exceeds this fraction of the pool.
UNIFORM_FRACTION = 0.95
# The AUC between accepted items and target may reach this value, if at most this fraction of the target is clipped.
MAX_ARRIVAL_AUC, MAX_CLIPPED = 0.6, 0.1
SAME = 1e-9  # of the pool, by which the effective size of equal items may be off
MAX_LOST = 0.5  # clipped mass above which the accepted items are mostly not those of the target


class Outcome(StrEnum):
    """The advice of a plan."""

    WORTH_TRYING = "worth trying"
    POOL_MATCHES = "the pool already matches the target"
    MODEL_COPES = "the model copes with the target already"
    TOO_LITTLE_SUPPORT = "too little of the pool looks like the target"
    NOT_ESTIMABLE = "the ratio cannot be estimated"
    TARGET_TOO_SMALL = "too few target items to tell"
    LEAKAGE = "pool and target share items"
    PILOT_TOO_SMALL = "too small a part of the pool was looked at to tell"


@dataclass(frozen=True)
class Verdict:
    """A named outcome, and the statistics that led to it as text."""

    outcome: Outcome
    reason: str

    def __str__(self) -> str:
        return f"{self.outcome}: {self.reason}"


def judge_plan(figures: Mapping[str, float], envelope: Envelope, unsupported: Sequence[str]) -> Verdict:
    """Judge a plan that was made from a target sample.

    Args:
        figures: Name -> value of the diagnostics of the plan.
        envelope: The chosen envelope and its cost.
        unsupported: Words for the part of the target outside the pool's support, such as "dark".

    Returns:
        The first outcome whose condition holds, or "worth trying".
    """
    return (
        _judge_target(figures)
        or _judge_leakage(figures)
        or _judge_difference(figures)
        or _judge_pilot(figures)
        or _judge_support(figures, envelope, unsupported)
        or _judge_ratio(figures, envelope)
        or _judge_envelope(figures, envelope)
        or _judge_accepted(figures, envelope)
        or Verdict(
            Outcome.WORTH_TRYING,
            f"target and pool differ (AUC {figures['auc']:.3f}); {_accepted_in_words(figures, envelope)}",
        )
    )


def judge_given(figures: Mapping[str, float], envelope: Envelope) -> Verdict:
    """Judge a plan whose ratio was given, without a target sample to compare with."""
    if envelope.effective_size < MIN_EFFECTIVE_SIZE:
        return _too_small(envelope)
    if envelope.clipped_mass == 0 and envelope.effective_size >= (1 - SAME) * figures["pool_items"]:
        return Verdict(
            Outcome.POOL_MATCHES, "the ratio is the same for all items, so a uniform draw is like the target"
        )
    return _judge_envelope(figures, envelope) or Verdict(Outcome.WORTH_TRYING, _accepted_in_words(figures, envelope))


def notes_on(figures: Mapping[str, float], second: Sequence[str] = ()) -> list[str]:
    """Say as sentences which target items repeat one another or are in the pool, and whether there are two populations.

    Args:
        figures: Name -> value of the diagnostics of the plan.
        second: Words for the smaller of two populations in the target, such as "dark".
    """
    items, different, shared = (figures[name] for name in ("target_items", "target_groups", "shared_items"))
    notes = []
    if different < items:
        notes.append(f"{_different(figures)}: items that repeat one another count as one")
    if shared:
        notes.append(f"{shared:.0f} of the {items:.0f} target items are in the pool too")
    if "second_population" in figures:
        share, named = figures["second_population"], f" ({', '.join(second)})" if second else ""
        notes.append(
            f"the target has two populations, of about {1 - share:.0%} and {share:.0%}{named} of its items, with few "
            "between them: a gain in one may hide a loss in the other, so plan and evaluate each by itself too"
        )
    return notes


def _different(figures: Mapping[str, float]) -> str:
    """State how many target items there are, and how many of them are different if some repeat."""
    items = figures["target_items"]
    different = figures.get("target_groups", items)
    if different == items:
        return f"{items:.0f} target items"
    effective = figures["target_effective_groups"]
    worth = f", worth {effective:.0f} of equal weight" if round(effective) < different else ""
    return f"{different:.0f} different items among {items:.0f}{worth}"


def _judge_target(figures: Mapping[str, float]) -> Verdict | None:
    """Return a verdict if the target sample is too small."""
    if figures.get("target_effective_groups", figures["target_items"]) >= MIN_TARGET:
        return None
    what = "" if figures.get("target_groups", figures["target_items"]) == figures["target_items"] else " different ones"
    return Verdict(Outcome.TARGET_TOO_SMALL, f"{_different(figures)}; provide at least {MIN_TARGET}{what}")


def _judge_leakage(figures: Mapping[str, float]) -> Verdict | None:
    """Return a verdict if held-out items are told apart backwards, as happens if pool and target share items."""
    auc, error = figures.get("fold_auc", 0.5), figures["auc_error"]
    if auc >= 0.5 - LEAKAGE_ERRORS * error:
        return None
    shared = figures.get("shared_items", 0.0)
    found = (
        f"{shared:.0f} of the {figures['target_items']:.0f} target items equal a pool item, others probably nearly"
        if shared
        else "no rows are equal, so near-duplicates are probable"
    )
    return Verdict(
        Outcome.LEAKAGE,
        f"held-out items are told apart backwards (AUC {auc:.3f} +- {error:.3f}; 0.5 is chance), as happens if target "
        f"and pool show the same; {found}; take these out of the pool, or of the target",
    )


def _judge_difference(figures: Mapping[str, float]) -> Verdict | None:
    """Return a verdict if the target sample shows no difference from the pool."""
    auc, error = figures["auc"], figures["auc_error"]
    if auc < 0.5 + DIFFERENCE_ERRORS * error:
        if figures.get("mmd_low", 0.0) > 0:
            return Verdict(
                Outcome.NOT_ESTIMABLE,
                f"target and pool differ (MMD^2 at least {figures['mmd_low']:.4f}), but this estimator does not detect "
                f"the difference (AUC {auc:.3f}): use method 'auto'",
            )
        return Verdict(
            Outcome.POOL_MATCHES,
            f"a classifier separates target and pool with an AUC of {auc:.3f} +- {error:.3f}; 0.5 is chance",
        )
    return None


def _judge_pilot(figures: Mapping[str, float]) -> Verdict | None:
    """Return a verdict if a part of the pool was looked at, and too few items like the target are in it."""
    looked_at, pool = figures.get("pilot_looked_at"), figures["pool_items"]
    alike = figures["target_effective_size"]
    if looked_at is None or looked_at == pool or alike >= MIN_EFFECTIVE_SIZE:
        return None
    needed = figures.get("pilot_needed")
    would = (
        f"{needed:.0f} would tell"
        if needed is not None
        else f"look at many more of the {pool:.0f}, or add pool items like the target"
    )
    return Verdict(
        Outcome.PILOT_TOO_SMALL,
        f"{looked_at:.0f} of {pool:.0f} items were looked at, and those like the target have an effective size of "
        f"{alike:.1f}, where {MIN_EFFECTIVE_SIZE} are needed: {would}",
    )


def _judge_support(figures: Mapping[str, float], envelope: Envelope, unsupported: Sequence[str]) -> Verdict | None:
    """Return a verdict if the pool lacks too much of the target."""
    # The lower end of the interval is compared, so that a few stray items do not decide.
    if figures["unsupported_low"] > MAX_UNSUPPORTED_FRACTION:
        where = f": {', '.join(unsupported)}" if unsupported else ""
        return Verdict(
            Outcome.TOO_LITTLE_SUPPORT,
            f"{figures['unsupported_fraction']:.0%} of the target lies where the pool has no items{where}; add pool "
            "items like these, or use other features",
        )
    if envelope.effective_size < MIN_EFFECTIVE_SIZE:
        return _too_small(envelope)
    # If the pool lacks a part of the target, the mean of the ratio over the pool is the share that it has.
    mean, error = figures["mean_ratio"], figures["mean_ratio_error"]
    if 1 - mean - MEAN_RATIO_ERRORS * error > MAX_UNSUPPORTED_FRACTION:
        return Verdict(
            Outcome.TOO_LITTLE_SUPPORT,
            f"the mean ratio over the pool is {mean:.3f} +- {error:.3f}, so only that share of the target lies where "
            "the pool has items; add pool items like the target, or use other features",
        )
    return None


def _judge_ratio(figures: Mapping[str, float], envelope: Envelope) -> Verdict | None:
    """Return a verdict if the estimated ratio is inconsistent, or the accepted items differ from the target."""
    mean, error = figures["mean_ratio"], figures["mean_ratio_error"]
    off = abs(mean - 1)
    if off > MEAN_RATIO_TOLERANCE and off > MEAN_RATIO_ERRORS * error:
        return Verdict(
            Outcome.NOT_ESTIMABLE,
            f"the mean ratio over the pool is {mean:.3f} +- {error:.3f} and should be 1; use method 'auto', or fewer "
            "features",
        )
    if envelope.clipped_mass <= MAX_CLIPPED and figures.get("arrival_auc_low", 0.5) > MAX_ARRIVAL_AUC:
        return Verdict(
            Outcome.NOT_ESTIMABLE,
            "a classifier still separates the accepted items from the target with an AUC of "
            f"{figures['arrival_auc']:.3f}; use method 'auto' or other features, and accept by item",
        )
    return None


def _judge_envelope(figures: Mapping[str, float], envelope: Envelope) -> Verdict | None:
    """Return a verdict if the envelope leaves next to nothing of the target, or of the items."""
    size, clipped = figures.get("pilot_items", figures["pool_items"]), envelope.clipped_mass
    uniform = clipped > MAX_CLIPPED and envelope.effective_size > UNIFORM_FRACTION * size
    if uniform or clipped > MAX_LOST:
        what = "nearly a uniform draw" if uniform else "mostly unlike the target"
        return Verdict(
            Outcome.TOO_LITTLE_SUPPORT,
            f"the accepted items are {what}, since {clipped:.0%} of the target is clipped; clip less, with an envelope "
            "such as 'max_tv=0.1', or add pool items like the target",
        )
    if figures["expected_accepted"] < MIN_ACCEPTED:
        return Verdict(
            Outcome.TOO_LITTLE_SUPPORT,
            f"only {figures['expected_accepted']:.2g} of {figures['pool_items']:.0f} items are accepted per epoch, "
            "less than one; accept more, with another envelope, or add pool items like the target",
        )
    return None


def _judge_accepted(figures: Mapping[str, float], envelope: Envelope) -> Verdict | None:
    """Return a verdict if what is accepted for the target is worth nearly as much as the whole pool."""
    size, clipped = figures.get("pilot_items", figures["pool_items"]), envelope.clipped_mass > MAX_CLIPPED
    if not clipped and figures["target_effective_size"] > MATCHING_FRACTION * size:
        return Verdict(
            Outcome.POOL_MATCHES,
            f"target and pool differ (AUC {figures['auc']:.3f}), but so little that the items accepted for the target "
            f"have an effective size of {figures['target_effective_size']:.0f} among {size:.0f} items",
        )
    return None


def _accepted_in_words(figures: Mapping[str, float], envelope: Envelope) -> str:
    """State how many items are accepted, their effective size and the clipped mass."""
    pool = figures["pool_items"]
    size = envelope.effective_size * pool / figures.get("pilot_looked_at", pool)
    return (
        f"{figures['expected_accepted']:.0f} of {pool:.0f} items are accepted per epoch, with an effective size of "
        f"{size:.0f}; {envelope.clipped_mass:.1%} of the target is clipped"
    )


def _too_small(envelope: Envelope) -> Verdict:
    """Return the verdict for an effective size that is too small."""
    return Verdict(
        Outcome.TOO_LITTLE_SUPPORT,
        f"the accepted items have an effective size of {envelope.effective_size:.0f}; add pool items like the target, "
        "clip more of the target, or retain more of the pool",
    )
