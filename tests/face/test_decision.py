"""Ship or not: the verdict on a run follows from its figures by a stated rule."""

import re
from collections.abc import Mapping

import numpy as np
import pytest

from rsft.face.evaluation.verification import Verification, VerificationReport
from rsft.face.runs.decision import Action, decide, people_needed
from rsft.types import PRETRAINED, TUNED, Interval

FMRS = (0.01, 0.001)
NONE = Interval(None, None, None, "insufficient data")


def report(
    changes: Mapping[float, tuple[float, float] | None], *, people: int = 100, impostors: int = 100_000
) -> VerificationReport:
    """A report in which the tuned network differs by (value, half width of the interval) at each FMR, or unknown."""
    around = np.linspace(-1, 1, 2001)
    draws, values = {}, {}
    for fmr, change in changes.items():
        value, half = change or (0.0, 0.0)
        draws[fmr] = 0.5 + value + around * half / 0.95
        values[fmr] = NONE if change is None else Interval(0.5 + value, 0.5, 0.6)
    start = {fmr: NONE if change is None else Interval(0.5, 0.4, 0.6) for fmr, change in changes.items()}
    counts = {"eer": 0.1, "accuracy": None, "folds": None, "pairs_genuine": 500, "pairs_impostor": impostors}
    systems = {
        name: Verification(tar_at_fmr=tars, thresholds=dict.fromkeys(changes, threshold), people=people, **counts)  # type: ignore[arg-type]
        for name, tars, threshold in ((PRETRAINED, start, 0.25), (TUNED, values, 0.75))
    }
    pretrained = {fmr: np.full(2001, 0.5) for fmr in changes}
    return VerificationReport(systems, {PRETRAINED: pretrained, TUNED: draws})


GAIN, LITTLE, NOTHING, LOSS = (
    dict.fromkeys(FMRS, change) for change in ((0.1, 0.05), (0.02, 0.04), (0, 0.04), (-0.1, 0.05))
)


@pytest.mark.parametrize(
    ("target", "retain", "action"),
    [
        (GAIN, None, Action.SHIP),
        (GAIN, dict.fromkeys(FMRS, (-0.005, 0.004)), Action.SHIP),
        (GAIN, dict.fromkeys(FMRS, (-0.02, 0.004)), Action.DO_NOT_SHIP),
        (LITTLE, None, Action.MEASURE),
        (NOTHING, None, Action.DO_NOT_SHIP),
        (LOSS, dict.fromkeys(FMRS, (0.0, 0.004)), Action.DO_NOT_SHIP),
        (dict.fromkeys(FMRS, None), None, Action.MEASURE),
        (dict.fromkeys(FMRS, (0.001, 0.5)), None, Action.DO_NOT_SHIP),
    ],
)
def test_the_action_follows_from_the_gain_and_the_allowed_loss(
    target: dict[float, tuple[float, float] | None],
    retain: dict[float, tuple[float, float] | None] | None,
    action: Action,
) -> None:
    reports = {"target": report(target)} | ({} if retain is None else {"retain": report(retain)})
    decision = decide(reports, share=0.5, kept_because="", max_loss=0.01)
    assert decision.action is action
    assert str(decision).startswith(f"{action.capitalize()}. ")
    assert "at 50% of the way" in decision.shipped
    assert ("give one as --retain" in decision.risk) == (retain is None)
    assert ("0.7500 in place of 0.2500" in decision.then) == (action is Action.SHIP)


def test_pretrained_weights_are_kept_with_the_reason_of_the_gate() -> None:
    decision = decide({"target": report(GAIN)}, share=0, kept_because="nothing gained", max_loss=0.01)
    assert (decision.action, decision.outcome) == (Action.KEEP, "kept")
    assert "The gate kept it: nothing gained." in str(decision)
    assert "tuned" not in decision.shipped


def test_a_loss_that_cannot_be_ruled_out_is_that_of_the_worst_fmr() -> None:
    retain = {0.001: (-0.005, 0.01), 0.01: (-0.001, 0.001)}
    reports = {"target": report(GAIN), "retain": report(retain, people=100)}
    decision = decide(reports, share=1, kept_because="", max_loss=0.01)
    assert decision.action is Action.SHIP
    assert "a loss of up to 1.5 points (at FMR 0.001) cannot be ruled out, and 1 are allowed" in decision.risk
    # half of the interval must shrink from 0.010 to 0.005, which takes four times the people
    assert re.search("about 40[01] people in place of 100 would tell", decision.risk)


def test_a_clear_loss_at_another_fmr_is_named() -> None:
    decision = decide(
        {"target": report({0.001: (0.1, 0.05), 0.01: (-0.05, 0.02)})}, share=1, kept_because="", max_loss=0.01
    )
    assert decision.action is Action.SHIP
    assert "It is worse on the target at FMR 0.01: -0.050 [-0.070, -0.030]." in decision.reason


def test_people_needed_follow_the_root_of_their_number() -> None:
    draws = np.random.default_rng(0).normal(0.1, 1, (4000, 1600))
    for people in (25, 100):  # the lower end of the interval of a mean, and how many would put it at zero
        low = 0.1 - 1.96 / np.sqrt(people)
        needed = people_needed(people, 0.1, low)
        assert needed is not None
        assert needed == pytest.approx((1.96 / 0.1) ** 2, rel=0.01)
        means = draws[:, :needed].mean(1)
        assert 0.1 - 1.96 * means.std() == pytest.approx(0, abs=0.01)
    assert people_needed(100, 0.0, -0.1) is None
    assert people_needed(100, 0.001, -0.1) is None
