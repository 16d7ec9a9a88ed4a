"""Accuracy over folds of pairs, each at the threshold that is best on the other folds."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rsft.face.evaluation.bootstrap import interval, pair_counts
from rsft.face.evaluation.pairs import PairList
from rsft.types import Interval

# Squared distances of unit embeddings at which insightface's `verification.py` (and facenet's `lfw.py`) look.
GRID = np.arange(0, 4, 0.01)


@dataclass(frozen=True)
class FoldAccuracy:
    """Accuracies of K folds in brief. Folds share their training pairs, so that the errors are a rough guide.

    Attributes:
        mean: over folds.
        spread: standard deviation over the folds, with K in the denominator: the "+-" of insightface and facenet.
        standard_error: of the mean: the standard deviation with K - 1, over the root of K: the "+-" of LFW's tables.
    """

    mean: float
    spread: float
    standard_error: float


@dataclass(frozen=True)
class Folds:
    """K-fold accuracy by two rules.

    Attributes:
        count: K.
        exact: the threshold of each fold is halfway between the two scores where the others are right most often.
        grid: it is the first of the squared distances 0, .01, ... 3.99 where they are: what the reference code does.
    """

    count: int
    exact: FoldAccuracy
    grid: FoldAccuracy

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def folds_of(scores: np.ndarray, pairs: PairList) -> Folds | None:
    """Accuracy over the comparisons' folds; None if they have none.

    Args:
        scores: (P,) cosines.
        pairs: with folds.
    """
    genuine, fold = pairs.genuine, pairs.fold
    if fold is None:
        return None
    inside = [fold == held_out for held_out in np.unique(fold)]
    right = np.array([_right_on_grid(2 - 2 * scores[part], genuine[part]) for part in inside])
    thresholds = np.argmax(right.sum(0) - right, axis=1)  # the first of several
    grid = right[np.arange(len(inside)), thresholds] / [part.sum() for part in inside]
    exact = [
        np.mean((scores[part] > best_threshold(scores[~part], genuine[~part])) == genuine[part]) for part in inside
    ]
    return Folds(len(inside), _in_brief(np.array(exact)), _in_brief(grid))


def _right_on_grid(distances: np.ndarray, genuine: np.ndarray) -> np.ndarray:
    """How many comparisons are judged right at each distance of the grid; those below it are taken for genuine."""
    below, wrongly_below = (np.searchsorted(np.sort(distances[kind]), GRID) for kind in (genuine, ~genuine))
    return below + (~genuine).sum() - wrongly_below


def _in_brief(accuracies: np.ndarray) -> FoldAccuracy:
    error = accuracies.std(ddof=1) / np.sqrt(len(accuracies))
    return FoldAccuracy(float(accuracies.mean()), float(accuracies.std()), float(error))


def best_threshold(scores: np.ndarray, genuine: np.ndarray) -> float:
    """The score above which calling a comparison genuine is right most often, halfway to the next lower one.

    Args:
        scores: (P,).
        genuine: (P,) bool.

    >>> best_threshold(np.array([0.9, 0.5, 0.1]), np.array([True, True, False]))
    0.3
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    gain = np.concatenate([[0], np.cumsum(np.where(genuine[order], 1, -1))])
    # a threshold may only lie where the score changes
    gain[1:-1][ordered[:-1] == ordered[1:]] = -len(scores)
    best = int(np.argmax(gain))
    if best == 0:
        return float(ordered[0])
    return float(ordered[best - 1 :][:2].mean()) if best < len(ordered) else -np.inf


def fold_accuracy(scores: np.ndarray, pairs: PairList, weights: np.ndarray) -> Interval | None:
    """Return the accuracy with each fold at the threshold that is right most often on the other folds.

    Args:
        scores: (P,) of the pairs.
        pairs: P pairs.
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
    return interval(rates[0], rates[1:])


def _weighted_mean(values: np.ndarray, weights: np.ndarray, where: np.ndarray) -> np.ndarray:
    weights = weights[:, where]
    return weights @ values[where] / weights.sum(1).clip(min=1)
