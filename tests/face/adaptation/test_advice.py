"""What a plan advises: every outcome, with and without a better network, and the numbers that it names."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rsft.face.adaptation.advice import FIT, TUNING_GAINED, WHITEN, WHITENING_GAINED, Action, advise
from rsft.face.adaptation.gate import MIN_PEOPLE
from rsft.face.adaptation.swap import ModelFigures, Swap
from rsft.pilot_plan import PILOT_SIZES
from rsft.types import Interval
from rsft.verdict import MIN_EFFECTIVE_SIZE, MIN_TARGET, Outcome, Verdict

FIGURES = {
    "target_items": 27.0, "pool_items": 100_000.0, "pilot_looked_at": 3000.0, "pilot_needed": 9000.0,
    "target_effective_size": 12.0, "alike_tar": 0.5, "usual_tar": 0.9,
}  # fmt: skip
# What is advised without a better network. Any other outcome leaves the network as it is.
ACTIONS = {
    Outcome.WORTH_TRYING: Action.TUNE,
    Outcome.TOO_LITTLE_SUPPORT: Action.COLLECT,
    Outcome.TARGET_TOO_SMALL: Action.COLLECT,
    Outcome.PILOT_TOO_SMALL: Action.COLLECT,
}


def models(low: float, high: float, licence: str = "Apache-2.0") -> list[ModelFigures]:
    """Return the network of the plan, at .5, and another whose gain has these ends."""
    usual = Interval(0.9, 0.8, 0.95)
    told = {"non_commercial": "non-commercial" in licence, "milliseconds": 40.0, "usual": usual}
    gain = (low + high) / 2
    return [
        ModelFigures(name="a", licence="CC0-1.0", non_commercial=False, milliseconds=9.0, usual=usual,
                     alike=Interval(0.5, 0.4, 0.6)),
        ModelFigures(name="b", licence=licence, alike=Interval(0.5 + gain, 0.5 + low, 0.5 + high),
                     alike_gain=Interval(gain, low, high), usual_gain=Interval(0.0, -0.02, 0.02), **told),  # type: ignore[arg-type]
    ]  # fmt: skip


BETTER, NO_BETTER = Swap(models(0.15, 0.27), 80, 200, 20), Swap(models(-0.02, 0.04), 80, 200, 20)


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("swap", [None, Swap(reason="nobody looked"), NO_BETTER, BETTER])
def test_every_outcome_has_its_action_and_a_better_network_comes_first(outcome: Outcome, swap: Swap | None) -> None:
    advice = advise(Verdict(outcome, "as it is"), FIGURES, ["dark"], swap, network="dlib")
    expected = Action.SWAP if swap is BETTER else ACTIONS.get(outcome, Action.LEAVE)
    assert advice.action is expected
    assert advice.to_dict() == {"action": str(expected), "reason": advice.reason, "next": advice.next}
    if expected is Action.SWAP:
        assert (
            "b verifies pictures like the target at 0.710 where a has 0.500: +0.210 [+0.150, +0.270]" in advice.reason
        )
        assert str(TUNING_GAINED) in advice.reason
        assert "the licence of b is Apache-2.0" in advice.reason
        assert "rules out" not in advice.reason
        assert advice.next.startswith("plan again with --model b")
        assert ("besides, collect" in advice.next) == (ACTIONS.get(outcome) is Action.COLLECT)
    elif expected is Action.TUNE:
        assert "at 0.500 and usual ones at 0.900" in advice.reason
        assert str(TUNING_GAINED) in advice.reason
        assert advice.next.startswith("rsft fit")
    else:
        assert "as it is" in advice.reason
        settled = outcome in {Outcome.MODEL_COPES, Outcome.POOL_MATCHES}
        assert (advice.next == "use the network as it is") == settled
    if swap is NO_BETTER and expected is Action.TUNE:
        assert "clearly better on pictures like the target (b +0.010 [-0.020, +0.040])" in advice.reason
        assert advice.next.endswith("; whether b is better, rsft compare --model a --model b tells")


def test_a_network_that_is_no_better_by_any_sign_is_not_pursued() -> None:
    advice = advise(
        Verdict(Outcome.WORTH_TRYING, ""), FIGURES, (), Swap(models(-0.2, 0.1), 80, 200, 20), network="dlib"
    )
    assert advice.next == FIT


def test_a_licence_that_rules_out_commercial_use_is_said() -> None:
    swap = Swap(models(0.1, 0.2, "CC-BY-NC-4.0 (non-commercial)"), 80, 200, 20)
    advice = advise(Verdict(Outcome.WORTH_TRYING, ""), FIGURES, (), swap, network="dlib")
    assert "CC-BY-NC-4.0 (non-commercial), which rules out commercial use" in advice.reason


def test_a_target_that_is_too_small_names_what_is_missing() -> None:
    advice = advise(Verdict(Outcome.TARGET_TOO_SMALL, ""), FIGURES, network="dlib")
    assert advice.next == f"collect {MIN_TARGET - 27} more pictures of the target, without labels"
    repeated = FIGURES | {"target_items": 200.0, "target_effective_groups": 20.0}  # ten frames of each
    advice = advise(Verdict(Outcome.TARGET_TOO_SMALL, "20 different items among 200"), repeated, network="dlib")
    assert advice.next == f"collect {MIN_TARGET - 20} more pictures of the target, without labels"


@pytest.mark.parametrize("size", [5.0, 200.0])
@pytest.mark.parametrize("words", [[], ["dark", "blurred"]])
def test_what_the_pool_lacks_is_named_with_a_number(size: float, words: list[str]) -> None:
    advice = advise(
        Verdict(Outcome.TOO_LITTLE_SUPPORT, ""), FIGURES | {"target_effective_size": size}, words, network="dlib"
    )
    missing = MIN_EFFECTIVE_SIZE - 5 if size < MIN_EFFECTIVE_SIZE else MIN_EFFECTIVE_SIZE
    which = "that are dark, blurred" if words else "like the target"
    assert advice.next == f"collect at least {missing} labelled pictures {which}, of {MIN_PEOPLE:.0f} people or more"


def test_a_pilot_that_is_too_small_asks_for_more_looks_or_for_pictures_that_make_up_the_share() -> None:
    verdict = Verdict(Outcome.PILOT_TOO_SMALL, "")
    looks = advise(verdict, FIGURES | {"pilot_looked_at": 750.0, "pilot_needed": 2400.0}, network="dlib")
    assert looks.next == "look at 2400 pictures of the pool (max_looks = 2400 in the recipe)"
    for needed in ({"pilot_needed": 9000.0}, {}):
        figures = {name: value for name, value in FIGURES.items() if name != "pilot_needed"} | needed
        missing = int(advise(verdict, figures, network="dlib").next.split()[1].replace(",", ""))
        share = (12 / 3000 * 100_000 + missing) / (100_000 + missing)
        assert share == pytest.approx(MIN_EFFECTIVE_SIZE / PILOT_SIZES[-1], rel=1e-3)


def test_too_few_people_like_the_target_are_collected_before_a_training() -> None:
    advice = advise(Verdict(Outcome.WORTH_TRYING, ""), FIGURES, (), Swap(people=3), network="dlib")
    assert advice.action is Action.COLLECT
    assert advice.next == "collect labelled pictures like the target of 2 more people, two or more of each"
    assert "only 3 people" in advice.reason
    assert advise(Verdict(Outcome.WORTH_TRYING, ""), FIGURES, (), Swap(people=5), network="dlib").action is Action.TUNE


def test_what_tuning_gained_is_that_of_the_evidence() -> None:
    path = Path(__file__).parents[3] / "benchmarks" / "results" / "evidence.json"
    shifts = json.loads(path.read_text())["shifts"]
    gains = {
        name: shift["comparison"]["differences"]["rejection"]["pretrained"]["target TAR at FMR 0.01"]["value"]
        for name, shift in shifts.items()
        if "comparison" in shift and shift["plan"]["verdict"]["outcome"] == Outcome.WORTH_TRYING
    }
    values = [min(gains.values()), float(np.median(list(gains.values()))), max(gains.values())]
    assert [TUNING_GAINED.low, TUNING_GAINED.median, TUNING_GAINED.high] == pytest.approx(values, abs=5e-4)
    drawn = [name for name in gains if not name.startswith("muct")]
    assert (TUNING_GAINED.runs, TUNING_GAINED.drawn) == (len(gains), len(drawn))


SHIFTS = {"an age gap": "age 0.05", "CCTV": "cctv 0.06", "masks": "masks 0.06"}


def test_what_whitening_gained_is_that_of_the_dealings() -> None:
    path = Path(__file__).parents[3] / "benchmarks" / "results" / "real_dealings.json"
    settings = json.loads(path.read_text())["settings"]
    for name, gains in WHITENING_GAINED.items():
        assert gains.keys() == SHIFTS.keys()
        for shift, gain in gains.items():
            found = settings[SHIFTS[shift]]["target TAR at FMR 0.01"]["differences"][f"{name}, whitened"][name]
            assert [gain.value, gain.low, gain.high] == pytest.approx(
                [found[end] for end in ("value", "low", "high")], abs=5e-4
            )


def test_a_network_that_training_made_worse_is_whitened() -> None:
    compared = [replace(model, name={"a": "sface"}.get(model.name, model.name)) for model in models(-0.2, 0.1)]
    for swap in (Swap(compared, 80, 200, 20), Swap()):  # compared with others, and with none
        advice = advise(Verdict(Outcome.WORTH_TRYING, ""), FIGURES, (), swap, network="sface")
        assert advice.next == WHITEN
        assert "whitening sface gained +0.066 [+0.049, +0.084] on an age gap, +0.052" in advice.reason
        assert "tuning dlib" not in advice.reason
