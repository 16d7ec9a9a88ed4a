"""Pictures like the target, and usual ones of the same people, by which networks are judged before any training."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rsft.face.evaluation.pairs import PairList, list_all_pairs
from rsft.face.evaluation.trials import scored
from rsft.face.evaluation.verification import VerificationReport, verify
from rsft.sampling.acceptance import accept_at
from rsft.sampling.identities import rank_within_group
from rsft.sampling.walk import random_order

FMR = 0.01
MAX_ALIKE, MAX_USUAL = 300, 1000
DRAWS = 200


@dataclass(frozen=True)
class Compared:
    """Pictures by which networks are judged: some like the target, and random ones of the same people.

    Attributes:
        rows: (n,) int64 number of each picture. A picture may be like the target and be drawn as a usual one too.
        alike: Number of those like the target, which come first.
        pairs: The comparisons between the n pictures: "alike", of each picture like the target with the usual ones, and
            "usual", of the usual ones with each other.
    """

    rows: np.ndarray
    alike: int
    pairs: Mapping[str, PairList]

    @property
    def usual(self) -> int:
        """Number of usual pictures."""
        return len(self.rows) - self.alike

    @property
    def people(self) -> int:
        """Number of people with a genuine comparison of a picture like the target."""
        pairs = self.pairs["alike"]
        return len(np.unique(pairs.identity[pairs.a[pairs.genuine]]))

    def verify(self, embeddings: Mapping[str, np.ndarray], *, seed: int = 0) -> dict[str, VerificationReport]:
        """Verify the comparisons by each network, with the same bootstrap draws of people for all.

        Args:
            embeddings: Name of each network -> its (n, D) embeddings of `rows`.
            seed: Seed for the bootstrap.

        Returns:
            A report for "alike" and one for "usual".
        """
        return {
            name: verify([scored(embeddings, pairs)], fmrs=[FMR], draws=DRAWS, seed=seed)
            for name, pairs in self.pairs.items()
        }


def choose_compared(
    people: np.ndarray,
    likeness: np.ndarray,
    *,
    most_alike: int = MAX_ALIKE,
    most_usual: int = MAX_USUAL,
    seed: int = 0,
) -> Compared | None:
    """Draw pictures like the target, in proportion to their likeness, and random pictures of the same people.

    The number of pictures like the target is the effective number of items under the likeness as weights, but at most
    `most_alike`.

    Args:
        people: (N,) int identity of each item.
        likeness: (N,) probability that an item is accepted for the target alone, in [0, 1].
        most_alike: Largest number of pictures like the target.
        most_usual: Number of usual pictures, about; at least two of each person.
        seed: Seed for the draws.

    Returns:
        The pictures, or None if they have no genuine or no impostor comparison of either kind.
    """
    if not likeness.any():
        return None
    generator, shares = np.random.default_rng(seed), likeness / likeness.sum()
    size = min(most_alike, int(1 / (shares**2).sum()))
    alike = generator.choice(len(shares), size, replace=False, p=shares)
    theirs = generator.permutation(np.flatnonzero(np.isin(people, people[alike])))
    most = max(2, most_usual // len(np.unique(people[alike])))
    usual = theirs[rank_within_group(people[theirs]) < most]
    rows = np.concatenate([alike, usual])
    first, second = (index.ravel() for index in np.indices((len(alike), len(usual))))
    others = rows[first] != usual[second]
    among = list_all_pairs(people[usual])
    pairs = {
        "alike": PairList(first[others], len(alike) + second[others], people[rows]),
        "usual": PairList(len(alike) + among.a, len(alike) + among.b, people[rows]),
    }
    return Compared(rows, len(alike), pairs) if all(all(listed.counts) for listed in pairs.values()) else None


@dataclass(frozen=True)
class Drawn:
    """Pictures of a pool that are worth embedding for `choose_compared`.

    Attributes:
        items: (n,) int64 numbers in the pool, ascending: pictures like the target, and others of the same people.
        weights: (n,) float64 in [0, 1], in proportion to which they stand for the target; 0 for the others.
    """

    items: np.ndarray
    weights: np.ndarray


def draw_alike(
    rows: np.ndarray, likeness: np.ndarray, people: np.ndarray, *, most: int, siblings: int, seed: int
) -> Drawn:
    """Draw pictures like the target from those of a plan, and take others of the same people from the whole pool.

    About `most` pictures are drawn in proportion to their likeness. Those whose chance would exceed 1 are taken for
    certain, and count by as much more. The fewer people they show, the more of each is taken.

    Args:
        rows: (n,) int64 numbers of the pictures of the plan, ascending.
        likeness: (n,) their likeness in [0, 1].
        people: (N,) int person of each picture of the pool, ascending.
        most: Number of pictures like the target, about.
        siblings: Number of further pictures of a person, if there are `most` people or more.
        seed: Seed for the draws.

    Returns:
        The pictures; none if no picture of the plan is like the target.
    """
    if not likeness.any():
        return Drawn(np.empty(0, np.int64), np.empty(0))
    relative = likeness / likeness.max()
    chance = np.minimum(1.0, most * relative / relative.sum())
    drawn = accept_at(chance, rows, seed=seed)
    alike, beside = rows[drawn], [np.empty(0, np.int64)]
    found = np.unique(people[alike])
    of_each = (siblings + 1) * max(1, most // max(1, len(found)))
    for person in found:
        theirs = np.arange(*np.searchsorted(people, [person, person + 1]))
        beside.append(theirs[random_order(theirs, seed=seed, epoch=0)][:of_each])
    items = np.unique(np.concatenate([alike, *beside]))
    weights = np.zeros(len(items))
    weights[np.searchsorted(items, alike)] = relative[drawn] / chance[drawn]
    return Drawn(items, weights / weights.max(initial=np.finfo(float).tiny))
