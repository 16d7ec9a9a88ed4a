"""Swap: whether another network verifies target-like pictures of the pool better, before any training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rsft.face.adaptation.alike import FMR
from rsft.face.evaluation.verification import VerificationReport
from rsft.types import Interval

MOST_ALIKE, MOST_USUAL = 150, 450  # pictures that each network embeds, about
# A better network may clearly lose at most this much TAR on usual pictures.
MAX_USUAL_LOSS = 0.01
CAVEAT = (
    "These are pictures of the pool, which stand for the target: the plan that was made with the first network finds "
    "them like it."
)


@dataclass(frozen=True, kw_only=True)
class ModelFigures:
    """How well a network verifies pictures of the pool: TAR at `FMR`, with intervals over people.

    Attributes:
        name: Name of the network, as it was asked for.
        licence: Licence of its weights.
        non_commercial: Whether the licence rules out commercial use.
        milliseconds: Measured time to read and embed a picture, in milliseconds.
        alike: TAR of target-like pictures, each compared with the usual ones.
        usual: TAR of usual pictures of the same people.
        alike_gain: `alike` minus that of the plan's network, paired; None for the plan's network.
        usual_gain: `usual` minus that of the plan's network, paired; None for the plan's network.
    """

    name: str
    licence: str
    non_commercial: bool
    milliseconds: float
    alike: Interval
    usual: Interval
    alike_gain: Interval | None = None
    usual_gain: Interval | None = None

    @property
    def is_better(self) -> bool:
        """Whether it is clearly better on target-like pictures, and on usual ones not clearly worse by a point."""
        gain, usual = self.alike_gain, self.usual_gain
        if gain is None or gain.low is None or usual is None or usual.high is None:
            return False
        return gain.low > 0 and usual.high >= -MAX_USUAL_LOSS

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary."""
        told = vars(self).items()
        return {name: value.to_dict() if isinstance(value, Interval) else value for name, value in told}


@dataclass(frozen=True)
class Swap:
    """The networks at hand, side by side on the same pictures of the pool.

    Attributes:
        models: Figures of each network, that of the plan first; empty if none was compared.
        alike: Number of target-like pictures.
        usual: Number of usual pictures.
        people: Number of people with a genuine comparison of a target-like picture; None if nobody looked.
        left_out: Name of each network that was not compared -> the reason.
        reason: Why none was compared; None if at least one was.
    """

    models: Sequence[ModelFigures] = ()
    alike: int = 0
    usual: int = 0
    people: int | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None

    @property
    def best(self) -> ModelFigures | None:
        """The network with the highest TAR on target-like pictures among those that are better, if there is one."""
        better = [model for model in self.models if model.is_better]
        return max(better, key=lambda model: model.alike.value or 0.0, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary."""
        return {
            "fmr": FMR,
            "compared": [model.to_dict() for model in self.models],
            "pictures": {"alike": self.alike, "usual": self.usual},
            "people": self.people,
            "left_out": dict(self.left_out),
            "reason": self.reason,
            "caveat": CAVEAT if self.models else None,
        }


def judge_models(
    reports: Mapping[str, VerificationReport], about: Mapping[str, Mapping[str, Any]]
) -> list[ModelFigures]:
    """Put networks side by side that verified the same comparisons.

    Args:
        reports: What `Compared.verify` returns.
        about: Name of each network -> its `licence`, `non_commercial` and `milliseconds`, that of the plan first.

    Returns:
        The figures of each network, in the order of `about`.
    """
    first = next(iter(about))
    found = []
    for name, told in about.items():
        figures: dict[str, Any] = {kind: report.systems[name].tar_at_fmr[FMR] for kind, report in reports.items()}
        if name != first:
            figures |= {f"{kind}_gain": report.difference(name, first, FMR) for kind, report in reports.items()}
        found.append(ModelFigures(name=name, **told, **figures))
    return found
