"""Ship, or not? One verdict on a run, from all of its figures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rsft.evaluation.difference import Difference, in_words, judge
from rsft.face.evaluation.protocol import RETAIN, TARGET
from rsft.face.evaluation.rule_of_30 import MIN_ERRORS
from rsft.face.evaluation.verification import VerificationReport
from rsft.types import PRETRAINED, TUNED, Interval

HEADLINE_FMRS = (0.001, 0.01)
SET_WORDS = {TARGET: "target", RETAIN: "retention set"}
MANY = 100  # times as many people are out of reach: the difference is too small to matter


class Action(StrEnum):
    """What to do with the tuned network."""

    SHIP = "ship"
    DO_NOT_SHIP = "do not ship"
    MEASURE = "evaluate more people"
    KEEP = "keep the pretrained network"


@dataclass(frozen=True)
class Decision:
    """The verdict on a run.

    Attributes:
        action: What to do.
        outcome: How the tuned network compares with the pretrained one on the target: "better", "worse", "none",
            "unknown", or "kept" if the gate kept the pretrained weights.
        reason: The figures that led to it, as sentences.
        risk: What cannot be ruled out, as a sentence.
        shipped: What the folder of the model holds, as a sentence.
        then: What to do next, as a sentence.
    """

    action: Action
    outcome: str
    reason: str
    risk: str
    shipped: str
    then: str

    def __str__(self) -> str:
        return " ".join(
            [f"{self.action.capitalize()}.", *filter(None, (self.reason, self.risk, self.shipped, self.then))]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes for JSON, and "text", all of them in a few sentences."""
        return {**vars(self), "action": str(self.action), "text": str(self)}


def decide(
    reports: Mapping[str, VerificationReport],
    *,
    share: float,
    kept_because: str,
    max_loss: float,
    folds: int = 1,
) -> Decision:
    """Decide whether the tuned network should be shipped.

    It should be if it is clearly better on the target and the retention set loses no more than `max_loss`, by its
    measured value. A loss that the interval does not rule out is stated, and so is every clear loss at another FMR.

    Args:
        reports: Verification of the pretrained and the tuned network, and perhaps of others, on "target" and, if given,
            on "retain".
        share: Share of the way from the pretrained to the tuned weights that was kept, in [0, 1].
        kept_because: Reason of the gate, as part of a sentence.
        max_loss: Largest allowed loss of TAR on the retention set.
        folds: Number of folds of people, each with a tuned network of its own.
    """
    if share == 0:
        then = "Thresholds and galleries stay as they are."
        shipped = "The model folder holds the pretrained network."
        return Decision(Action.KEEP, "kept", f"The gate kept it: {kept_because}.", "", shipped, then)
    target, fmr = reports[TARGET], headline_fmr(reports[TARGET])
    gain = target.difference(TUNED, PRETRAINED, fmr)
    words = [in_words(target.difference(TUNED, other, fmr), other) for other in target.systems if other != TUNED]
    reason = f"On the target, TAR at FMR {fmr:g} of the tuned network: {'; '.join(words)}."
    action, then = _on_target(gain, target, fmr)
    risk = "Nothing was measured on a set that must not get worse: give one as --retain."
    if RETAIN in reports:
        told, risk, too_much = _on_retention(reports[RETAIN], max_loss)
        reason += f" {told}"
        if too_much and action is not Action.DO_NOT_SHIP:
            action, then = Action.DO_NOT_SHIP, "Raise the retained share of the pool, or allow a larger loss."
    reason += "".join(_further_losses(reports))
    shipped = f"The model folder holds the network at {share:.0%} of the way from the pretrained to the tuned weights"
    shipped += f", of the first of {folds} folds." if folds > 1 else "."
    if action is Action.SHIP:
        then = _thresholds(target, fmr)
    return Decision(action, str(judge(gain)), reason, risk, shipped, then)


def headline_fmr(report: VerificationReport) -> float:
    """Return the first of `HEADLINE_FMRS` with at least 30 expected false matches, or the last if none has."""
    tars = report.systems[PRETRAINED].tar_at_fmr
    return next((fmr for fmr in HEADLINE_FMRS if tars[fmr].value is not None and not tars[fmr].note), HEADLINE_FMRS[-1])


