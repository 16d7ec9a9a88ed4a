"""1:1 verification in the terms of ISO/IEC 19795: TAR at a fixed FMR, EER and k-fold accuracy, with intervals.

Intervals come from a bootstrap over identities (see `bootstrap`). Systems that are scored on the same pairs share the
draws, so the interval of their difference is paired.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsft.errors import InputError
from rsft.face.evaluation.bootstrap import INSUFFICIENT, draw_identities, interval
from rsft.face.evaluation.folds import Folds
from rsft.face.evaluation.pairs import AllPairs, PairList
from rsft.face.evaluation.rule_of_30 import is_supported, note_for
from rsft.face.evaluation.scores import Scores
from rsft.face.evaluation.trials import AnyTrial
from rsft.types import Interval

FMRS = (0.01, 0.001, 0.0001)


@dataclass(frozen=True)
class Verification:
    """Verification rates of one system.

    Attributes:
        tar_at_fmr: FMR -> TAR, the share of the genuine comparisons above the threshold. The threshold is the lowest
            above which at most a share FMR of the impostor comparisons lies.
        eer: Equal error rate, at which FMR and FNMR are equal.
        accuracy: K-fold accuracy, each fold at the threshold that is best on the others. None without folds, and with
            several trials.
        folds: Mean and spread of the accuracy over the folds; None whenever `accuracy` is.
        thresholds: FMR -> threshold, the mean over trials.
        pairs_genuine: Number of genuine comparisons.
        pairs_impostor: Number of impostor comparisons.
        people: Number of people who are compared.
    """

    tar_at_fmr: Mapping[float, Interval]
    eer: float
    accuracy: Interval | None
    folds: Folds | None
    thresholds: Mapping[float, float]
    pairs_genuine: int
    pairs_impostor: int
    people: int

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary, with FMRs as text."""
        return {
            "tar_at_fmr": {f"{fmr:g}": interval.to_dict() for fmr, interval in self.tar_at_fmr.items()},
            "eer": self.eer,
            "accuracy": self.accuracy.to_dict() if self.accuracy else None,
            "folds": self.folds.to_dict() if self.folds else None,
            "thresholds": {f"{fmr:g}": threshold for fmr, threshold in self.thresholds.items()},
            "pairs_genuine": self.pairs_genuine,
            "pairs_impostor": self.pairs_impostor,
            "people": self.people,
        }


@dataclass(frozen=True)
class VerificationReport:
    """Verification rates of all systems, and the bootstrap draws from which paired differences are computed.

    Attributes:
        systems: Name of the system -> its rates.
        draws: Name of the system -> FMR -> (B,) TAR of every bootstrap draw.
    """

    systems: Mapping[str, Verification]
    draws: Mapping[str, Mapping[float, np.ndarray]]

    def difference(self, system: str, reference: str, fmr: float) -> Interval:
        """Return the TAR of `system` minus that of `reference` at `fmr`, with its paired 95 % interval."""
        values = [self.systems[name].tar_at_fmr[fmr] for name in (system, reference)]
        if values[0].value is None or values[1].value is None:
            return values[0]
        draws = self.draws[system][fmr] - self.draws[reference][fmr]
        return interval(values[0].value - values[1].value, draws, values[0].note)

    def differences(self, system: str, reference: str) -> dict[str, Any]:
        """Return `difference` at every FMR as a JSON-serialisable dictionary, with FMRs as text."""
        return {f"{fmr:g}": self.difference(system, reference, fmr).to_dict() for fmr in self.draws[system]}


def verify(
    trials: Sequence[AnyTrial], *, fmrs: Sequence[float] = FMRS, draws: int = 1000, seed: int = 0
) -> VerificationReport:
    """Compute TAR at each FMR, EER and accuracy of every system; TAR and accuracy have 95 % intervals.

    Each trial has its own threshold, because scores of different models are not comparable. TARs are averaged over the
    trials, weighted by their numbers of genuine comparisons. TAR at an FMR is "insufficient data" if a trial has fewer
    than 3 / FMR impostor comparisons, and carries a note if one has fewer than 30 / FMR.

    Args:
        trials: Trials with scores of the same systems, at least one.
        fmrs: False match rates, in (0, 1).
        draws: Number of bootstrap draws.
        seed: Seed for the bootstrap.

    Raises:
        InputError: If a trial has no genuine or no impostor comparison.
    """
    generator = np.random.default_rng(seed)
    for trial in trials:
        genuine, impostor = trial.pairs.counts
        if not genuine or not impostor:
            raise InputError(
                f"verification needs genuine and impostor comparisons, got {genuine} genuine of {genuine + impostor}: "
                "evaluate on at least two identities, one with two pictures."
            )
    weights = [identity_weights(trial.pairs, draws, generator) for trial in trials]
    systems = {name: _verify_system(name, trials, weights, fmrs, seed) for name in trials[0].systems}
    return VerificationReport(
        {name: verification for name, (verification, _) in systems.items()},
        {name: tars for name, (_, tars) in systems.items()},
    )


