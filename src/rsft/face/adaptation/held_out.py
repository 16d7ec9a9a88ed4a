"""People of the pool that a training does not see, and what they say of it."""

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
    """Held-out pictures of the pool, all compared.

    Args:
        pool: with activations.
        rows: (n,) of those held out.
        likeness: (N,) in [0, 1].
    """

    def __init__(self, pool: Features, rows: np.ndarray, likeness: Tensor) -> None:
        self._pool, self._rows = pool, rows
        self._comparisons = list_all_pairs(pool.people[rows])
        self._weights = pair_weights(self._comparisons, likeness[rows].numpy())

    def of_line(self, at: Callable[[float], nn.Module], shares: Sequence[float], seed: int) -> HeldOut:
        """The scores of each share; the pretrained network has embedded all already."""

        def score(share: float) -> np.ndarray:
            return self._scores(at(share) if share else None)

        return hold_out(self._comparisons, self._weights, score, shares, seed=seed)

    def of_network(self, suffix: nn.Module) -> float:
        """The score on pairs like the target, 0 where there are none; the first process's."""
        return on_first(lambda: float(np.nan_to_num(self.of_pairs(suffix)[0])))

    def of_pairs(self, suffix: nn.Module | None) -> tuple[float, float]:
        """`pair_scores` of a network; None is the pretrained one."""
        return pair_scores(self._comparisons, self._weights, self._scores(suffix))

    def _scores(self, suffix: nn.Module | None) -> np.ndarray:
        if suffix is None:
            return cosine_scores(self._pool.embeddings[self._rows], self._comparisons)
        return cosine_scores(embed_activations(suffix, self._pool, self._rows), self._comparisons)
