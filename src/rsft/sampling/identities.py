"""Acceptance rules for identities: a minimum number of items per identity, or identities accepted as a whole.

Thinning a pool item by item leaves most identities with one picture or none. All rules here draw as pure functions of
(seed, epoch, item). The inclusion probabilities of `FloorAcceptance` and `IdentityAcceptance` are known exactly, so a
test can check them, and any mean over the target can be estimated without bias: weight an accepted item by its
acceptance probability over its inclusion probability.
"""

import itertools
import math
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsft.per_item import as_log_ratio, as_probabilities, codes_of
from rsft.sampling.acceptance import Stream, accept, random_words, uniforms


class AcceptBy(StrEnum):
    """Unit that is accepted or rejected as a whole."""

    ITEM = "item"
    IDENTITY = "identity"


class FloorAcceptance:
    """Rule that accepts items one by one, and then fills each accepted identity up to `floor` items at random.

    An identity is filled up only if at least one of its items was accepted. An instance can be passed to
    `RejectionSampler` as its acceptance.

    Args:
        acceptance: (N,) acceptance probabilities in [0, 1].
        identities: (N,) integers or texts, the identity of each item.
        floor: Minimum number of items of an accepted identity, at least 1. An identity with fewer items gets all of
            them.

    Raises:
        ValueError: If the shapes differ, a probability is outside [0, 1], or `floor` is below 1.

    >>> rule = FloorAcceptance(torch.tensor([0.5, 0.5, 0.0]), torch.tensor([7, 7, 7]), floor=2)
    >>> rule.inclusion()  # none with 1/4; the third only where one other was accepted
    tensor([0.6250, 0.6250, 0.2500], dtype=torch.float64)
    """

    def __init__(self, acceptance: Any, identities: Any, *, floor: int) -> None:
        self._acceptance, self._index = _checked(acceptance, identities, "FloorAcceptance")
        if floor < 1:
            raise ValueError(f"`FloorAcceptance(floor=...)` needs at least 1, got {floor}.")
        self._floor = floor

    def __len__(self) -> int:
        return len(self._acceptance)

    def accepted(self, seed: int, epoch: int) -> np.ndarray:
        """Return the indices of the items accepted in an epoch: (n,) int64, ascending."""
        kept = accept(self._acceptance, seed=seed, epoch=epoch)
        count = np.bincount(self._index, kept, minlength=self._index.max(initial=-1) + 1).astype(np.int64)
        lacking = np.where((count > 0) & (count < self._floor), self._floor - count, 0)
        more = np.flatnonzero(~kept & (lacking[self._index] > 0))
        key = random_words(seed, epoch, 0, len(kept), Stream.FLOOR)[more]
        kept[more[rank_within_group(self._index[more], key) < lacking[self._index[more]]]] = True
        return np.flatnonzero(kept)

    def inclusion(self) -> Tensor:
        """Return the probability that each item is included in an epoch: (N,) float64.

        Let C be the number of accepted items among the n - 1 other items of the identity, which is Poisson-binomial.
        An item that is not accepted itself is added with probability min(1, (floor - C) / (n - C)) if 0 < C < floor.
        """
        order = np.argsort(self._index, kind="stable")
        place = rank_within_group(self._index[order])
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
    """Rule that accepts an identity as a whole: all its items or none.

    An instance can be passed to `RejectionSampler` as its acceptance.

    Args:
        acceptance: (N,) acceptance probabilities in [0, 1], equal for all items of an identity (see
            `identity_log_ratio`).
        identities: (N,) integers or texts, the identity of each item.

    Raises:
        ValueError: If the shapes differ, a probability is outside [0, 1], or items of one identity have different
            probabilities.
    """

    def __init__(self, acceptance: Any, identities: Any) -> None:
        self._acceptance, self._index = _checked(acceptance, identities, "IdentityAcceptance")
        _, self._first = np.unique(self._index, return_index=True)
        if not np.array_equal(self._acceptance, self._acceptance[self._first][self._index]):
            raise ValueError(
                "`IdentityAcceptance(acceptance=...)` needs one probability for all items of an identity: compute it "
                "from `identity_log_ratio`."
            )

    def __len__(self) -> int:
        return len(self._acceptance)

    def accepted(self, seed: int, epoch: int) -> np.ndarray:
        """Return the indices of the items accepted in an epoch: (n,) int64, ascending.

        An identity uses the random number of its first item.
        """
        draw = uniforms(seed, epoch, 0, len(self))[self._first]
        return np.flatnonzero((draw < self._acceptance[self._first])[self._index])

    def inclusion(self) -> Tensor:
        """Return the probability that each item is included in an epoch: (N,) float64."""
        return torch.from_numpy(self._acceptance)


def mind_identities(
    acceptance: Tensor, identities: Any, accept_by: str, floor: int
) -> FloorAcceptance | IdentityAcceptance | None:
    """Return the rule for `accept_by` ("item" or "identity") and `floor`; None if items are accepted independently."""
    if accept_by == AcceptBy.IDENTITY:
        return IdentityAcceptance(acceptance, identities)
    return FloorAcceptance(acceptance, identities, floor=floor) if floor > 1 else None


