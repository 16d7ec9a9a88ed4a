"""The threshold for a wished false match rate, and how sure it is."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from rsft.errors import InputError
from rsft.face.model import BUNDLE_FILE
from rsft.face.scores import false_match_rates
from rsft.face.verification import (
    FEW_IMPOSTORS,
    MIN_FALSE_MATCHES,
    SURE_FALSE_MATCHES,
    AnyTrial,
    identity_weights,
    interval,
    scores_of,
    tars,
)
from rsft.run_folder import replace_file
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
    genuine, impostor = trial.comparisons.counts
    for fmr in fmrs:
        if not 0 < fmr < 1:
            raise ValueError(f"thresholds_for(fmrs=...) needs rates above 0 and below 1, got {fmr}.")
        if impostor < MIN_FALSE_MATCHES / fmr:
            raise InputError(
                f"a threshold for FMR {fmr:g} needs {MIN_FALSE_MATCHES / fmr:.0f} impostor comparisons (better "
                f"{SURE_FALSE_MATCHES / fmr:.0f}), got {impostor}: evaluate on more people, or ask for a larger rate."
            )
    if not genuine:
        raise InputError("thresholds are set on genuine and impostor comparisons, got no genuine one.")
    weights = identity_weights(trial.comparisons, draws, np.random.default_rng(seed))
    scores = scores_of(trial, name, fmrs, seed=seed)
    _, drawn = tars(scores, weights, fmrs)
    found = []
    for column, fmr in enumerate(fmrs):
        threshold = float(drawn[0, column])
        false = int(scores.false_matches(threshold))
        note = None if impostor >= SURE_FALSE_MATCHES / fmr else FEW_IMPOSTORS
        measured = interval(false / impostor, false_match_rates(scores, weights[1:], threshold), note)
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


def write_thresholds(model: Path, found: Sequence[Threshold], *, safe: bool = False) -> Path:
    """Put thresholds into the `bundle.json` of a model, in place of those for the same rates; returns its path.

    Args:
        model: the folder of a run, or of its `model/`.
        found: by `thresholds_for`.
        safe: write those called safe.

    Raises:
        InputError: there is no such bundle.
    """
    path = bundle_of(model)
    bundle = json.loads(path.read_text())
    chosen = {f"{one.wished:g}": one.safe if safe else one.threshold for one in found}
    bounds = {f"{one.wished:g}": one.to_dict() for one in found}
    bundle[THRESHOLDS] = bundle.get(THRESHOLDS, {}) | chosen
    bundle[BOUNDS] = bundle.get(BOUNDS, {}) | bounds
    replace_file(path, json.dumps(bundle, indent=2).encode())
    return path


def bundle_of(model: Path) -> Path:
    """The `bundle.json` of the folder of a run, or of its `model/`.

    Raises:
        InputError: there is none.
    """
    for path in (model / "model" / BUNDLE_FILE, model / BUNDLE_FILE):
        if path.is_file():
            return path
    raise InputError(f"'{model}' has no {BUNDLE_FILE} to write thresholds into: give the folder of a run.")
