"""What a run has of its sets but the pool: their features, and what the evaluation found."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rsft.data.features import Features
from rsft.face.evaluation.det import DetBand
from rsft.face.evaluation.verification import VerificationReport
from rsft.face.runs.closer_look import Errors


@dataclass(frozen=True)
class EmbeddedSets:
    """The features of all sets of a run but the pool."""

    target: Features
    evaluated: Mapping[str, Features]

    @property
    def all(self) -> list[Features]:
        """The features of every set."""
        return [self.target, *self.evaluated.values()]


@dataclass(frozen=True)
class MeasuredSets:
    """What the evaluation of a run found; attributes of `rsft.face.runs.results.Findings`."""

    reports: Mapping[str, VerificationReport]
    curves: Mapping[str, Mapping[str, DetBand | None]]
    errors: Mapping[str, Errors]
    groups: dict[str, dict[str, Any] | None] | None = None
