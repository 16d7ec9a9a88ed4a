"""The threshold for a wished false match rate, and how sure it is."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from rsft.errors import InputError
from rsft.face.evaluation.bootstrap import interval
from rsft.face.evaluation.rule_of_30 import MIN_ERRORS, SURE_ERRORS, is_supported, note_for
from rsft.face.evaluation.scores import false_match_rates
from rsft.face.evaluation.trials import AnyTrial
from rsft.face.evaluation.verification import identity_weights, tars
from rsft.types import CONFIDENCE, Interval

THRESHOLDS, BOUNDS = "thresholds", "threshold_bounds"


@dataclass(frozen=True)
class Threshold:
    """A threshold and the rate at it; a comparison matches when its cosine is larger.

    Attributes:
        wished: the FMR asked for.
        threshold: the lowest at which the measured FMR is at most `wished`.
        safe: the threshold at which it is so in 97.5 % of the bootstrap draws of identities.
        fmr: measured at `threshold`, with its 95 % interval over these draws.
        bound: of the FMR at `threshold`, from above: the larger of that interval's end and that of Clopper and Pearson
            (1934), which takes comparisons for independent. It is near 3.7 / n where none of n matches.
        false_matches: how many of the impostor comparisons match at `threshold`.
        pairs_impostor: how many there are.
    """

    wished: float
    threshold: float
    safe: float
    fmr: Interval
    bound: float
    false_matches: int
    pairs_impostor: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"fmr": self.fmr.to_dict()}


def thresholds_for(
    trial: AnyTrial, name: str, fmrs: Sequence[float], *, draws: int = 1000, seed: int = 0
) -> list[Threshold]:
    """The thresholds of a system for some false match rates.

    Args:
        trial: its scores.
        name: of the system.
        fmrs: wished, in (0, 1).
        draws: number of bootstrap draws.
        seed: of the bootstrap.

    Raises:
        InputError: there are fewer than 3 / FMR impostor comparisons.
        ValueError: a rate is not in (0, 1).
    """
    genuine, impostor = trial.pairs.counts
    for fmr in fmrs:
        if not 0 < fmr < 1:
            raise ValueError(f"thresholds_for(fmrs=...) needs rates above 0 and below 1, got {fmr}.")
        if not is_supported(fmr, impostor):
            raise InputError(
                f"a threshold for FMR {fmr:g} needs {MIN_ERRORS / fmr:.0f} impostor comparisons (better "
                f"{SURE_ERRORS / fmr:.0f}), got {impostor}: evaluate on more people, or ask for a larger rate."
            )
    if not genuine:
        raise InputError("thresholds are set on genuine and impostor comparisons, got no genuine one.")
    weights = identity_weights(trial.pairs, draws, np.random.default_rng(seed))
    scores = trial.scores(name, fmrs, seed=seed)
    _, drawn = tars(scores, weights, fmrs)
    found = []
    for column, fmr in enumerate(fmrs):
        threshold = float(drawn[0, column])
        false = int(scores.false_matches(threshold))
        draws_of_fmr = false_match_rates(scores, weights[1:], threshold)
        measured = interval(false / impostor, draws_of_fmr, note_for(fmr, impostor))
        high = (1 + CONFIDENCE) / 2
        assert measured.high is not None
        found.append(
            Threshold(
                wished=fmr,
                threshold=threshold,
                safe=float(np.quantile(drawn[1:, column], high, method="higher")),
                fmr=measured,
                bound=max(measured.high, float(stats.beta.ppf(high, false + 1, impostor - false))),
                false_matches=false,
                pairs_impostor=impostor,
            )
        )
    return found
