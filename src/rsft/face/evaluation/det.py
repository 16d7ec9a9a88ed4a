"""DET curve: the trade-off between FMR and FNMR over all thresholds. With TAR = 1 - FNMR it is the ROC curve."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rsft.face.evaluation.scores import Scores

POINTS = 61


@dataclass(frozen=True)
class DetCurve:
    """FMR and FNMR at K thresholds, from the fewest false matches to the most.

    Attributes:
        threshold: (K,) thresholds, descending. A comparison matches if its score is larger.
        fmr: (K,) FMR at each threshold, ascending.
        fnmr: (K,) FNMR at each threshold, descending. 1 - FNMR over FMR is the ROC curve.
    """

    threshold: list[float]
    fmr: list[float]
    fnmr: list[float]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary."""
        return asdict(self)


def det_curve(scores: Scores, points: int = POINTS) -> DetCurve:
    """Compute the FNMR at FMRs that are evenly spaced on a log scale, from one false match to all.

    Each threshold is the lowest at which the FMR is at most the requested one. Both rates are counted there.

    Args:
        scores: Scores of one system.
        points: Number of requested FMRs. Equal ones are merged.
    """
    wished = np.unique(np.round(np.logspace(0, np.log10(scores.impostors), points)) / scores.impostors)
    thresholds = np.unique([scores.threshold(fmr) for fmr in wished])[::-1]
    false = np.array([scores.false_matches(threshold) for threshold in thresholds])
    matched = scores.matches(thresholds)
    return DetCurve(
        thresholds.tolist(), (false / scores.impostors).tolist(), (1 - matched / len(scores.genuine)).tolist()
    )