def identity_log_ratio(log_ratio: Any, identities: Any) -> Tensor:
    """Compute the log of each identity's mean ratio, the log density ratio of target and pool over identities.

    Args:
        log_ratio: (N,) floating log ratios of the items.
        identities: (N,) integers or texts, the identity of each item.

    Returns:
        (N,) float64, the value of its identity for each item.

    Raises:
        ValueError: If the lengths differ, a log ratio is NaN or +inf, or an identity is missing.

    >>> identity_log_ratio(torch.tensor([1.0, 3.0, 5.5]).log(), torch.tensor([0, 0, 1])).exp()
    tensor([2.0000, 2.0000, 5.5000], dtype=torch.float64)
    """
    values = as_log_ratio(log_ratio, "identity_log_ratio(log_ratio=...)").double()
    names, codes = codes_of(identities, "identity_log_ratio(identities=...)", len(values))
    top = values.max() if len(values) else torch.tensor(-math.inf)
    if top == -math.inf:
        return values
    index = torch.from_numpy(codes).to(values.device)
    total = values.new_zeros(len(names)).index_add_(0, index, (values - top).exp())
    return (total / index.bincount()).log()[index] + top


def remap_classes(identities: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Number the identities of some items as classes 0 ... C - 1, for a head over these identities only.

    Args:
        identities: (N,) integers, the identity of each item of the pool.
        rows: (n,) indices of the items, such as the accepted ones.

    Returns:
        The class of each of these items, (n,) int64, and the identity of each class, (C,).

    >>> remap_classes(torch.tensor([30, 10, 20, 10]), torch.tensor([0, 3]))
    (tensor([1, 0]), tensor([10, 30]))
    """
    kept, classes = torch.unique(identities[rows], return_inverse=True)
    return classes, kept


def _checked(acceptance: Any, identities: Any, rule: str) -> tuple[np.ndarray, np.ndarray]:
    """Check both, and return probabilities as float64 and identities as 0 ... C - 1."""
    p = as_probabilities(acceptance, f"{rule}(acceptance=...)")
    return p, codes_of(identities, f"{rule}(identities=...)", len(p))[1]


def rank_within_group(groups: np.ndarray, key: np.ndarray | None = None) -> np.ndarray:
    """Return the rank of each item among the items of its group: 0, 1, 2, ...

    Args:
        groups: (N,) integers.
        key: (N,) values that order the items. Defaults to their position.

    >>> rank_within_group(np.array([5, 3, 5, 5, 3])).tolist()
    [0, 0, 1, 2, 1]
    >>> rank_within_group(np.array([5, 3, 5, 5, 3]), np.array([0.3, 0.2, 0.1, 0.2, 0.1])).tolist()
    [2, 1, 0, 1, 0]
    """
    order = np.argsort(groups, kind="stable") if key is None else np.lexsort((key, groups))
    _, counts = np.unique(groups, return_counts=True)
    rank = np.empty(len(groups), np.int64)
    rank[order] = np.arange(len(groups)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank


def _counts_before(p: np.ndarray, place: np.ndarray, floor: int) -> np.ndarray:
    """Return (n, floor): the probability that k of the earlier items of the group are accepted, for each k < floor."""
    chances = np.zeros((len(p), floor))
    if not len(p):
        return chances
    by_place = np.argsort(place, kind="stable")
    ends = np.cumsum(np.bincount(place))
    chances[by_place[: ends[0]], 0] = 1
    for first, last in itertools.pairwise(ends):
        rows = by_place[first:last]
        earlier, taken = chances[rows - 1], p[rows - 1, None]
        chances[rows] = earlier * (1 - taken)
        chances[rows, 1:] += earlier[:, :-1] * taken
    return chances


class MinimumPerIdentity:
    """Rule that accepts items as `RejectionSampler` does, and adds items to identities with fewer than `minimum`.

    The items of an identity are ordered by u / P_accept, where u is uniform on [0, 1). Items below 1 are accepted, and
    if these are fewer than `minimum`, the next ones are too (E. Ohlsson, "Sequential Poisson sampling", 1998). Accepted
    items stay accepted, so only identities that would fall short are drawn more often than their probabilities state.
    Items of probability 0 are never drawn. Pass an instance to `RejectionSampler` as its acceptance.

    Args:
        acceptance: (N,) acceptance probabilities in [0, 1].
        labels: (N,) integers or texts, the identity of each item.
        minimum: Minimum number of items of each identity, at least 1.

    Raises:
        ValueError: If a probability is outside [0, 1], `labels` is not of shape (N,), or `minimum` is below 1.

    >>> rule = MinimumPerIdentity(np.array([0.01, 0.01, 1.0, 0.0]), np.array([7, 7, 8, 9]), minimum=1)
    >>> [len(rule.accepted(seed=0, epoch=epoch)) for epoch in range(3)]
    [2, 2, 2]
    """

    def __init__(self, acceptance: Any, labels: Any, *, minimum: int) -> None:
        self._acceptance = as_probabilities(acceptance, "MinimumPerIdentity(acceptance=...)")
        self._labels = codes_of(labels, "MinimumPerIdentity(labels=...)", len(self._acceptance))[1]
        if minimum < 1:
            raise ValueError(f"`MinimumPerIdentity(minimum=...)` needs at least 1, got {minimum}.")
        self._minimum = minimum

    def __len__(self) -> int:
        return len(self._acceptance)

    def accepted(self, seed: int, epoch: int) -> np.ndarray:
        u = uniforms(seed, epoch, 0, len(self))
        height = np.divide(u, self._acceptance, out=np.full(len(self), np.inf), where=self._acceptance > 0)
        rank = rank_within_group(self._labels, height)
        return np.flatnonzero((u < self._acceptance) | ((rank < self._minimum) & np.isfinite(height)))
