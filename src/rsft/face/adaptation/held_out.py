"""Validation on people of the pool that a training does not see."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor, nn

from rsft.data.features import Features
from rsft.face.adaptation.gate import HeldOut, hold_out, pair_scores, pair_weights
from rsft.face.adaptation.views import embed_activations
from rsft.face.evaluation.pairs import list_all_pairs
from rsft.face.evaluation.trials import cosine_scores
from rsft.tuning.distributed import on_first


class Validation:
    """All pairs of the held-out pictures of a pool, to score networks on.

    Args:
        pool: Features of the pool, with activations.
        rows: (n,) rows of the held-out pictures.
        likeness: (N,) probability that each picture of the pool is accepted for the target alone, in [0, 1].
    """

    def __init__(self, pool: Features, rows: np.ndarray, likeness: Tensor) -> None:
        self._pool, self._rows = pool, rows
        self._comparisons = list_all_pairs(pool.people[rows])
        self._weights = pair_weights(self._comparisons, likeness[rows].numpy())

    def of_line(self, at: Callable[[float], nn.Module], shares: Sequence[float], seed: int) -> HeldOut:
        """Score each share of the way from the pretrained to the tuned weights.

        The stored embeddings of the pool are used for share 0.

        Args:
            at: Function from a share to the stages with these weights.
            shares: Shares, in [0, 1]; 0 must be one of them.
            seed: Seed for the choice of pairs, see `hold_out`.
        """

        def score(share: float) -> np.ndarray:
            return self._scores(at(share) if share else None)

        return hold_out(self._comparisons, self._weights, score, shares, seed=seed)

    def of_network(self, suffix: nn.Module) -> float:
        """Return the first process's score of the pairs like the target, or 0 if there are no such pairs."""
        return on_first(lambda: float(np.nan_to_num(self.of_pairs(suffix)[0])))

    def of_pairs(self, suffix: nn.Module | None) -> tuple[float, float]:
        """Return the `pair_scores` of tuned stages, or of the pretrained network if `suffix` is None."""
        return pair_scores(self._comparisons, self._weights, self._scores(suffix))

    def _scores(self, suffix: nn.Module | None) -> np.ndarray:
        """Return the cosine of each pair."""
        if suffix is None:
            return cosine_scores(self._pool.embeddings[self._rows], self._comparisons)
        return cosine_scores(embed_activations(suffix, self._pool, self._rows), self._comparisons)
