"""1:1 verification in the terms of ISO/IEC 19795: TAR at a fixed FMR, EER, k-fold accuracy, with intervals.

Intervals come from a bootstrap over identities: an identity drawn k times counts k times in its genuine comparisons,
and a pair of identities k * l times in its impostor comparisons. Systems scored on the same comparisons share the
draws, so the interval of their difference is paired.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsft.errors import InputError
from rsft.face.comparisons import Comparisons, Everybody, all_comparisons
from rsft.face.everybody import normalised
from rsft.face.folds import Folds, best_threshold, folds_of
from rsft.face.scores import Scores, everybodys_scores, listed_scores
from rsft.types import CONFIDENCE, Interval

__all__ = [
    "FMRS",
    "Comparisons",
    "EmbeddedTrial",
    "Trial",
    "Verification",
    "VerificationReport",
    "all_comparisons",
    "cosine_scores",
    "identity_weights",
    "interval",
    "scored",
    "scores_of",
    "tar_in_order",
    "verify",
]

FMRS = (0.01, 0.001, 0.0001)
# At the least so many expected false matches support a threshold; 30 make it sure (J. Doddington's rule of 30).
MIN_FALSE_MATCHES = 3
SURE_FALSE_MATCHES = 30
FEW_IMPOSTORS = "fewer impostor comparisons than 30 / FMR"
BLOCK_VALUES = 1 << 24  # of embeddings that are copied at a time
DENSE_FACTOR = 4  # a product costs less than so many times the comparisons looked up one by one
MAX_LISTED = 1 << 23  # comparisons, with 20 bytes each; more are scored in blocks


@dataclass(frozen=True)
class Trial:
    """Scores of one or several systems on the same comparisons; a higher score means more alike.

    Attributes:
        comparisons: what was compared.
        scores: for each system's name, (P,).
    """

    comparisons: Comparisons
    scores: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class EmbeddedTrial:
    """Embeddings of one or several systems for everybody against everybody; scored in blocks.

    Attributes:
        comparisons: what is compared.
        embeddings: for each system's name, (N, D).
    """

    comparisons: Everybody
    embeddings: Mapping[str, np.ndarray]


AnyTrial = Trial | EmbeddedTrial


@dataclass(frozen=True)
class Verification:
    """How well a system's scores tell genuine from impostor comparisons.

    Attributes:
        tar_at_fmr: for each FMR, the share of genuine comparisons above the threshold at which at most that share of
            the impostor comparisons lies above.
        eer: where FMR and FNMR are equal.
        accuracy: k-fold, each fold at the threshold that is best on the others; None without folds.
        folds: how accuracy varies over the folds; None without folds.
        thresholds: score of each FMR in `tar_at_fmr`, the mean over trials.
        pairs_genuine: number of genuine comparisons.
        pairs_impostor: number of impostor comparisons.
    """

    tar_at_fmr: Mapping[float, Interval]
    eer: float
    accuracy: Interval | None
    folds: Folds | None
    thresholds: Mapping[float, float]
    pairs_genuine: int
    pairs_impostor: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON, FMRs as text."""
        return {
            "tar_at_fmr": {f"{fmr:g}": interval.to_dict() for fmr, interval in self.tar_at_fmr.items()},
            "eer": self.eer,
            "accuracy": self.accuracy.to_dict() if self.accuracy else None,
            "folds": self.folds.to_dict() if self.folds else None,
            "thresholds": {f"{fmr:g}": threshold for fmr, threshold in self.thresholds.items()},
            "pairs_genuine": self.pairs_genuine,
            "pairs_impostor": self.pairs_impostor,
        }


@dataclass(frozen=True)
class VerificationReport:
    """All systems of the trials, and the draws that make their differences paired.

    Attributes:
        systems: each system's figures.
        draws: for each system and FMR, (B,) TAR of every bootstrap draw.
    """

    systems: Mapping[str, Verification]
    draws: Mapping[str, Mapping[float, np.ndarray]]

    def difference(self, system: str, reference: str, fmr: float) -> Interval:
        """TAR of `system` less that of `reference` at `fmr`, with its paired interval."""
        values = [self.systems[name].tar_at_fmr[fmr] for name in (system, reference)]
        if values[0].value is None or values[1].value is None:
            return values[0]
        draws = self.draws[system][fmr] - self.draws[reference][fmr]
        return interval(values[0].value - values[1].value, draws, values[0].note)

    def differences(self, system: str, reference: str) -> dict[str, Any]:
        """`difference` at every FMR, for JSON."""
        return {f"{fmr:g}": self.difference(system, reference, fmr).to_dict() for fmr in self.draws[system]}


