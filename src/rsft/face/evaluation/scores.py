"""Sorted scores for verification: all genuine scores, and the impostor scores that can set a threshold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.sparse
from sklearn.metrics import roc_curve

from rsft.face.evaluation.all_pairs import bin_edges, genuine_scores, impostor_tail, normalised
from rsft.face.evaluation.pairs import AllPairs, PairList

# Only the largest impostor scores can set a threshold. The factor leaves ample room for bootstrap draws.
TAIL_FACTOR = 5
MIN_TAIL = 20_000
MAX_TAIL = 1 << 21


@dataclass(frozen=True)
class Scores:
    """Scores of one system. Only a tail of the largest impostor scores is kept.

    Attributes:
        genuine: (G,) genuine scores, descending.
        whose: (G,) identity of each genuine score.
        impostor: (T,) impostor scores of the tail, descending.
        first: (T,) identity of one picture of each impostor score.
        second: (T,) identity of the other picture.
        copies: (T,) number of comparisons that each impostor score stands for, or None if it is 1 for all.
        impostors: Number of all impostor comparisons.
        levels: (K,) scores at which a threshold may lie, descending.
        above: (K,) number of impostor scores above each level, counted over all comparisons.
        eer: Equal error rate, at which FMR and FNMR are equal.
        impostor_weight: Function from the weights (W, identities) to the sum (W,), over all impostor comparisons, of
            the product of the weights of both identities.
    """

    genuine: np.ndarray
    whose: np.ndarray
    impostor: np.ndarray
    first: np.ndarray
    second: np.ndarray
    copies: np.ndarray | None
    impostors: int
    levels: np.ndarray
    above: np.ndarray
    eer: float
    impostor_weight: Callable[[np.ndarray], np.ndarray]

    def threshold(self, fmr: float) -> float:
        """Return the lowest level above which at most a share `fmr` of the impostor scores lies."""
        allowed = int(np.searchsorted(self.above, fmr * self.impostors, side="right"))
        return float(self.levels[max(allowed - 1, 0)])

    def false_matches(self, threshold: float) -> int:
        """Count the impostor scores above a threshold, which is a level, or a score of a tail that is not thinned."""
        if self.copies is None and threshold >= self.impostor[-1]:
            return int(np.searchsorted(-self.impostor, -threshold, side="left"))
        level = int(np.searchsorted(-self.levels, -threshold, side="left"))
        return int(self.above[min(level, len(self.above) - 1)])

    def matches(self, thresholds: np.ndarray) -> np.ndarray:
        """Count the genuine scores above each threshold (K,)."""
        return np.searchsorted(-self.genuine, -np.asarray(thresholds), side="left")


def listed_scores(scores: np.ndarray, pairs: PairList, fmrs: Sequence[float], below: float | None = None) -> Scores:
    """Sort the scores of listed pairs.

    Args:
        scores: (P,) scores.
        pairs: The P pairs.
        fmrs: False match rates. The tail holds their thresholds, also in bootstrap draws.
        below: Score down to which the tail must reach, or None.
    """
    genuine = pairs.genuine
    person_a, person_b = pairs.identity[pairs.a], pairs.identity[pairs.b]
    genuine_order = np.flatnonzero(genuine)[np.argsort(-scores[genuine])]
    impostor = np.flatnonzero(~genuine)
    all_impostors = np.sort(scores[impostor])
    tail = max(MIN_TAIL, int(TAIL_FACTOR * max(fmrs) * len(impostor)))
    if below is not None:
        tail = max(tail, int((all_impostors > below).sum()))
    weight = partial(_listed_weight, person_a[impostor], person_b[impostor])
    if tail < len(impostor):
        impostor = impostor[np.argpartition(-scores[impostor], tail)[:tail]]
    impostor = impostor[np.argsort(-scores[impostor])]
    fmr, tar, _ = roc_curve(genuine, scores)
    crossing = np.argmin(np.abs(fmr - (1 - tar)))
    levels = all_impostors[::-1]
    return Scores(
        genuine=scores[genuine_order],
        whose=person_a[genuine_order],
        impostor=scores[impostor],
        first=person_a[impostor],
        second=person_b[impostor],
        copies=None,
        impostors=len(all_impostors),
        levels=levels,
        above=len(all_impostors) - np.searchsorted(all_impostors, levels, side="right"),
        eer=float((fmr[crossing] + 1 - tar[crossing]) / 2),
        impostor_weight=weight,
    )


def all_pairs_scores(
    embeddings: np.ndarray,
    everybody: AllPairs,
    fmrs: Sequence[float],
    below: float | None = None,
    *,
    max_tail: int = MAX_TAIL,
    seed: int = 0,
) -> Scores:
    """Score all pairs of embeddings in blocks. Only the genuine scores and the tail are kept.

    The impostor scores above each level are counted over all comparisons, so FMR and TAR are exact at the levels, which
    are 2^-17 apart. The EER is that of the level at which FMR and FNMR are closest. If the tail has at most `max_tail`
    comparisons, it is complete, and all results equal those of `listed_scores` up to the rounding of scores.

    Args:
        embeddings: (N, D) embeddings.
        everybody: All pairs of these N pictures.
        fmrs: False match rates, see `listed_scores`.
        below: Score down to which the tail must reach, see `listed_scores`.
        max_tail: Number of comparisons above which the tail is thinned. A random part of the comparisons between the
            thresholds of consecutive rates is then kept, and each kept comparison stands for several.
        seed: Seed for the thinning.

    Raises:
        InputError: If an embedding has length 0 or is not finite, or if there are too many genuine comparisons.
    """
    order = np.argsort(everybody.identity, kind="stable")
    identity = everybody.identity[order]
    unit = normalised(embeddings)[order]
    genuine, whose = genuine_scores(unit, identity)
    _, impostors = everybody.counts
    sizes = np.unique([min(impostors, max(MIN_TAIL, int(TAIL_FACTOR * fmr * impostors))) for fmr in fmrs])
    tail = impostor_tail(
        unit,
        identity,
        sizes,
        at_least=min(impostors, max(MIN_TAIL, int(2 * max(fmrs) * impostors))),
        budget=max_tail,
        below=below,
        generator=np.random.default_rng(seed),
    )
    descending, genuine_order = np.argsort(-tail.scores), np.argsort(-genuine)
    genuine = genuine[genuine_order]
    # a bin includes its lower edge, so the level is the next smaller number
    edges = bin_edges()[::-1]
    bin_levels, bin_above = np.nextafter(edges, np.float32(-2)), np.cumsum(tail.histogram[::-1])
    fmr = bin_above / impostors
    fnmr = 1 - np.searchsorted(-genuine, -bin_levels, side="left") / len(genuine)
    crossing = np.argmin(np.abs(fmr - fnmr))
    return Scores(
        genuine=genuine,
        whose=whose[genuine_order],
        impostor=tail.scores[descending],
        first=tail.first[descending],
        second=tail.second[descending],
        copies=tail.copies[descending] if tail.thinned else None,
        impostors=impostors,
        levels=bin_levels,
        above=bin_above,
        eer=float((fmr[crossing] + fnmr[crossing]) / 2),
        impostor_weight=partial(_everybodys_weight, np.bincount(identity)),
    )


def false_match_rates(scores: Scores, weights: np.ndarray, threshold: float) -> np.ndarray:
    """Compute the FMR at a threshold under each row of weights.

    Args:
        scores: Scores of one system, with a tail that reaches down to the threshold.
        weights: (W, identities) weights.
        threshold: The threshold.

    Returns:
        (W,) FMR.
    """
    hit = scores.impostor > threshold
    copies = None if scores.copies is None else scores.copies[hit]
    weighed = _listed_weight(scores.first[hit], scores.second[hit], weights, copies)
    return weighed / np.maximum(scores.impostor_weight(weights), 1)


def false_non_match_rates(scores: Scores, weights: np.ndarray, threshold: float) -> np.ndarray:
    """Compute the FNMR at a threshold under each row of weights.

    Args:
        scores: Scores of one system.
        weights: (W, identities) weights.
        threshold: The threshold.

    Returns:
        (W,) FNMR, NaN for a row without weight on genuine comparisons.
    """
    people = weights.shape[1]
    every = np.bincount(scores.whose, minlength=people)
    missed = np.bincount(scores.whose[scores.genuine <= threshold], minlength=people)
    totals = weights @ every
    return np.divide(weights @ missed, totals, out=np.full(len(weights), np.nan), where=totals > 0)


def _listed_weight(
    first: np.ndarray, second: np.ndarray, weights: np.ndarray, copies: np.ndarray | None = None
) -> np.ndarray:
    """Return the sum over comparisons of the product of both identities' weights, for each row of weights."""
    people = weights.shape[1]
    times = np.ones(len(first)) if copies is None else copies
    counts = scipy.sparse.coo_array((times, (first, second)), shape=(people, people)).tocsr()
    return np.einsum("bi,bi->b", weights, (counts @ weights.T).T)


def _everybodys_weight(pictures: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return `Scores.impostor_weight` of all pairs: half of the squared sum over pictures, minus the genuine part."""
    return ((weights @ pictures) ** 2 - (weights**2) @ (pictures.astype(float) ** 2)) / 2
