"""1:1 verification in the terms of ISO/IEC 19795: TAR at a fixed FMR, EER, k-fold accuracy, with intervals.

Intervals come from a bootstrap over identities: an identity drawn k times counts k times in its genuine comparisons,
and a pair of identities k * l times in its impostor comparisons. Systems scored on the same comparisons share the
draws, so the interval of their difference is paired.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.metrics import roc_curve

from rsft.errors import InputError
from rsft.types import CONFIDENCE, Interval

FMRS = (0.01, 0.001, 0.0001)
# At the least so many expected false matches support a threshold; 30 make it sure (J. Doddington's rule of 30).
MIN_FALSE_MATCHES = 3
SURE_FALSE_MATCHES = 30
FEW_IMPOSTORS = "fewer impostor comparisons than 30 / FMR"
# Only the largest impostor scores can set a threshold; resampling moves it well within this factor.
TAIL_FACTOR = 5
MIN_TAIL = 20_000
DENSE_FACTOR = 4  # a product costs less than so many times the comparisons looked up one by one


@dataclass(frozen=True)
class Comparisons:
    """Which pictures are compared, and who is in them.

    Attributes:
        a: (P,) index of the first picture.
        b: (P,) index of the second.
        identity: (N,) int, of every picture.
        fold: (P,) int of the protocol's folds, or None.
    """

    a: np.ndarray
    b: np.ndarray
    identity: np.ndarray
    fold: np.ndarray | None = None

    @property
    def genuine(self) -> np.ndarray:
        """(P,) bool: both pictures show one person."""
        return self.identity[self.a] == self.identity[self.b]


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
class Verification:
    """How well a system's scores tell genuine from impostor comparisons.

    Attributes:
        tar_at_fmr: for each FMR, the share of genuine comparisons above the threshold at which at most that share of
            the impostor comparisons lies above.
        eer: where FMR and FNMR are equal.
        accuracy: k-fold, each fold at the threshold that is best on the others; None without folds.
        thresholds: score of each FMR in `tar_at_fmr`, the mean over trials.
        pairs_genuine: number of genuine comparisons.
        pairs_impostor: number of impostor comparisons.
    """

    tar_at_fmr: Mapping[float, Interval]
    eer: float
    accuracy: Interval | None
    thresholds: Mapping[float, float]
    pairs_genuine: int
    pairs_impostor: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON, FMRs as text."""
        return {
            "tar_at_fmr": {f"{fmr:g}": interval.to_dict() for fmr, interval in self.tar_at_fmr.items()},
            "eer": self.eer,
            "accuracy": self.accuracy.to_dict() if self.accuracy else None,
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
        return _interval(values[0].value - values[1].value, draws, values[0].note)

    def differences(self, system: str, reference: str) -> dict[str, Any]:
        """`difference` at every FMR, for JSON."""
        return {f"{fmr:g}": self.difference(system, reference, fmr).to_dict() for fmr in self.draws[system]}


def all_comparisons(identity: Sequence[int] | np.ndarray) -> Comparisons:
    """Every picture against every other, once.

    >>> comparisons = all_comparisons([0, 0, 1])
    >>> comparisons.a.tolist(), comparisons.b.tolist(), comparisons.genuine.tolist()
    ([0, 0, 1], [1, 2, 2], [True, False, False])
    """
    identity = np.asarray(identity)
    a, b = (index.astype(np.int32) for index in np.triu_indices(len(identity), 1))
    return Comparisons(a, b, identity)


def cosine_scores(embeddings: np.ndarray, comparisons: Comparisons, block: int = 1_000_000) -> np.ndarray:
    """Cosine of the two embeddings of each comparison: (N, D) -> (P,) float32 in [-1, 1].

    Where a block of comparisons is much of all that its first pictures could have, as where everybody is compared with
    everybody, it is read from a product of matrices.
    """
    # in float64, since squares of a network that training has wrecked do not fit float32
    norms = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    unit = (embeddings / norms).astype(np.float32)
    scores = np.empty(len(comparisons.a), np.float32)
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
    trials: Sequence[Trial], *, fmrs: Sequence[float] = FMRS, draws: int = 1000, seed: int = 0
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
        genuine = trial.comparisons.genuine
        if genuine.all() or not genuine.any():
            raise InputError(
                f"verification needs genuine and impostor comparisons, got {int(genuine.sum())} genuine of "
                f"{len(genuine)}: evaluate on at least two identities, one with two pictures."
            )
    weights = [_identity_weights(trial.comparisons, draws, generator) for trial in trials]
    systems = {name: _verify_system(name, trials, weights, fmrs) for name in trials[0].scores}
    return VerificationReport(
        {name: verification for name, (verification, _) in systems.items()},
        {name: tars for name, (_, tars) in systems.items()},
    )


def _verify_system(
    name: str, trials: Sequence[Trial], weights: Sequence[np.ndarray], fmrs: Sequence[float]
) -> tuple[Verification, dict[float, np.ndarray]]:
    genuine = np.array([trial.comparisons.genuine.sum() for trial in trials])
    impostor = np.array([(~trial.comparisons.genuine).sum() for trial in trials])
    curves = [_tars(trial, name, w, fmrs) for trial, w in zip(trials, weights, strict=True)]
    thresholds = np.average([threshold for _, threshold in curves], axis=0)
    # (1 + B, F), the first row that of the data themselves
    tars = np.average([tar for tar, _ in curves], axis=0, weights=genuine)
    tar_at_fmr = {
        fmr: Interval(None, None, None, "insufficient data")
        if impostor.min() < MIN_FALSE_MATCHES / fmr
        else _interval(tars[0, i], tars[1:, i], None if impostor.min() >= SURE_FALSE_MATCHES / fmr else FEW_IMPOSTORS)
        for i, fmr in enumerate(fmrs)
    }
    return Verification(
        tar_at_fmr,
        float(np.average([_eer(trial, name) for trial in trials], weights=genuine)),
        _accuracy(trials, name, weights),
        {fmr: float(threshold) for fmr, threshold in zip(fmrs, thresholds, strict=True)},
        int(genuine.sum()),
        int(impostor.sum()),
    ), {fmr: tars[1:, i] for i, fmr in enumerate(fmrs)}


def _identity_weights(comparisons: Comparisons, draws: int, generator: np.random.Generator) -> np.ndarray:
    """(1 + B, identities) counts: all ones, then as many draws with replacement as there are identities."""
    people = np.unique(comparisons.identity[np.concatenate([comparisons.a, comparisons.b])])
    counts = np.zeros((1 + draws, int(comparisons.identity.max()) + 1))
    counts[0, people] = 1
    counts[1:, people] = generator.multinomial(len(people), np.full(len(people), 1 / len(people)), size=draws)
    return counts


def _tars(trial: Trial, name: str, weights: np.ndarray, fmrs: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """(1 + B, F) TAR for every row of weights, and the (F,) thresholds of the first.

    The threshold is the impostor score at which the weight of those above and at it first exceeds FMR times the whole;
    a comparison matches when its score is larger, so the FMR is never above the one asked for.
    """
    scores, comparisons = trial.scores[name], trial.comparisons
    genuine = comparisons.genuine
    person_a, person_b = comparisons.identity[comparisons.a], comparisons.identity[comparisons.b]
    genuine_order = np.flatnonzero(genuine)[np.argsort(-scores[genuine])]
    genuine_scores, genuine_person = scores[genuine_order], person_a[genuine_order]
    impostor = np.flatnonzero(~genuine)
    tail = max(MIN_TAIL, int(TAIL_FACTOR * max(fmrs) * len(impostor)))
    totals = _impostor_weight(person_a[impostor], person_b[impostor], weights)
    if tail < len(impostor):
        impostor = impostor[np.argpartition(-scores[impostor], tail)[:tail]]
    impostor = impostor[np.argsort(-scores[impostor])]
    impostor_scores, first, second = scores[impostor], person_a[impostor], person_b[impostor]
    # how many genuine comparisons match at each impostor score taken as threshold
    matches = np.searchsorted(-genuine_scores, -impostor_scores, side="left")
    tars = np.empty((len(weights), len(fmrs)))
    thresholds = np.empty(len(fmrs))
    for row, weight in enumerate(weights):
        false_matches = np.cumsum(weight[first] * weight[second])
        at = np.searchsorted(false_matches, np.asarray(fmrs) * totals[row], side="right").clip(max=len(impostor) - 1)
        matched = np.concatenate([[0.0], np.cumsum(weight[genuine_person])])
        tars[row] = matched[matches[at]] / matched[-1] if matched[-1] else np.nan
        if row == 0:
            thresholds = impostor_scores[at]
    return tars, thresholds


def _impostor_weight(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(1 + B,) sum over impostor comparisons of the product of their identities' weights."""
    people = weights.shape[1]
    counts = scipy.sparse.coo_array((np.ones(len(first)), (first, second)), shape=(people, people)).tocsr()
    return np.einsum("bi,bi->b", weights, (counts @ weights.T).T)


def _eer(trial: Trial, name: str) -> float:
    fmr, tar, _ = roc_curve(trial.comparisons.genuine, trial.scores[name])
    crossing = np.argmin(np.abs(fmr - (1 - tar)))
    return float((fmr[crossing] + 1 - tar[crossing]) / 2)


def _accuracy(trials: Sequence[Trial], name: str, weights: Sequence[np.ndarray]) -> Interval | None:
    """Each fold at the threshold that is right most often on the others."""
    comparisons, scores = trials[0].comparisons, trials[0].scores[name]
    genuine, fold = comparisons.genuine, comparisons.fold
    if len(trials) > 1 or fold is None:
        return None
    correct = np.empty(len(scores))
    for held_out in np.unique(fold):
        inside = fold == held_out
        threshold = _best_threshold(scores[~inside], genuine[~inside])
        correct[inside] = (scores[inside] > threshold) == genuine[inside]
    w_a = weights[0][:, comparisons.identity[comparisons.a]]
    pair_weights = np.where(genuine, w_a, w_a * weights[0][:, comparisons.identity[comparisons.b]])
    share = genuine.mean()
    rates = share * _weighted_mean(correct, pair_weights, genuine)
    rates += (1 - share) * _weighted_mean(correct, pair_weights, ~genuine)
    return _interval(rates[0], rates[1:])


def _weighted_mean(values: np.ndarray, weights: np.ndarray, where: np.ndarray) -> np.ndarray:
    weights = weights[:, where]
    return weights @ values[where] / weights.sum(1).clip(min=1)


def _best_threshold(scores: np.ndarray, genuine: np.ndarray) -> float:
    """The score above which calling a comparison genuine is right most often, halfway to the next lower one."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    gain = np.concatenate([[0], np.cumsum(np.where(genuine[order], 1, -1))])
    # a threshold may only lie where the score changes
    gain[1:-1][ordered[:-1] == ordered[1:]] = -len(scores)
    best = int(np.argmax(gain))
    if best == 0:
        return float(ordered[0])
    return float(ordered[best - 1 :][:2].mean()) if best < len(ordered) else -np.inf


def _interval(value: float, draws: np.ndarray, note: str | None = None) -> Interval:
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
