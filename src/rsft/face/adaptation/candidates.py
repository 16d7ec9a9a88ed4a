"""The pictures that a training may draw, and how it draws them."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rsft.data.features import Features
from rsft.face.adaptation.recipe import Recipe
from rsft.plan import Plan
from rsft.sampling.acceptance import Stream, accept_at, random_words_at
from rsft.sampling.identities import mind_identities
from rsft.sampling.walk import random_order


@dataclass(frozen=True)
class Candidates:
    """Pictures of a pool that may be trained on or that the gate judges by, as rows of `Features`.

    Attributes:
        numbers: (n,) int64 number of each row's picture in the pool. Its draws depend on this number alone.
        acceptance: (n,) float64 probability that an epoch accepts the picture; 0 if it only serves as a prototype.
        likeness: (n,) float64 probability that it is accepted for the target alone.
        fold: (n,) int fold in which the picture's identity is held out.
        judged: (n,) bool, True for pictures that the gate may judge by when they are held out.
    """

    numbers: np.ndarray
    acceptance: Tensor
    likeness: Tensor
    fold: np.ndarray
    judged: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def subset(self, rows: np.ndarray) -> "Candidates":
        """Return some of them, (n,) integer or bool rows."""
        kept = torch.from_numpy(rows)
        return Candidates(
            self.numbers[rows], self.acceptance[kept], self.likeness[kept], self.fold[rows], self.judged[rows]
        )


def all_candidates(pool: Features, plan: Plan, recipe: Recipe, seed: int) -> Candidates:
    """Return the candidates of a pool of which everything is known.

    Args:
        pool: Features of the pool.
        plan: Acceptance and likeness of each picture of the pool.
        recipe: Settings, of which the folds are used.
        seed: Seed that deals the identities out to the folds.
    """
    names = sorted(pool.identities.names)
    fold = deal_people(names, recipe.parts(len(names)), seed)[pool.people]
    return Candidates(np.arange(len(pool)), plan.acceptance, plan.likeness, fold, np.ones(len(pool), bool))


def deal_people(names: Sequence[str], parts: int, seed: int) -> np.ndarray:
    """Deal identities out to parts of nearly equal size, by a hash of seed and name.

    Whoever joins or leaves a pool moves few of the others.

    Args:
        names: (C,) different names.
        parts: Number of parts.
        seed: Any integer.

    Returns:
        (C,) int part of each identity, in 0 ... parts - 1.

    >>> np.bincount(deal_people(["ann", "bob", "cleo", "dan", "eve"], 2, seed=0)).tolist()
    [3, 2]
    """
    keys = [hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).digest() for name in names]
    rank = np.empty(len(names), int)
    rank[sorted(range(len(names)), key=keys.__getitem__)] = np.arange(len(names))
    return rank * parts // max(1, len(names))


def draws_of(
    candidates: Candidates, classes: Tensor, views: int, recipe: Recipe, *, seed: int
) -> Callable[[int], np.ndarray]:
    """Return the function from an epoch to the views that it draws.

    A picture is accepted by its number in the pool, with balanced epochs (see `accept_at`), or as the recipe's rule for
    identities says. One view of it is then used: a random one in epoch 0, and the next one in each further epoch.

    Args:
        candidates: The n pictures.
        classes: (n,) int64 identity of each picture.
        views: Number V of views of a picture.
        recipe: Settings, of which `accept_by` and `floor` are used.
        seed: Seed of the draws and their order.

    Returns:
        Function from an epoch to (m,) int64 numbers of views, in the order in which they are used. View v of picture i
        is number i * V + v.
    """
    numbers, acceptance = candidates.numbers, candidates.acceptance
    rule = mind_identities(acceptance, classes, recipe.accept_by, recipe.floor)

    def draw(epoch: int) -> np.ndarray:
        if rule is None:
            kept = np.flatnonzero(accept_at(acceptance.numpy(), numbers, seed=seed, epoch=epoch, balanced=True))
        else:
            kept = rule.accepted(seed, epoch)
        kept = kept[random_order(numbers[kept], seed=seed, epoch=epoch)]
        first = random_words_at(seed, 0, numbers[kept], Stream.VIEW, bits=32).astype(np.int64)
        return kept * views + (first + epoch) % views

    return draw
