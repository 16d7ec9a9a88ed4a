"""Acceptance that minds identities: a floor of items for each accepted one, or identities accepted whole.

Thinning a pool item by item leaves most identities with one picture or none. Both rules here draw as a pure function of
(seed, epoch, item), and their inclusion probabilities are known exactly, so that the law can be tested and any mean
over the target estimated without bias: weigh an accepted item by its acceptance over its inclusion probability.
"""

import itertools
import math
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor

from rsft.acceptance import Stream, accept, random_words, uniforms


class AcceptBy(StrEnum):
    """What is accepted or rejected as one."""

    ITEM = "item"
    IDENTITY = "identity"


class FloorAcceptance:
    """Items are accepted one by one; an identity with some but fewer than `floor` gets more of its items, at random.

    Args:
        acceptance: (N,) probabilities in [0, 1].
        identities: (N,) integers.
        floor: items that an accepted identity has at least, if it has so many.

    Raises:
        ValueError: lengths differ, or the floor is below 1.

    >>> rule = FloorAcceptance(torch.tensor([0.5, 0.5, 0.0]), torch.tensor([7, 7, 7]), floor=2)
    >>> rule.inclusion()  # none with 1/4; the third only where one other was accepted
    tensor([0.6250, 0.6250, 0.2500], dtype=torch.float64)
    """

    def __init__(self, acceptance: Tensor, identities: Tensor, *, floor: int) -> None:
        self._acceptance, self._index = _checked(acceptance, identities)
        if floor < 1:
            raise ValueError(f"`FloorAcceptance(floor=...)` needs at least 1, got {floor}.")
        self._floor = floor

    def __len__(self) -> int:
        return len(self._acceptance)

    def accepted(self, seed: int, epoch: int) -> np.ndarray:
        """Ascending numbers of the items accepted in an epoch: (n,) int64."""
        kept = accept(self._acceptance, seed=seed, epoch=epoch)
        count = np.bincount(self._index, kept, minlength=self._index.max(initial=-1) + 1).astype(np.int64)
        lacking = np.where((count > 0) & (count < self._floor), self._floor - count, 0)
        more = np.flatnonzero(~kept & (lacking[self._index] > 0))
        key = random_words(seed, epoch, 0, len(kept), Stream.FLOOR)[more]
        more = more[np.lexsort((key, self._index[more]))]
        place = _place_in_group(self._index[more])
        kept[more[place < lacking[self._index[more]]]] = True
        return np.flatnonzero(kept)

    def inclusion(self) -> Tensor:
        """(N,) float64: the probability of each item in an epoch.

        With C the number accepted of the n - 1 others of its identity, an item not accepted itself is added with
        probability min(1, (floor - C) / (n - C)) where 0 < C < floor. C is Poisson-binomial.
        """
        order = np.argsort(self._index, kind="stable")
        place = _place_in_group(self._index[order])
        size = np.bincount(self._index)[self._index[order]]
        p = self._acceptance[order]
        before = _counts_before(p, place, self._floor)
        end = size - 1 - place
        after = _counts_before(p[::-1], end[::-1], self._floor)[::-1]
        added = np.zeros(len(p))
        for count in range(1, self._floor):
            chance = (before[:, : count + 1] * after[:, count::-1]).sum(1)
            added += chance * np.minimum(1, (self._floor - count) / np.maximum(size - count, 1))
        result = np.empty(len(p))
        result[order] = p + (1 - p) * added
        return torch.from_numpy(result)