def people_needed(people: int, value: float, low: float) -> int | None:
    """Return how many people would make a positive difference clear of zero, if it stays as it was measured.

    The width of an interval falls with the root of the number of people.

    Args:
        people: Number of people who were evaluated.
        value: The measured difference.
        low: The lower end of its interval.

    Returns:
        The number, or None if the difference is not positive, or so small that `MANY` times as many would not do.

    >>> people_needed(100, 0.02, -0.02)
    400
    """
    if value <= 0 or (times := ((value - low) / value) ** 2) > MANY:
        return None
    return math.ceil(people * times)


def _on_target(gain: Interval, target: VerificationReport, fmr: float) -> tuple[Action, str]:
    """Decide by the gain on the target alone; say what to do if it is not clear."""
    rates = target.systems[TUNED]
    if gain.value is None or gain.low is None:
        needed = math.ceil(MIN_ERRORS / fmr)
        return Action.MEASURE, (
            f"Evaluate on more people: FMR {fmr:g} needs {needed:,} impostor comparisons, and there are "
            f"{rates.pairs_impostor:,}."
        )
    if judge(gain) is Difference.BETTER:
        return Action.SHIP, ""
    needed_people = people_needed(rates.people, gain.value, gain.low)
    if judge(gain) is Difference.WORSE or gain.value <= 0:
        return Action.DO_NOT_SHIP, "Use the pretrained network."
    if needed_people is None:
        return Action.DO_NOT_SHIP, "The gain is too small to be told from none: use the pretrained network."
    return Action.MEASURE, (
        f"Evaluate about {needed_people:,} people in place of {rates.people:,}: if the gain stays as measured, it is "
        "then clear of zero."
    )


def _on_retention(report: VerificationReport, max_loss: float) -> tuple[str, str, bool]:
    """Return what the retention set says, the loss that cannot be ruled out, and whether it loses too much."""
    fmr = headline_fmr(report)
    changes = {fmr: report.difference(TUNED, PRETRAINED, fmr) for fmr in report.draws[TUNED]}
    told = f"On the retention set, at FMR {fmr:g}: {in_words(changes[fmr], PRETRAINED)}."
    if changes[fmr].value is None:
        return told, "The retention set is too small to rule out any loss.", False
    too_much = -(changes[fmr].value or 0.0) > max_loss
    if too_much:
        told += f" That is more than the {max_loss:g} that the recipe allows."
    at = min((fmr for fmr in changes if changes[fmr].value is not None), key=lambda fmr: changes[fmr].low or 0.0)
    change, lowest = changes[at].value or 0.0, changes[at].low or 0.0
    if lowest >= 0:
        return told, "", too_much
    risk = f"There, a loss of up to {-100 * lowest:.1f} points (at FMR {at:g}) cannot be ruled out"
    room = max_loss + change
    if -lowest > max_loss and not too_much:
        people = report.systems[TUNED].people
        needed = people_needed(people, room, room - (change - lowest))
        risk += f", and {100 * max_loss:g} are allowed"
        risk += f"; about {needed:,} people in place of {people:,} would tell" if needed else ""
    return told, f"{risk}.", too_much


def _further_losses(reports: Mapping[str, VerificationReport]) -> list[str]:
    """Name every clear loss at another FMR than those told already."""
    lost: Sequence[tuple[str, float, Interval]] = [
        (key, fmr, change)
        for key, report in reports.items()
        for fmr in report.draws[TUNED]
        if fmr != headline_fmr(report)
        and judge(change := report.difference(TUNED, PRETRAINED, fmr)) is Difference.WORSE
    ]
    return [f" It is worse on the {SET_WORDS[key]} at FMR {fmr:g}: {change.signed()}." for key, fmr, change in lost]


def _thresholds(report: VerificationReport, fmr: float) -> str:
    """State the threshold of the tuned network beside that of the pretrained one, and what becomes of galleries."""
    now, before = (report.systems[name].thresholds[fmr] for name in (TUNED, PRETRAINED))
    return (
        f"At FMR {fmr:g} on the target, its threshold is {now:.4f} in place of {before:.4f}. Its embeddings are not "
        "comparable with those of the pretrained network: enrol the gallery again."
    )
