"""What verification needs of scores: the genuine ones in order, and the impostor ones that may set a threshold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.sparse
from sklearn.metrics import roc_curve

from rsft.face.evaluation.all_pairs import bin_edges, genuine_scores, impostor_tail, normalised
from rsft.face.evaluation.pairs import AllPairs, PairList

# Only the largest impostor scores can set a threshold; resampling moves it well within this factor.
TAIL_FACTOR = 5
MIN_TAIL = 20_000
MAX_TAIL = 1 << 21


@dataclass(frozen=True)
class Scores:
    """Scores of one system; those of impostor comparisons as a tail of the largest.

    Attributes:
        genuine: (G,) descending.
        whose: (G,) identity of each.
        impostor: (T,) the tail, descending.
        first: (T,) identity of the one picture of each.
        second: (T,) of the other.
        copies: (T,) how many comparisons each stands for, or None: one.
        impostors: how many there are in all.
        levels: (K,) descending scores at which a threshold may lie.
        above: (K,) how many impostor scores lie above each, counted over all.
        eer: where FMR and FNMR are equal.
        impostor_weight: (W, identities) weights -> (W,) sum over all impostor comparisons of the product of both.
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
        """The lowest level above which at most a share `fmr` of the impostor scores lies."""
        allowed = int(np.searchsorted(self.above, fmr * self.impostors, side="right"))
        return float(self.levels[max(allowed - 1, 0)])

    def false_matches(self, threshold: float) -> int:
        """How many impostor scores lie above a threshold: a level, or a score of a whole tail."""
        if self.copies is None and threshold >= self.impostor[-1]:
            return int(np.searchsorted(-self.impostor, -threshold, side="left"))
        level = int(np.searchsorted(-self.levels, -threshold, side="left"))
        return int(self.above[min(level, len(self.above) - 1)])

    def matches(self, thresholds: np.ndarray) -> np.ndarray:
        """How many genuine scores lie above each of these thresholds."""
        return np.searchsorted(-self.genuine, -np.asarray(thresholds), side="left")


def listed_scores(scores: np.ndarray, pairs: PairList, fmrs: Sequence[float], below: float | None = None) -> Scores:
    """Of scores (P,) of listed comparisons.

    Args:
        scores: (P,).
        pairs: of these.
        fmrs: the tail must hold the thresholds of these rates and their draws.
        below: a score down to which the tail must reach, if any.
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
    """Of everybody against everybody, in blocks; nothing is listed but the genuine scores and the tail.

    How many impostors lie above a level is counted over all, at levels 2^-17 apart: FMR and TAR are exact there. EER is
    that of the level where FMR and FNMR are nearest. Where the tail fits `max_tail`, it is whole, and all that follows
    is what `listed_scores` gives, but for the rounding of scores.

    Args:
        embeddings: (N, D).
        everybody: of these N pictures.
        fmrs: as in `listed_scores`.
        below: likewise.
        max_tail: of a larger tail, a part is drawn, some of each layer between the rates; each then stands for several.
        seed: of that draw.

    Raises:
        InputError: an embedding has no direction, or there are too many genuine comparisons.
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
    # what begins a bin belongs to it: the level is the number before
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
    """(W,) FMR at a threshold, for every row of weights of identities; the tail must reach down to it."""
    hit = scores.impostor > threshold
    copies = None if scores.copies is None else scores.copies[hit]
    weighed = _listed_weight(scores.first[hit], scores.second[hit], weights, copies)
    return weighed / np.maximum(scores.impostor_weight(weights), 1)


def false_non_match_rates(scores: Scores, weights: np.ndarray, threshold: float) -> np.ndarray:
    """(W,) FNMR at a threshold, for every row of weights of identities; NaN where they have no genuine comparison."""
    people = weights.shape[1]
    every = np.bincount(scores.whose, minlength=people)
    missed = np.bincount(scores.whose[scores.genuine <= threshold], minlength=people)
    totals = weights @ every
    return np.divide(weights @ missed, totals, out=np.full(len(weights), np.nan), where=totals > 0)


def _listed_weight(
    first: np.ndarray, second: np.ndarray, weights: np.ndarray, copies: np.ndarray | None = None
) -> np.ndarray:
    people = weights.shape[1]
    times = np.ones(len(first)) if copies is None else copies
    counts = scipy.sparse.coo_array((times, (first, second)), shape=(people, people)).tocsr()
    return np.einsum("bi,bi->b", weights, (counts @ weights.T).T)


def _everybodys_weight(pictures: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Half of the square of the sum over pictures, less what is within identities."""
    return ((weights @ pictures) ** 2 - (weights**2) @ (pictures.astype(float) ** 2)) / 2
