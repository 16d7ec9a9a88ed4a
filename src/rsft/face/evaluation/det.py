"""The trade between false matches and false non-matches over all thresholds: DET, and with TAR for FNMR, ROC."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rsft.face.evaluation.scores import Scores

POINTS = 61


@dataclass(frozen=True)
class DetCurve:
    """FMR and FNMR at thresholds, from the fewest false matches to the most.

    Attributes:
        threshold: (K,) a comparison matches above it.
        fmr: (K,) rising.
        fnmr: (K,) falling; 1 - FNMR over FMR is the ROC curve.
    """

    threshold: list[float]
    fmr: list[float]
    fnmr: list[float]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def det_curve(scores: Scores, points: int = POINTS) -> DetCurve:
    """FNMR at false match rates spread evenly on a log scale, from one false match to all.

    Each threshold is the lowest at which the FMR is at most the one wished, and both rates are counted there.
    """
    wished = np.unique(np.round(np.logspace(0, np.log10(scores.impostors), points)) / scores.impostors)
    thresholds = np.unique([scores.threshold(fmr) for fmr in wished])[::-1]
    false = np.array([scores.false_matches(threshold) for threshold in thresholds])
    matched = scores.matches(thresholds)
    return DetCurve(
        thresholds.tolist(), (false / scores.impostors).tolist(), (1 - matched / len(scores.genuine)).tolist()
    )
