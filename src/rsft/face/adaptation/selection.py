"""Which pictures of a pool of any size a run needs: found by walking through the pool until enough are accepted."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from rsft.errors import InputError, LowAcceptanceError
from rsft.face.adaptation.candidates import Candidates, draws_of
from rsft.face.adaptation.recipe import Recipe
from rsft.ratio.sample import FOLDS, FOLDS_OF_SLOW_MODELS
from rsft.sampling.acceptance import accept_at
from rsft.sampling.identities import AcceptBy
from rsft.sampling.walk import BLOCK_ITEMS, random_order, walk

MAX_EMPTY_EPOCHS = 1000

# (n,) ascending pictures -> their acceptance and likeness (n,) float64; both are 0 if a picture cannot be used
Rate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
# (n,) ascending pictures -> whether each can be used, (n,) bool
Usable = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Selection:
    """The pictures that a run embeds, ascending, and what for.

    Attributes:
        candidates: Number, acceptance, likeness, fold and role of each of the n pictures.
        kept: (n, V) bool, the views of each that are needed.
        reach: Number of pictures that the passes visit; every pass visits the same ones.
        visited: (reach,) int64 these pictures, ascending.
    """

    candidates: Candidates
    kept: np.ndarray
    reach: int
    visited: np.ndarray


SLOW_METHODS = ("kernel", "boosted", "least-squares")  # those of `rsft.ratio.METHODS` with fewer folds


def by_rule(recipe: Recipe) -> bool:
    """Return whether pictures are accepted by a rule for identities, which needs the ratios of all of them."""
    return recipe.accept_by != AcceptBy.ITEM or recipe.floor > 1


def check_target(pictures: int, recipe: Recipe) -> None:
    """Raise an error if there are fewer target pictures than the estimator of the ratio has folds.

    Args:
        pictures: Number of pictures of the target.
        recipe: Settings, of which `method` is used.

    Raises:
        InputError: If there are fewer.
    """
    needed = FOLDS_OF_SLOW_MODELS if recipe.method in SLOW_METHODS else FOLDS
    if pictures < needed:
        fewer = (
            ""
            if needed < FOLDS or pictures < FOLDS_OF_SLOW_MODELS
            else (f", or set recipe.method to one of {', '.join(SLOW_METHODS)}, which need {FOLDS_OF_SLOW_MODELS}")
        )
        raise InputError(
            f"a plan needs {needed} target pictures or more, got {pictures}: add pictures of the deployment{fewer}."
        )


def check_looks(pictures: int, recipe: Recipe) -> None:
    """Raise an error if the recipe needs to look at more pictures than it allows.

    Args:
        pictures: Number of pictures of the pool.
        recipe: Settings, of which `accept_by`, `floor` and `max_looks` are used.

    Raises:
        InputError: If the recipe accepts by identity or with a floor, and the pool has more than `max_looks` pictures.
    """
    if by_rule(recipe) and pictures > recipe.max_looks:
        raise InputError(
            f"accepting by identity or with a floor looks at all {pictures} pictures, and recipe.max_looks is "
            f"{recipe.max_looks}: raise it, or accept by item."
        )


def select(
    rate: Rate, usable: Usable, people: np.ndarray, fold: np.ndarray, recipe: Recipe, *, folds: int, seed: int
) -> Selection:
    """Walk through a pool until enough pictures are accepted, and choose those that the trainings and the gate need.

    Needed are the views that the trainings draw; of identities with accepted pictures like the target, up to
    `recipe.siblings` further pictures for the prototype; and for the gate, the accepted pictures of held-out
    identities, as many further pictures of each of these, and random ones up to `recipe.judged`.

    Args:
        rate: Computes acceptance and likeness.
        usable: Tells which pictures can be used; cheaper than `rate`.
        people: (N,) ascending int identity of each picture of the pool.
        fold: (C,) int fold in which each identity is held out.
        recipe: Settings of the walk and the trainings.
        folds: Number of folds that are held out in turn, from fold 0 on.
        seed: Seed of the walk and the draws.

    Raises:
        LowAcceptanceError: If too few of the `recipe.max_looks` pictures are accepted to fill a batch.
        InputError: If the recipe accepts by identity or with a floor, and the pool has more pictures than that.
    """
    check_looks(len(people), recipe)
    pool = _Pool(rate, usable, people, fold, recipe, folds, seed)
    visited = pool.walk()
    views = pool.training_views(visited)
    judged = pool.judged(visited)
    kept = {number: mask.copy() for number, mask in views.items()}
    for number in judged:
        kept.setdefault(number, np.zeros(recipe.views, bool))[:2] = True
    for number in pool.siblings(visited, set(kept)):
        kept[number] = np.arange(recipe.views) == 0
    numbers = np.array(sorted(kept), np.int64)
    acceptance, likeness = pool.rates(numbers, inside=visited)
    candidates = Candidates(
        numbers,
        torch.from_numpy(acceptance),
        torch.from_numpy(likeness),
        fold[people[numbers]],
        np.isin(numbers, list(judged)),
    )
    return Selection(candidates, np.stack([kept[number] for number in numbers.tolist()]), len(visited), visited)


class _Pool:
    """The walk through a pool, with the rates of all pictures met."""

    def __init__(
        self,
        rate: Rate,
        usable: Usable,
        people: np.ndarray,
        fold: np.ndarray,
        recipe: Recipe,
        folds: int,
        seed: int,
    ) -> None:
        self._rate, self._usable, self._people, self._fold = rate, usable, people, fold
        self._recipe, self._folds, self._seed = recipe, folds, seed
        self._known: dict[int, tuple[float, float]] = {}
        self._by_rule = by_rule(recipe)

    def rates(self, numbers: np.ndarray, inside: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return acceptance and likeness of pictures; the acceptance is 0 for those that are not `inside`."""
        found = np.array([self._known.get(number, (0.0, 0.0)) for number in numbers.tolist()]).reshape(-1, 2)
        mask = np.ones(len(numbers), bool) if inside is None else np.isin(numbers, inside)
        return found[:, 0] * mask, found[:, 1]

    def walk(self) -> np.ndarray:
        """Visit pictures in random order until enough are accepted; return those visited, ascending."""
        recipe = self._recipe
        parts: list[np.ndarray] = []
        trained = np.zeros(self._folds, int)
        block = max(recipe.chunk, BLOCK_ITEMS)
        for items in walk(len(self._people), seed=self._seed, reach=recipe.max_looks, block=block, chunk=recipe.chunk):
            self._meet(items)
            parts.append(items)
            accepted = items[self._accepted(items)]
            trained += [(self._fold[self._people[accepted]] != number).sum() for number in range(self._folds)]
            if trained.min() >= recipe.accepted and not self._by_rule:
                break
        return np.sort(np.concatenate(parts))

    def training_views(self, visited: np.ndarray) -> dict[int, np.ndarray]:
        """Return picture -> (V,) bool of the views that the trainings draw."""
        views = self._recipe.views
        acceptance, likeness = self.rates(visited)
        numbers = visited[acceptance > 0]
        if self._by_rule:  # the rule draws among all pictures of an identity
            return {number: np.ones(views, bool) for number in numbers.tolist()}
        needed: dict[int, np.ndarray] = {}
        fold = self._fold[self._people[numbers]]
        for held_out in [*range(self._folds), *([None] if self._folds > 1 else [])]:
            rows = np.flatnonzero(np.ones(len(numbers), bool) if held_out is None else fold != held_out)
            drawn = Candidates(
                numbers[rows],
                torch.from_numpy(acceptance[acceptance > 0][rows]),
                torch.from_numpy(likeness[acceptance > 0][rows]),
                fold[rows],
                np.zeros(len(rows), bool),
            )
            for picture, view in zip(*np.divmod(self._first_draws(drawn), views), strict=True):
                needed.setdefault(int(drawn.numbers[picture]), np.zeros(views, bool))[view] = True
        return needed

    def judged(self, visited: np.ndarray) -> set[int]:
        """Return the pictures of held-out identities that the gate judges by."""
        most, chosen = self._recipe.judged, set[int]()
        fold = self._fold[self._people[visited]]
        for number in range(self._folds):
            held_out = visited[fold == number]
            held_out = held_out[random_order(held_out, seed=self._seed, epoch=0)]
            # half of them at most, so that others of the same people find room
            of_fold = dict.fromkeys(held_out[self._accepted(held_out)].tolist()[: most // 2])
            beside = self._of_same_people(np.array(list(of_fold), np.int64), set(of_fold))
            self._meet(beside)
            of_fold |= dict.fromkeys([*beside.tolist(), *held_out.tolist()])
            good = [item for item in list(of_fold) if self._known[item][0] > 0]
            chosen |= set(good[:most])
        return chosen

    def siblings(self, visited: np.ndarray, kept: set[int]) -> list[int]:
        """Return further pictures of the people whose pictures like the target are trained on."""
        numbers = np.array([number for number in visited.tolist() if number in kept], np.int64)
        likeness = self.rates(numbers)[1]
        alike = numbers[accept_at(likeness, numbers, seed=self._seed)]
        beside = self._of_same_people(alike, kept)
        return beside[self._usable(beside)].tolist() if len(beside) else []

    def _of_same_people(self, numbers: np.ndarray, without: set[int]) -> np.ndarray:
        """Return up to `recipe.siblings` random other pictures of each person, ascending."""
        found: list[int] = []
        for person in np.unique(self._people[numbers]):
            first, last = np.searchsorted(self._people, [person, person + 1])
            theirs = np.arange(first, last)
            theirs = theirs[random_order(theirs, seed=self._seed, epoch=0)]
            found += [item for item in theirs.tolist() if item not in without][: self._recipe.siblings]
        return np.array(sorted(found), np.int64)

    def _meet(self, items: np.ndarray) -> None:
        new = np.array([item for item in items.tolist() if item not in self._known], np.int64)
        if len(new):
            self._known.update(zip(new.tolist(), zip(*self._rate(new), strict=True), strict=True))

    def _accepted(self, items: np.ndarray) -> np.ndarray:
        """Return which pictures epoch 0 accepts: (n,) bool."""
        return accept_at(self.rates(items)[0], items, seed=self._seed)

    def _first_draws(self, drawn: Candidates) -> np.ndarray:
        """Return the views that a training draws: those of the first epochs that fill its steps.

        Without a step they are those of epoch 0, whose pictures the whitening pairs.
        """
        recipe = self._recipe
        draw = draws_of(drawn, torch.zeros(len(drawn), dtype=torch.int64), recipe.views, recipe, seed=self._seed)
        if not recipe.steps:
            return draw(0)
        wanted, found, epoch = recipe.steps * recipe.batch_size, list[np.ndarray](), 0
        while sum(map(len, found)) < wanted:
            found.append(draw(epoch))
            epoch += 1
            if epoch == MAX_EMPTY_EPOCHS and sum(map(len, found)) < recipe.batch_size:
                raise LowAcceptanceError(
                    f"{len(self._known)} of {len(self._people)} pictures were looked at, and {epoch} epochs accept "
                    f"fewer than one batch of {recipe.batch_size} of them: raise `retain_fraction` or `max_looks`, or "
                    "lower the envelope."
                )
        return np.concatenate(found)[:wanted]
