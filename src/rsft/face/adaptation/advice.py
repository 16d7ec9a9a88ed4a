"""Advice of a plan: swap the network, tune it, leave it, or collect more pictures, with the figure that led to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rsft.face.adaptation.alike import FMR
from rsft.face.adaptation.gate import MIN_PEOPLE
from rsft.face.adaptation.swap import ModelFigures, Swap
from rsft.pilot_plan import PILOT_SIZES
from rsft.types import Interval
from rsft.verdict import MIN_EFFECTIVE_SIZE, MIN_TARGET, Outcome, Verdict


@dataclass(frozen=True)
class Gained:
    """What tuning gained over the pretrained network in several runs: differences of TAR at `FMR` on the target.

    Attributes:
        runs: Number of runs.
        drawn: Number of these runs whose shift was drawn onto the pictures, and not met.
        low: The smallest gain.
        median: The median gain.
        high: The largest gain.
    """

    runs: int
    drawn: int
    low: float
    median: float
    high: float

    def __str__(self) -> str:
        spread = f"{self.low:+.3f} to {self.high:+.3f}, {self.drawn} of them on drawn shifts"
        return f"{self.median:+.3f} in {self.runs} runs whose plan was worth trying (median; {spread})"


# Rejection less pretrained on those shifts of benchmarks/results/evidence.json whose plan was worth trying; dlib's
# network.
TUNING_GAINED = Gained(runs=10, drawn=8, low=0.071, median=0.108, high=0.281)

# What whitening alone gained over the network untouched on shifts that were met: benchmarks/results/real_dealings.json.
WHITENING_GAINED = {
    "sface": {
        "an age gap": Interval(0.066, 0.049, 0.084),
        "CCTV": Interval(0.052, 0.030, 0.071),
        "masks": Interval(0.000, -0.033, 0.023),
    },
    "sface+dlib": {
        "an age gap": Interval(0.070, 0.053, 0.087),
        "CCTV": Interval(0.057, 0.032, 0.082),
        "masks": Interval(-0.006, -0.034, 0.008),
    },
}

FIT = "rsft fit with the same inputs, --eval and --out; with --whiten-only it whitens alone, without a training"
WHITEN = "rsft fit with the same inputs, --whiten-only, --eval and --out"


class Action(StrEnum):
    """What a plan advises."""

    SWAP = "swap"
    TUNE = "tune"
    LEAVE = "leave"
    COLLECT = "collect"


@dataclass(frozen=True)
class Advice:
    """An action, and what led to it.

    Attributes:
        action: What to do.
        reason: One sentence with the figures that led to it.
        next: What to do next: a command, or which pictures and how many.
    """

    action: Action
    reason: str
    next: str

    def __str__(self) -> str:
        return f"{self.action}: {self.reason}. Next: {self.next}."

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary."""
        return {"action": str(self.action), "reason": self.reason, "next": self.next}


def advise(
    verdict: Verdict,
    figures: Mapping[str, float],
    unsupported: Sequence[str] = (),
    swap: Swap | None = None,
    *,
    network: str,
) -> Advice:
    """Choose what to do.

    A network that is clearly better comes first. Then pictures are collected if they are too few to tell, the network
    is tuned if the plan is worth trying, and else left as it is.

    Args:
        verdict: The verdict of the plan.
        figures: Name -> value of the diagnostics of the plan.
        unsupported: Words for the part of the target that the pool lacks, such as "dark".
        swap: The networks at hand, side by side.
        network: Name of the plan's network; see `WHITENING_GAINED`.
    """
    swap = swap or Swap()
    wanted = _to_collect(verdict, figures, unsupported, swap.people)
    if swap.best is not None:
        return _swap(swap.best, swap.models[0], wanted)
    if wanted:
        few = swap.people is not None and swap.people < MIN_PEOPLE and verdict.outcome is Outcome.WORTH_TRYING
        reason = f"only {swap.people} people of the pool have pictures like the target to judge a tuned network by"
        return Advice(Action.COLLECT, reason if few else verdict.reason, wanted)
    if verdict.outcome is Outcome.WORTH_TRYING:
        return _tune(figures, swap, network)
    settled = verdict.outcome in (Outcome.MODEL_COPES, Outcome.POOL_MATCHES)
    then = "use the network as it is" if settled else "change what the reason says, and plan again"
    return Advice(Action.LEAVE, f"{verdict.outcome}: {verdict.reason}{_others(swap)}", then)