class IdentityAcceptance:
    """An identity is accepted as a whole, all its items or none.

    Args:
        acceptance: (N,) probabilities in [0, 1], the same for all items of an identity: see `identity_log_ratio`.
        identities: (N,) integers.

    Raises:
        ValueError: lengths differ, or items of one identity have different probabilities.
    """

    def __init__(self, acceptance: Tensor, identities: Tensor) -> None:
        self._acceptance, self._index = _checked(acceptance, identities)
        _, self._first = np.unique(self._index, return_index=True)
        if not np.array_equal(self._acceptance, self._acceptance[self._first][self._index]):
            raise ValueError(
                "`IdentityAcceptance(acceptance=...)` needs one probability for all items of an identity: take that of "
                "`identity_log_ratio`."
            )

    def __len__(self) -> int:
        return len(self._acceptance)

    def accepted(self, seed: int, epoch: int) -> np.ndarray:
        """Ascending numbers of the items accepted in an epoch: (n,) int64; the draw is that of the identity's first."""
        draw = uniforms(seed, epoch, 0, len(self))[self._first]
        return np.flatnonzero((draw < self._acceptance[self._first])[self._index])

    def inclusion(self) -> Tensor:
        """(N,) float64: the probability of each item in an epoch."""
        return torch.from_numpy(self._acceptance)


def mind_identities(
    acceptance: Tensor, identities: Tensor, accept_by: str, floor: int
) -> FloorAcceptance | IdentityAcceptance | None:
    """The rule for "item" with a floor, or for "identity"; None where each item is accepted by itself."""
    if accept_by == AcceptBy.IDENTITY:
        return IdentityAcceptance(acceptance, identities)
    return FloorAcceptance(acceptance, identities, floor=floor) if floor > 1 else None


def identity_log_ratio(log_ratio: Tensor, identities: Tensor) -> Tensor:
    """The log of each identity's mean ratio, for all its items: that of the target and the pool over identities.

    Args:
        log_ratio: (N,).
        identities: (N,) integers.

    >>> identity_log_ratio(torch.tensor([1.0, 3.0, 5.5]).log(), torch.tensor([0, 0, 1])).exp()
    tensor([2.0000, 2.0000, 5.5000], dtype=torch.float64)
    """
    _, index, counts = torch.unique(identities, return_inverse=True, return_counts=True)
    top = log_ratio.double().max()
    if top == -math.inf:
        return log_ratio.double()
    total = torch.zeros(len(counts), dtype=torch.float64).index_add_(0, index, (log_ratio.double() - top).exp())
    return (total / counts).log()[index] + top


def remap_classes(identities: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Classes 0 ... C - 1 for the identities that some items have, for a head over these only.

    Args:
        identities: (N,) integers.
        rows: (n,) numbers of the items, such as all that were accepted.

    Returns:
        (n,) int64 class of each, and (C,) the identity of each class.

    >>> remap_classes(torch.tensor([30, 10, 20, 10]), torch.tensor([0, 3]))
    (tensor([1, 0]), tensor([10, 30]))
    """
    kept, classes = torch.unique(identities[rows], return_inverse=True)
    return classes, kept


def _checked(acceptance: Tensor, identities: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities as float64, and identities as 0 ... C - 1."""
    p = torch.as_tensor(acceptance).detach().to("cpu", torch.float64).numpy()
    names = np.asarray(identities)
    if p.ndim != 1 or names.shape != p.shape:
        raise ValueError(f"`identities` need the shape of the acceptance, {p.shape}, got {names.shape}.")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("`acceptance` needs probabilities in [0, 1]: take them from `acceptance_probability`.")
    return p, np.unique(names, return_inverse=True)[1]


def _place_in_group(index: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... within each run of equal values."""
    start = np.flatnonzero(np.diff(index, prepend=-1))
    return np.arange(len(index)) - np.repeat(start, np.diff(start, append=len(index)))


def _counts_before(p: np.ndarray, place: np.ndarray, floor: int) -> np.ndarray:
    """(n, floor): the chance that so many of the items earlier in the same group are accepted."""
    chances = np.zeros((len(p), floor))
    by_place = np.argsort(place, kind="stable")
    ends = np.cumsum(np.bincount(place))
    chances[by_place[: ends[0]], 0] = 1
    for first, last in itertools.pairwise(ends):
        rows = by_place[first:last]
        earlier, taken = chances[rows - 1], p[rows - 1, None]
        chances[rows] = earlier * (1 - taken)
        chances[rows, 1:] += earlier[:, :-1] * taken
    return chances
