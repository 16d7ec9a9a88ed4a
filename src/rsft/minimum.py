"""At least so many items of every identity: a rule in the place of independent decisions."""

import numpy as np
from torch import Tensor

from rsft.acceptance import uniforms
from rsft.probabilities import check_probabilities


class MinimumPerIdentity:
    """Accepts as `RejectionSampler` does, and tops up each identity that got fewer than `minimum`.

    An identity's items stand in the order of u / P_accept; those below 1 are accepted, and where these are fewer than
    `minimum`, the next ones too (E. Ohlsson, "Sequential Poisson sampling", 1998). What was accepted stays accepted, so
    only identities that would fall short are drawn more often than their probabilities say; an item of probability 0
    never is. Give it to `RejectionSampler` as its acceptance.

    Args:
        acceptance: (N,) probabilities in [0, 1].
        labels: (N,) int64, the identity of each.
        minimum: at least 1.

    Raises:
        ValueError: a probability is outside [0, 1], there is not a label for each, or the minimum is below 1.

    >>> rule = MinimumPerIdentity(np.array([0.01, 0.01, 1.0, 0.0]), np.array([7, 7, 8, 9]), minimum=1)
    >>> [len(rule.accepted(seed=0, epoch=epoch)) for epoch in range(3)]
    [2, 2, 2]
    """

    def __init__(self, acceptance: Tensor | np.ndarray, labels: Tensor | np.ndarray, *, minimum: int) -> None:
        self._acceptance, self._labels = np.asarray(acceptance, np.float64), np.asarray(labels)
        check_probabilities(self._acceptance, "MinimumPerIdentity(acceptance=...)")
        if self._acceptance.ndim != 1 or self._labels.shape != self._acceptance.shape:
            raise ValueError(
                f"`MinimumPerIdentity(labels=...)` needs one for each of the (N,) probabilities, got "
                f"{self._labels.shape} for {self._acceptance.shape}."
            )
        if minimum < 1:
            raise ValueError(f"`MinimumPerIdentity(minimum=...)` needs at least 1, got {minimum}.")
        self._minimum = minimum

    def __len__(self) -> int:
        return len(self._acceptance)

    def accepted(self, seed: int, epoch: int) -> np.ndarray:
        u = uniforms(seed, epoch, 0, len(self))
        height = np.divide(u, self._acceptance, out=np.full(len(self), np.inf), where=self._acceptance > 0)
        order = np.lexsort((height, self._labels))
        _, counts = np.unique(self._labels, return_counts=True)
        place = np.empty(len(self), np.int64)
        place[order] = np.arange(len(self)) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.flatnonzero((u < self._acceptance) | ((place < self._minimum) & np.isfinite(height)))