def _swap(best: ModelFigures, now: ModelFigures, wanted: str | None) -> Advice:
    """Return the advice to take another network."""
    assert best.alike_gain is not None
    warning = ", which rules out commercial use" if best.non_commercial else ""
    reason = (
        f"{best.name} verifies pictures like the target at {best.alike.value:.3f} where {now.name} has "
        f"{now.alike.value:.3f}: {best.alike_gain.signed()} (TAR at FMR {FMR:g} on the pool); tuning dlib gained "
        f"{TUNING_GAINED}; the licence of {best.name} is {best.licence}{warning}"
    )
    besides = f"; besides, {wanted}" if wanted else ""
    return Advice(Action.SWAP, reason, f"plan again with --model {best.name}{besides}")


def _tune(figures: Mapping[str, float], swap: Swap, name: str) -> Advice:
    """Return the advice to tune the network of the plan."""
    stands = (
        f"pictures like the target are verified at {figures['alike_tar']:.3f} and usual ones at "
        f"{figures['usual_tar']:.3f} (TAR at FMR {FMR:g} on the pool); "
        if "alike_tar" in figures
        else ""
    )
    whitened = [f"{gain.signed()} on {shift}" for shift, gain in WHITENING_GAINED.get(name, {}).items()]
    gained = (
        f"whitening {name} gained {', '.join(whitened)} (TAR at FMR {FMR:g} on other people), and training nothing more"
        if whitened
        else f"tuning dlib gained {TUNING_GAINED}"
    )
    reason = f"{stands}{gained}{_others(swap)}"
    open_ones = [model.name for model in swap.models if model.alike_gain and (model.alike_gain.value or 0.0) > 0]
    names = " ".join(f"--model {each}" for each in (swap.models[0].name, *open_ones)) if open_ones else ""
    compared = f"; whether {' or '.join(open_ones)} is better, rsft compare {names} tells" if open_ones else ""
    return Advice(Action.TUNE, reason, f"{WHITEN if whitened else FIT}{compared}")


def _to_collect(
    verdict: Verdict, figures: Mapping[str, float], unsupported: Sequence[str], people: int | None
) -> str | None:
    """Say which pictures are missing and how many; None if there are enough to tell."""
    outcome = verdict.outcome
    if outcome is Outcome.TARGET_TOO_SMALL:
        known = figures.get("target_effective_groups", figures["target_items"])  # copies and frames count once
        return f"collect {MIN_TARGET - int(known)} more pictures of the target, without labels"
    if outcome is Outcome.PILOT_TOO_SMALL:
        return _for_a_pilot(figures)
    if outcome is Outcome.TOO_LITTLE_SUPPORT:
        alike = figures.get("target_effective_size", 0.0)
        missing = MIN_EFFECTIVE_SIZE - alike if alike < MIN_EFFECTIVE_SIZE else MIN_EFFECTIVE_SIZE
        which = f"that are {', '.join(unsupported)}" if unsupported else "like the target"
        return f"collect at least {missing:.0f} labelled pictures {which}, of {MIN_PEOPLE:.0f} people or more"
    if people is not None and people < MIN_PEOPLE:
        return (
            f"collect labelled pictures like the target of {MIN_PEOPLE - people:.0f} more people, two or more of each"
        )
    return None


def _for_a_pilot(figures: Mapping[str, float]) -> str:
    """Say how large a pilot would tell, or how many pictures like the target the largest pilot needs in the pool."""
    needed, largest, items = figures.get("pilot_needed"), PILOT_SIZES[-1], figures["pool_items"]
    if needed is not None and needed <= largest:
        return f"look at {needed:.0f} pictures of the pool (max_looks = {needed:.0f} in the recipe)"
    wanted = MIN_EFFECTIVE_SIZE / largest
    share = figures["target_effective_size"] / figures["pilot_looked_at"]
    missing = (wanted - share) * items / (1 - wanted)
    return f"collect {max(1.0, missing):,.0f} more labelled pictures like the target for the pool"


def _others(swap: Swap) -> str:
    """Say that no other network that was compared is clearly better."""
    told = [f"{model.name} {model.alike_gain.signed()}" for model in swap.models if model.alike_gain is not None]
    return (
        f"; no other network at hand is clearly better on pictures like the target ({', '.join(told)})" if told else ""
    )