def scored(embeddings: Mapping[str, np.ndarray], comparisons: Comparisons | Everybody) -> AnyTrial:
    """A trial of systems by their embeddings; what need not be listed is not, where it is much.

    Args:
        embeddings: for each system's name, (N, D).
        comparisons: between these N pictures.
    """
    if isinstance(comparisons, Everybody) and len(comparisons) > MAX_LISTED:
        return EmbeddedTrial(comparisons, embeddings)
    listed = comparisons.listed()
    return Trial(listed, {name: cosine_scores(values, listed) for name, values in embeddings.items()})


def cosine_scores(embeddings: np.ndarray, comparisons: Comparisons) -> np.ndarray:
    """Cosine of the two embeddings of each comparison: (N, D) -> (P,) float32 in [-1, 1].

    Where a block of comparisons is much of all that its first pictures could have, as where everybody is compared with
    everybody, it is read from a product of matrices.

    Raises:
        InputError: an embedding has no direction.
    """
    unit = normalised(embeddings)
    scores = np.empty(len(comparisons), np.float32)
    block = max(1, BLOCK_VALUES // unit.shape[1])
    for start in range(0, len(scores), block):
        part = slice(start, start + block)
        a, b = comparisons.a[part], comparisons.b[part]
        lowest, highest = int(a.min()), int(a.max()) + 1
        if (highest - lowest) * len(unit) < DENSE_FACTOR * len(a):
            scores[part] = (unit[lowest:highest] @ unit.T)[a - lowest, b]
        else:
            scores[part] = np.einsum("pd,pd->p", unit[a], unit[b])
    return scores


def verify(
    trials: Sequence[AnyTrial], *, fmrs: Sequence[float] = FMRS, draws: int = 1000, seed: int = 0
) -> VerificationReport:
    """TAR at each FMR, EER and accuracy of every system, with 95 % intervals.

    Each trial has its own threshold, since scores of different models are not comparable; TARs are averaged over
    trials, weighted by their genuine comparisons. An FMR is "insufficient data" where a trial has fewer than 3 / FMR
    impostor comparisons, and carries a note below 30 / FMR.

    Args:
        trials: at least one; all have scores of the same systems.
        fmrs: false match rates, in (0, 1).
        draws: number of bootstrap draws.
        seed: of the bootstrap.

    Raises:
        InputError: a trial has no genuine or no impostor comparison.
    """
    generator = np.random.default_rng(seed)
    for trial in trials:
        genuine, impostor = trial.comparisons.counts
        if not genuine or not impostor:
            raise InputError(
                f"verification needs genuine and impostor comparisons, got {genuine} genuine of {genuine + impostor}: "
                "evaluate on at least two identities, one with two pictures."
            )
    weights = [identity_weights(trial.comparisons, draws, generator) for trial in trials]
    names = trials[0].scores if isinstance(trials[0], Trial) else trials[0].embeddings
    systems = {name: _verify_system(name, trials, weights, fmrs, seed) for name in names}
    return VerificationReport(
        {name: verification for name, (verification, _) in systems.items()},
        {name: tars for name, (_, tars) in systems.items()},
    )


def scores_of(
    trial: AnyTrial, name: str, fmrs: Sequence[float], *, below: float | None = None, seed: int = 0
) -> Scores:
    """The scores of one system of a trial; see `listed_scores` and `everybodys_scores`."""
    if isinstance(trial, Trial):
        return listed_scores(trial.scores[name], trial.comparisons, fmrs, below)
    return everybodys_scores(trial.embeddings[name], trial.comparisons, fmrs, below, seed=seed)


def _verify_system(
    name: str, trials: Sequence[AnyTrial], weights: Sequence[np.ndarray], fmrs: Sequence[float], seed: int
) -> tuple[Verification, dict[float, np.ndarray]]:
    systems = [scores_of(trial, name, fmrs, seed=seed) for trial in trials]
    genuine = np.array([len(scores.genuine) for scores in systems])
    impostor = np.array([scores.impostors for scores in systems])
    curves = [tars(scores, w, fmrs) for scores, w in zip(systems, weights, strict=True)]
    thresholds = np.average([threshold[0] for _, threshold in curves], axis=0)
    # (1 + B, F), the first row that of the data themselves
    drawn = np.average([tar for tar, _ in curves], axis=0, weights=genuine)
    tar_at_fmr = {
        fmr: Interval(None, None, None, "insufficient data")
        if impostor.min() < MIN_FALSE_MATCHES / fmr
        else interval(drawn[0, i], drawn[1:, i], None if impostor.min() >= SURE_FALSE_MATCHES / fmr else FEW_IMPOSTORS)
        for i, fmr in enumerate(fmrs)
    }
    return Verification(
        tar_at_fmr,
        float(np.average([scores.eer for scores in systems], weights=genuine)),
        _accuracy(trials, name, weights),
        folds_of(trials[0].scores[name], trials[0].comparisons)
        if len(trials) == 1 and isinstance(trials[0], Trial)
        else None,
        {fmr: float(threshold) for fmr, threshold in zip(fmrs, thresholds, strict=True)},
        int(genuine.sum()),
        int(impostor.sum()),
    ), {fmr: drawn[1:, i] for i, fmr in enumerate(fmrs)}


def identity_weights(comparisons: Comparisons | Everybody, draws: int, generator: np.random.Generator) -> np.ndarray:
    """(1 + B, identities) counts: all ones, then as many draws with replacement as there are identities."""
    people = comparisons.people
    counts = np.zeros((1 + draws, int(comparisons.identity.max()) + 1), np.float32)
    counts[0, people] = 1
    for row in range(1, 1 + draws):
        counts[row, people] = generator.multinomial(len(people), np.full(len(people), 1 / len(people)))
    return counts


def tars(scores: Scores, weights: np.ndarray, fmrs: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """TAR and threshold at each FMR, (1 + B, F) both, for every row of weights.

    The threshold is the impostor score at which the weight of those above and at it first exceeds FMR times the whole;
    a comparison matches when its score is larger, so the FMR is never above the one asked for. Where the tail is a
    draw, TAR and threshold of the first row are counted over all scores.
    """
    # how many genuine comparisons match at each impostor score taken as threshold
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


def _accuracy(trials: Sequence[AnyTrial], name: str, weights: Sequence[np.ndarray]) -> Interval | None:
    """Each fold at the threshold that is right most often on the others."""
    trial = trials[0]
    if len(trials) > 1 or isinstance(trial, EmbeddedTrial) or trial.comparisons.fold is None:
        return None
    comparisons, scores = trial.comparisons, trial.scores[name]
    genuine, fold = comparisons.genuine, trial.comparisons.fold
    correct = np.empty(len(scores))
    for held_out in np.unique(fold):
        inside = fold == held_out
        threshold = best_threshold(scores[~inside], genuine[~inside])
        correct[inside] = (scores[inside] > threshold) == genuine[inside]
    w_a = weights[0][:, comparisons.identity[comparisons.a]]
    pair_weights = np.where(genuine, w_a, w_a * weights[0][:, comparisons.identity[comparisons.b]])
    share = genuine.mean()
    rates = share * _weighted_mean(correct, pair_weights, genuine)
    rates += (1 - share) * _weighted_mean(correct, pair_weights, ~genuine)
    return interval(rates[0], rates[1:])


def _weighted_mean(values: np.ndarray, weights: np.ndarray, where: np.ndarray) -> np.ndarray:
    weights = weights[:, where]
    return weights @ values[where] / weights.sum(1).clip(min=1)


def interval(value: float, draws: np.ndarray, note: str | None = None) -> Interval:
    """A value with the middle 95 % of its draws."""
    low, high = np.nanquantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(value), float(low), float(high), note)


def tar_in_order(genuine: np.ndarray, weights: np.ndarray, fmrs: Sequence[float]) -> float:
    """Mean over `fmrs` of the TAR in which each comparison counts by its weight; NaN without both kinds.

    Args:
        genuine: (P,) bool, of comparisons sorted by falling score.
        weights: (P,) of these, at least 0.
        fmrs: false match rates; several, spread evenly on a log scale, vary less than one.

    >>> tar_in_order(np.array([True, False, True, False]), np.ones(4), fmrs=[0.1])
    0.5
    """
    true, false = np.cumsum(weights * genuine), np.cumsum(weights * ~genuine)
    if not (true[-1] and false[-1]):
        return float("nan")
    above = np.searchsorted(false, np.asarray(fmrs) * false[-1], side="right")
    return float(np.concatenate([[0.0], true])[above].mean() / true[-1])
