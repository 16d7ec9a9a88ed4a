"""DET curve: the trade-off between FMR and FNMR over all thresholds. With TAR = 1 - FNMR it is the ROC curve."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rsft.face.evaluation.bootstrap import ENDS
from rsft.face.evaluation.rule_of_30 import MIN_ERRORS
from rsft.face.evaluation.scores import Scores
from rsft.face.evaluation.trials import AnyTrial
from rsft.face.evaluation.verification import identity_weights, tars

POINTS = 61
BAND_POINTS, BAND_DRAWS, HIGHEST_FMR = 25, 200, 0.1


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


@dataclass(frozen=True)
class DetBand:
    """FNMR at K FMRs, with its 95 % interval at each.

    Attributes:
        fmr: (K,) FMR, ascending.
        fnmr: (K,) FNMR, 1 - TAR.
        low: (K,) lower end of the interval.
        high: (K,) upper end.
    """

    fmr: list[float]
    fnmr: list[float]
    low: list[float]
    high: list[float]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary."""
        return asdict(self)


def det_band(trials: Sequence[AnyTrial], system: str, *, seed: int = 0) -> DetBand | None:
    """Compute the FNMR of a system from the lowest FMR that is supported to `HIGHEST_FMR`, as `verify` does.

    Args:
        trials: Trials with scores of the system; its TARs are averaged over them.
        system: Name of the system.
        seed: Seed for the bootstrap. Equal seeds draw the same identities.

    Returns:
        The band, or None if so few impostor comparisons support no FMR.
    """
    lowest = MIN_ERRORS / min(trial.pairs.counts[1] for trial in trials)
    if lowest >= HIGHEST_FMR:
        return None
    fmrs = np.geomspace(lowest, HIGHEST_FMR, BAND_POINTS).tolist()
    generator = np.random.default_rng(seed)
    drawn, genuine = [], []
    for trial in trials:
        scores = trial.scores(system, fmrs, seed=seed)
        drawn.append(tars(scores, identity_weights(trial.pairs, BAND_DRAWS, generator), fmrs)[0])
        genuine.append(len(scores.genuine))
    fnmr = 1 - np.average(drawn, axis=0, weights=genuine)  # (1 + B, K)
    low, high = np.nanquantile(fnmr[1:], ENDS, axis=0)
    return DetBand(fmrs, fnmr[0].tolist(), low.tolist(), high.tolist())
