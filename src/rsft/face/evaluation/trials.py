"""Scores of one or several systems on the same pairs, which are listed or scored in blocks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rsft.face.evaluation.all_pairs import normalised
from rsft.face.evaluation.folds import Folds, fold_accuracy, folds_of
from rsft.face.evaluation.pairs import AllPairs, PairList
from rsft.face.evaluation.scores import Scores, all_pairs_scores, listed_scores
from rsft.types import Interval

BLOCK_VALUES = 1 << 24  # number of embedding values that are copied at a time
DENSE_FACTOR = 4  # a matrix product is used if it has fewer entries than this factor times the pairs
MAX_LISTED = 1 << 23  # number of pairs, at 20 bytes each; larger sets are scored in blocks


@dataclass(frozen=True)
class Trial:
    """Scores of one or several systems on listed pairs; a higher score means more alike.

    Attributes:
        pairs: The P pairs that are compared.
        values: For each system's name, its (P,) scores.
    """

    pairs: PairList
    values: Mapping[str, np.ndarray]

    @property
    def systems(self) -> list[str]:
        """The names of the systems."""
        return list(self.values)

    def scores(self, system: str, fmrs: Sequence[float], *, below: float | None = None, seed: int = 0) -> Scores:
        """Sort the scores of a system; see `listed_scores`."""
        return listed_scores(self.values[system], self.pairs, fmrs, below)

    def folds(self, system: str) -> Folds | None:
        """Return the accuracy over the folds of the pairs, or None if they have none."""
        return folds_of(self.values[system], self.pairs)

    def accuracy(self, system: str, weights: np.ndarray) -> Interval | None:
        """Return the accuracy over folds with its interval, or None if the pairs have none; see `fold_accuracy`."""
        return fold_accuracy(self.values[system], self.pairs, weights)

    def within(self, inside: np.ndarray) -> "Trial":
        """Return the trial of the pairs in which both pictures are inside a mask (N,) bool."""
        both = inside[self.pairs.a] & inside[self.pairs.b]
        fold = None if self.pairs.fold is None else self.pairs.fold[both]
        pairs = PairList(self.pairs.a[both], self.pairs.b[both], self.pairs.identity, fold)
        return Trial(pairs, {name: scores[both] for name, scores in self.values.items()})


@dataclass(frozen=True)
class EmbeddedTrial:
    """Embeddings of one or several systems, whose pairs are scored in blocks.

    Attributes:
        pairs: All pairs of N pictures.
        embeddings: For each system's name, its (N, D) embeddings.
    """

    pairs: AllPairs
    embeddings: Mapping[str, np.ndarray]

    @property
    def systems(self) -> list[str]:
        """The names of the systems."""
        return list(self.embeddings)

    def scores(self, system: str, fmrs: Sequence[float], *, below: float | None = None, seed: int = 0) -> Scores:
        """Score a system; see `all_pairs_scores`."""
        return all_pairs_scores(self.embeddings[system], self.pairs, fmrs, below, seed=seed)

    def folds(self, system: str) -> None:
        """Return None: all pairs have no folds."""

    def accuracy(self, system: str, weights: np.ndarray) -> None:
        """Return None: all pairs have no folds."""

    def within(self, inside: np.ndarray) -> "EmbeddedTrial":
        """Return the trial of the pictures inside a mask (N,) bool."""
        return EmbeddedTrial(
            AllPairs(self.pairs.identity[inside]), {name: rows[inside] for name, rows in self.embeddings.items()}
        )


AnyTrial = Trial | EmbeddedTrial


def scored(embeddings: Mapping[str, np.ndarray], pairs: PairList | AllPairs) -> AnyTrial:
    """Make a trial of systems from their embeddings. More than `MAX_LISTED` pairs of `AllPairs` are not listed.

    Args:
        embeddings: For each system's name, its (N, D) embeddings.
        pairs: The pairs between these N pictures.

    Raises:
        InputError: If an embedding has length 0 or is not finite. A trial that is scored in blocks raises this later.
    """
    if isinstance(pairs, AllPairs) and len(pairs) > MAX_LISTED:
        return EmbeddedTrial(pairs, embeddings)
    listed = pairs.listed()
    return Trial(listed, {name: cosine_scores(values, listed) for name, values in embeddings.items()})


def cosine_scores(embeddings: np.ndarray, pairs: PairList) -> np.ndarray:
    """Return the cosine of the two embeddings of each pair.

    If a block of pairs covers much of the matrix product of its first pictures with all pictures, for instance in a
    list of all pairs, the cosines are read from this product.

    Args:
        embeddings: (N, D) embeddings.
        pairs: The P pairs between the N pictures.

    Returns:
        (P,) float32 in [-1, 1].

    Raises:
        InputError: If an embedding has length 0 or is not finite.
    """
    unit = normalised(embeddings)
    scores = np.empty(len(pairs), np.float32)
    block = max(1, BLOCK_VALUES // unit.shape[1])
    for start in range(0, len(scores), block):
        part = slice(start, start + block)
        a, b = pairs.a[part], pairs.b[part]
        lowest, highest = int(a.min()), int(a.max()) + 1
        if (highest - lowest) * len(unit) < DENSE_FACTOR * len(a):
            scores[part] = (unit[lowest:highest] @ unit.T)[a - lowest, b]
        else:
            scores[part] = np.einsum("pd,pd->p", unit[a], unit[b])
    return scores