def _verify_system(
    name: str, trials: Sequence[AnyTrial], weights: Sequence[np.ndarray], fmrs: Sequence[float], seed: int
) -> tuple[Verification, dict[float, np.ndarray]]:
    """Return the rates of one system, and FMR -> (B,) TAR of every bootstrap draw."""
    systems = [trial.scores(name, fmrs, seed=seed) for trial in trials]
    genuine = np.array([len(scores.genuine) for scores in systems])
    impostor = np.array([scores.impostors for scores in systems])
    curves = [tars(scores, w, fmrs) for scores, w in zip(systems, weights, strict=True)]
    thresholds = np.average([threshold[0] for _, threshold in curves], axis=0)
    # (1 + B, F); the first row holds the data themselves
    drawn = np.average([tar for tar, _ in curves], axis=0, weights=genuine)
    tar_at_fmr = {
        fmr: interval(drawn[0, i], drawn[1:, i], note_for(fmr, impostor.min()))
        if is_supported(fmr, impostor.min())
        else INSUFFICIENT
        for i, fmr in enumerate(fmrs)
    }
    return Verification(
        tar_at_fmr,
        float(np.average([scores.eer for scores in systems], weights=genuine)),
        trials[0].accuracy(name, weights[0]) if len(trials) == 1 else None,
        trials[0].folds(name) if len(trials) == 1 else None,
        {fmr: float(threshold) for fmr, threshold in zip(fmrs, thresholds, strict=True)},
        int(genuine.sum()),
        int(impostor.sum()),
        sum(len(trial.pairs.people) for trial in trials),
    ), {fmr: drawn[1:, i] for i, fmr in enumerate(fmrs)}


def identity_weights(pairs: PairList | AllPairs, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Draw how often each identity counts in the bootstrap.

    Args:
        pairs: The pairs, whose identities are drawn with replacement.
        draws: Number B of draws.
        generator: Random generator.

    Returns:
        (1 + B, identities) float32 counts, where `identities` is the largest identity plus 1. The first row is 1 for
        every identity in the pairs.
    """
    people = pairs.people
    counts = np.zeros((1 + draws, int(pairs.identity.max()) + 1), np.float32)
    counts[:, people] = draw_identities(len(people), draws, generator)
    return counts


def tars(scores: Scores, weights: np.ndarray, fmrs: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Compute TAR and threshold at each FMR under each row of weights.

    The threshold is the largest impostor score such that the weight of the scores above and at it exceeds a share FMR
    of the total weight. A comparison matches if its score is larger, so the FMR never exceeds the requested one. If the
    tail is thinned, TAR and threshold of the first row are counted over all scores.

    Args:
        scores: Scores of one system.
        weights: (1 + B, identities) bootstrap counts, see `identity_weights`.
        fmrs: (F,) requested FMRs, in (0, 1).

    Returns:
        (1 + B, F) TAR, NaN for a row without weight on genuine comparisons; and (1 + B, F) thresholds.
    """
    # number of genuine comparisons that match if each impostor score is the threshold
    matches = scores.matches(scores.impostor)
    totals = scores.impostor_weight(weights)
    result = np.empty((len(weights), len(fmrs)))
    thresholds = np.empty_like(result)
    for row, stored in enumerate(weights):
        weight = stored.astype(float)
        false = weight[scores.first] * weight[scores.second]
        false_matches = np.cumsum(false if scores.copies is None else false * scores.copies)
        at = np.searchsorted(false_matches, np.asarray(fmrs) * totals[row], side="right")
        at = at.clip(max=len(scores.impostor) - 1)
        matched = np.concatenate([[0.0], np.cumsum(weight[scores.whose])])
        result[row] = matched[matches[at]] / matched[-1] if matched[-1] else np.nan
        thresholds[row] = scores.impostor[at]
    if scores.copies is not None:
        thresholds[0] = [scores.threshold(fmr) for fmr in fmrs]
        result[0] = scores.matches(thresholds[0]) / len(scores.genuine)
    return result, thresholds


def tar_in_order(genuine: np.ndarray, weights: np.ndarray, fmrs: Sequence[float]) -> float:
    """Return the mean over `fmrs` of the weighted TAR; NaN without weight on genuine or on impostor comparisons.

    Args:
        genuine: (P,) bool, True for genuine comparisons, in the order of descending scores.
        weights: (P,) weights of the comparisons in the same order, at least 0.
        fmrs: False match rates. The mean over several, evenly spaced on a log scale, varies less than a single TAR.

    >>> tar_in_order(np.array([True, False, True, False]), np.ones(4), fmrs=[0.1])
    0.5
    """
    true, false = np.cumsum(weights * genuine), np.cumsum(weights * ~genuine)
    if not (true[-1] and false[-1]):
        return float("nan")
    above = np.searchsorted(false, np.asarray(fmrs) * false[-1], side="right")
    return float(np.concatenate([[0.0], true])[above].mean() / true[-1])
