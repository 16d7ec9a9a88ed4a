"""K-fold accuracy of listed pairs, with each fold at the threshold that is best on the other folds."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rsft.face.evaluation.bootstrap import interval, pair_counts
from rsft.face.evaluation.pairs import PairList
from rsft.types import Interval

# Squared distances of unit embeddings that insightface's `verification.py` and facenet's `lfw.py` try as thresholds.
GRID = np.arange(0, 4, 0.01)


@dataclass(frozen=True)
class FoldAccuracy:
    """Mean accuracy over K folds, and its errors. The folds share training pairs, so the errors are a rough guide.

    Attributes:
        mean: Mean over the folds.
        spread: Standard deviation over the folds with denominator K, the "+-" of insightface and facenet.
        standard_error: Standard error of the mean, from the standard deviation with denominator K - 1; the "+-" of the
            LFW tables.
    """

    mean: float
    spread: float
    standard_error: float


@dataclass(frozen=True)
class Folds:
    """K-fold accuracy by two rules for the threshold of each fold.

    Attributes:
        count: Number K of folds.
        exact: Accuracy if the threshold is halfway between the two scores at which the other folds are most accurate.
        grid: Accuracy if the threshold is the first of the squared distances 0, 0.01, ..., 3.99 at which the other
            folds are most accurate, as in the code of insightface and facenet.
        note: Remark of `note_on_folds`, or None.
    """

    count: int
    exact: FoldAccuracy
    grid: FoldAccuracy
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary, with `note` only if there is one."""
        return {key: value for key, value in asdict(self).items() if key != "note" or value is not None}


def folds_of(scores: np.ndarray, pairs: PairList) -> Folds | None:
    """Compute the accuracy over the folds of listed pairs.

    Args:
        scores: (P,) cosines.
        pairs: The P pairs.

    Returns:
        The accuracy by both rules, or None if the pairs have no folds.
    """
    genuine, fold = pairs.genuine, pairs.fold
    if fold is None:
        return None
    inside = [fold == held_out for held_out in np.unique(fold)]
    right = np.array([_right_on_grid(2 - 2 * scores[part], genuine[part]) for part in inside])
    thresholds = np.argmax(right.sum(0) - right, axis=1)  # the first of equal ones
    grid = right[np.arange(len(inside)), thresholds] / [part.sum() for part in inside]
    exact = [
        np.mean((scores[part] > best_threshold(scores[~part], genuine[~part])) == genuine[part]) for part in inside
    ]
    return Folds(len(inside), _in_brief(np.array(exact)), _in_brief(grid), note_on_folds(pairs))


def note_on_folds(pairs: PairList) -> str | None:
    """Return a remark if folds hold pairs of one kind only, otherwise None.

    The other folds then have the two kinds in other shares, so that their best threshold errs on just this fold: in a
    list with the genuine pairs first, a system that guesses is right less than half of the time.
    """
    folds = np.unique([] if pairs.fold is None else pairs.fold)
    alone = sum(len(np.unique(pairs.genuine[pairs.fold == fold])) == 1 for fold in folds)
    if not alone:
        return None
    return f"{alone} of {len(folds)} folds hold genuine or impostor pairs only: deal both kinds to every fold"


def _right_on_grid(distances: np.ndarray, genuine: np.ndarray) -> np.ndarray:
    """Count the correct decisions at each distance of the grid, if smaller distances are called genuine."""
    below, wrongly_below = (np.searchsorted(np.sort(distances[kind]), GRID) for kind in (genuine, ~genuine))
    return below + (~genuine).sum() - wrongly_below


def _in_brief(accuracies: np.ndarray) -> FoldAccuracy:
    """Summarise the accuracies (K,) of the folds."""
    error = accuracies.std(ddof=1) / np.sqrt(len(accuracies))
    return FoldAccuracy(float(accuracies.mean()), float(accuracies.std()), float(error))


def best_threshold(scores: np.ndarray, genuine: np.ndarray) -> float:
    """Return the threshold with the highest accuracy, if comparisons with larger scores are called genuine.

    The threshold is halfway between two neighbouring scores. It is the largest score if no comparison should be called
    genuine, and -inf if all should.

    Args:
        scores: (P,) scores.
        genuine: (P,) bool, True for genuine pairs.

    >>> best_threshold(np.array([0.9, 0.5, 0.1]), np.array([True, True, False]))
    0.3
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    gain = np.concatenate([[0], np.cumsum(np.where(genuine[order], 1, -1))])
    # a threshold can only separate scores that differ
    gain[1:-1][ordered[:-1] == ordered[1:]] = -len(scores)
    best = int(np.argmax(gain))
    if best == 0:
        return float(ordered[0])
    return float(ordered[best - 1 :][:2].mean()) if best < len(ordered) else -np.inf


def fold_accuracy(scores: np.ndarray, pairs: PairList, weights: np.ndarray) -> Interval | None:
    """Return the accuracy with each fold at the threshold that is right most often on the other folds.

    Args:
        scores: (P,) scores of the pairs.
        pairs: The P pairs.
        weights: (1 + B, identities) bootstrap counts, the first row all ones; see `identity_weights`.

    Returns:
        The accuracy with its interval, or None if the pairs have no folds.
    """
    if pairs.fold is None:
        return None
    genuine, fold = pairs.genuine, pairs.fold
    correct = np.empty(len(scores))
    for held_out in np.unique(fold):
        inside = fold == held_out
        threshold = best_threshold(scores[~inside], genuine[~inside])
        correct[inside] = (scores[inside] > threshold) == genuine[inside]
    first, second = (weights[:, pairs.identity[index]] for index in (pairs.a, pairs.b))
    counts = pair_counts(genuine, first, second)
    share = genuine.mean()
    rates = share * _weighted_mean(correct, counts, genuine)
    rates += (1 - share) * _weighted_mean(correct, counts, ~genuine)
    return interval(rates[0], rates[1:], note_on_folds(pairs))


def _weighted_mean(values: np.ndarray, weights: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return the mean of the values selected by `where`, for each row of weights."""
    weights = weights[:, where]
    totals = weights.sum(1)
    return np.divide(weights @ values[where], totals, out=np.full(len(weights), np.nan), where=totals > 0)
