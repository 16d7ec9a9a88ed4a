"""The errors that a system makes by the widest margin: one looks at them before one trusts a figure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rsft.face.evaluation.all_pairs import normalised
from rsft.face.evaluation.trials import AnyTrial, Trial

SHOWN = 8
BLOCK = 1024  # rows of a block of scores


@dataclass(frozen=True)
class WrongPair:
    """A pair that is decided wrongly at a threshold.

    Attributes:
        trial: Number of the trial of the pair.
        a: Index of the first picture in its trial.
        b: Index of the second picture.
        score: Score of the pair.
        threshold: Threshold of the trial.
    """

    trial: int
    a: int
    b: int
    score: float
    threshold: float

    @property
    def margin(self) -> float:
        """Distance of the score from the threshold."""
        return abs(self.score - self.threshold)


def hardest_errors(
    trials: Sequence[AnyTrial], system: str, fmr: float, shown: int = SHOWN, *, seed: int = 0
) -> dict[str, list[WrongPair]]:
    """Find the pairs that a system decides wrongly by the widest margin, each trial at its own threshold for an FMR.

    Args:
        trials: Trials with scores of the system.
        system: Name of the system.
        fmr: FMR of the thresholds, in (0, 1).
        shown: Largest number of pairs of each kind.
        seed: Seed for the thinning of a tail, see `all_pairs_scores`.

    Returns:
        "genuine": false non-matches, whose score is at the threshold or below; "impostor": false matches. The widest
        margin comes first.
    """
    found: dict[str, list[WrongPair]] = {"genuine": [], "impostor": []}
    for number, trial in enumerate(trials):
        threshold = trial.scores(system, [fmr], seed=seed).threshold(fmr)
        for kind, pairs in found.items():
            worst = _Worst(shown, threshold, sign=-1 if kind == "genuine" else 1)
            for a, b, scores, genuine in _blocks(trial, system):
                worst.add(a, b, scores, genuine if kind == "genuine" else ~genuine)
            pairs += [WrongPair(number, a, b, score, threshold) for a, b, score in worst.pairs()]
    return {kind: sorted(pairs, key=lambda pair: -pair.margin)[:shown] for kind, pairs in found.items()}


class _Worst:
    """The pairs whose scores lie furthest beyond a threshold: above it, or with `sign` -1 at it and below."""

    def __init__(self, shown: int, threshold: float, *, sign: int) -> None:
        self._shown, self._sign = shown, sign
        # a score at the threshold is no match
        self._least = threshold if sign > 0 else np.nextafter(-threshold, -np.inf)
        self._a = self._b = np.empty(0, np.int64)
        self._scores = np.empty(0)

    def add(self, a: Callable[[np.ndarray], np.ndarray], b: Callable[[np.ndarray], np.ndarray], scores: np.ndarray,
            counted: np.ndarray) -> None:  # fmt: skip
        """Take the scores (P,) of which some are `counted`; `a` and `b` give the pictures at places (n,) in them."""
        signed = self._sign * scores.astype(float)
        places = np.flatnonzero(counted & (signed > self._least))
        values = np.concatenate([self._scores, signed[places]])
        kept = np.argsort(-values, kind="stable")[: self._shown]
        self._a, self._b = (np.concatenate([old, new(places)])[kept] for old, new in ((self._a, a), (self._b, b)))
        self._scores = values[kept]
        if len(kept) == self._shown:
            self._least = max(self._least, float(self._scores[-1]))

    def pairs(self) -> Iterator[tuple[int, int, float]]:
        """Yield both pictures and the score of each pair."""
        return zip(self._a.tolist(), self._b.tolist(), (self._sign * self._scores).tolist(), strict=True)


Pictures = Callable[[np.ndarray], np.ndarray]


def _blocks(trial: AnyTrial, system: str) -> Iterator[tuple[Pictures, Pictures, np.ndarray, np.ndarray]]:
    """Yield the pairs in blocks: functions from places in the block to pictures, the scores, and which are genuine."""
    if isinstance(trial, Trial):
        pairs = trial.pairs
        yield pairs.a.__getitem__, pairs.b.__getitem__, trial.values[system], pairs.genuine
        return
    unit, identity = normalised(trial.embeddings[system]), trial.pairs.identity
    for start in range(0, len(unit), BLOCK):
        rows = slice(start, start + BLOCK)
        width = len(unit) - start
        scores = unit[rows] @ unit[start:].T
        scores[np.tril_indices(len(scores), m=width)] = np.nan  # each pair once
        genuine = identity[rows, None] == identity[None, start:]

        def first(places: np.ndarray, start: int = start, width: int = width) -> np.ndarray:
            return start + places // width

        def second(places: np.ndarray, start: int = start, width: int = width) -> np.ndarray:
            return start + places % width

        yield first, second, scores.ravel(), genuine.ravel()
