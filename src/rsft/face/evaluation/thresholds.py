"""Thresholds for requested false match rates, and their uncertainty."""

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
    """A threshold and the FMR at it. A comparison matches if its cosine is larger than the threshold.

    Attributes:
        wished: The requested FMR.
        threshold: The lowest threshold at which the measured FMR is at most `wished`.
        safe: The threshold at which the FMR is at most `wished` in 97.5 % of the bootstrap draws of identities.
        fmr: FMR measured at `threshold`, with its 95 % interval over these draws.
        bound: Upper bound of the FMR at `threshold`: the larger of the upper ends of this interval and of the interval
            of Clopper and Pearson (1934), which assumes independent comparisons. It is about 3.7 / n if none of n
            comparisons matches.
        false_matches: Number of impostor comparisons that match at `threshold`.
        pairs_impostor: Number of impostor comparisons.
    """

    wished: float
    threshold: float
    safe: float
    fmr: Interval
    bound: float
    false_matches: int
    pairs_impostor: int

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary."""
        return asdict(self) | {"fmr": self.fmr.to_dict()}


def check_support(fmrs: Sequence[float], impostor: int) -> None:
    """Raise an error if a number of impostor comparisons is too small for the threshold of an FMR.

    Raises:
        InputError: If there are fewer than 3 / FMR.
        ValueError: If an FMR is not in (0, 1).
    """
    for fmr in fmrs:
        if not 0 < fmr < 1:
            raise ValueError(f"thresholds_for(fmrs=...) needs rates above 0 and below 1, got {fmr}.")
        if not is_supported(fmr, impostor):
            raise InputError(
                f"a threshold for FMR {fmr:g} needs {MIN_ERRORS / fmr:.0f} impostor comparisons (better "
                f"{SURE_ERRORS / fmr:.0f}), got {impostor}: evaluate on more people, or ask for a larger rate."
            )


def thresholds_for(
    trial: AnyTrial, name: str, fmrs: Sequence[float], *, draws: int = 1000, seed: int = 0
) -> list[Threshold]:
    """Set the thresholds of a system for requested false match rates.

    Args:
        trial: Scores of the system.
        name: Name of the system.
        fmrs: Requested FMRs, in (0, 1).
        draws: Number of bootstrap draws.
        seed: Seed for the bootstrap.

    Returns:
        The thresholds, in the order of `fmrs`.

    Raises:
        InputError: If there are fewer than 3 / FMR impostor comparisons, or no genuine ones.
        ValueError: If an FMR is not in (0, 1).
    """
    genuine, impostor = trial.pairs.counts
    check_support(fmrs, impostor)
    if not genuine:
        raise InputError("thresholds need genuine and impostor comparisons, got no genuine ones.")
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
