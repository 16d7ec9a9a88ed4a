"""What a run needs of a pool: all that its trainings draw, little more, and no more of a larger pool."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from law import SIGMAS

from rsft.errors import InputError, LowAcceptanceError
from rsft.face.adaptation.candidates import Candidates, draws_of
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.selection import Selection, select
from rsft.sampling.acceptance import accept_at
from rsft.sampling.full_batches import FullBatches
from rsft.sampling.walk import BLOCK_ITEMS

SMALL = Recipe(accepted=60, judged=50, siblings=2, steps=12, batch_size=16, views=3)


@dataclass
class MadePool:
    """A pool of people with a number of pictures each, of which some are like the target.

    Attributes:
        rated: How often each picture was rated.
        checked: Number of times that each picture was asked whether it can be used.
    """

    pictures: int = 3000
    each: int = 6
    alike: float = 0.3
    least: float = 0.2
    parts: int = 2
    unusable: float = 0.0
    seed: int = 0
    rated: np.ndarray = field(init=False)
    checked: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        generator = np.random.default_rng(self.seed)
        self.people = np.arange(self.pictures) // self.each
        self.fold = generator.integers(0, self.parts, self.people[-1] + 1)
        self.likeness = np.where(generator.random(self.pictures) < self.alike, generator.random(self.pictures), 0.0)
        self.acceptance = np.maximum(self.least, self.likeness)
        self.broken = generator.random(self.pictures) < self.unusable
        self.acceptance[self.broken] = self.likeness[self.broken] = 0.0
        self.rated, self.checked = np.zeros(self.pictures, int), np.zeros(self.pictures, int)

    def rate(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert (np.diff(items) > 0).all()
        self.rated[items] += 1
        return self.acceptance[items], self.likeness[items]

    def usable(self, items: np.ndarray) -> np.ndarray:
        self.checked[items] += 1
        return ~self.broken[items]

    def select(self, recipe: Recipe = SMALL, folds: int = 2, seed: int = 0) -> Selection:
        return select(self.rate, self.usable, self.people, self.fold, recipe, folds=folds, seed=seed)

    def candidates(self, inside: np.ndarray) -> Candidates:
        """Return all pictures of the pool, of which only those `inside` can be accepted."""
        every = np.arange(self.pictures)
        acceptance = np.where(np.isin(every, inside), self.acceptance, 0.0)
        return Candidates(
            every,
            torch.from_numpy(acceptance),
            torch.from_numpy(self.likeness),
            self.fold[self.people],
            np.ones(self.pictures, bool),
        )


def trainings(folds: int) -> list[int | None]:
    """Return the fold that each training holds out; None for the last one of all people."""
    return [*range(folds), *([None] if folds > 1 else [])]


def drawn(candidates: Candidates, recipe: Recipe, held_out: int | None, seed: int = 0) -> Iterator[tuple[int, int]]:
    """Yield (row among all candidates, view) in the order in which `tune` reads them."""
    rows = np.flatnonzero(candidates.fold != held_out) if held_out is not None else np.arange(len(candidates))
    some = candidates.subset(rows)
    draw = draws_of(some, torch.zeros(len(rows), dtype=torch.int64), recipe.views, recipe, seed=seed)
    batches = FullBatches(lambda epoch: draw(epoch).tolist(), recipe.batch_size).endless()
    for batch in itertools.islice(batches, recipe.steps):
        for number in batch.tolist():
            yield int(rows[number // recipe.views]), number % recipe.views


@pytest.mark.parametrize("folds", [1, 2, 3])
@pytest.mark.parametrize("changes", [{}, {"steps": 100}, {"siblings": 0, "judged": 1}, {"accepted": 700, "chunk": 5}])
def test_the_trainings_draw_views_that_are_kept_in_the_order_of_the_whole_pool(
    folds: int, changes: dict[str, int]
) -> None:
    """Limited to what the passes visit. Nothing else is kept but for prototypes and the gate."""
    recipe = SMALL.model_copy(update=changes)
    pool = MadePool(parts=max(folds, recipe.parts(500)) if folds == 1 else folds, unusable=0.1)
    found = pool.select(recipe, folds, seed=3)
    candidates = found.candidates
    needed = np.zeros_like(found.kept)
    for held_out in trainings(folds):
        taken = list(drawn(candidates, recipe, held_out, seed=3))
        assert len(taken) == recipe.steps * recipe.batch_size
        rows, views = np.array(taken).T
        assert found.kept[rows, views].all()
        assert not (candidates.fold[rows] == held_out).any()
        needed[rows, views] = True
        of_pool = list(drawn(pool.candidates(found.visited), recipe, held_out, seed=3))
        assert [(int(candidates.numbers[row]), view) for row, view in taken] == of_pool
    more = found.kept & ~needed
    assert not more[:, 2:].any()  # the gate takes two views, and a prototype the first
    assert not more[~candidates.judged][:, 1:].any()
    assert found.kept[candidates.judged, :2].all()
    assert found.kept.any(1).all()


@pytest.mark.parametrize("folds", [1, 2])
def test_without_a_step_the_pictures_of_the_first_epoch_are_kept_for_the_whitening(folds: int) -> None:
    pool = MadePool(parts=5 if folds == 1 else 2)
    found = pool.select(SMALL.model_copy(update={"steps": 0, "judged": 1, "siblings": 0}), folds)
    inside = found.visited[accept_at(pool.acceptance[found.visited], found.visited, seed=0)]
    trained = inside[(pool.fold[pool.people[inside]] != 0) | (folds == 2)]
    assert len(trained) > 40
    assert set(trained) <= set(found.candidates.numbers)


def test_what_is_said_of_each_picture_is_true() -> None:
    pool = MadePool(unusable=0.1)
    found = pool.select()
    numbers, visited = found.candidates.numbers, found.visited
    assert (np.diff(numbers) > 0).all()
    assert (np.diff(visited) > 0).all()
    assert found.reach == len(visited)
    assert not pool.broken[numbers].any()
    assert found.candidates.fold.tolist() == pool.fold[pool.people[numbers]].tolist()
    inside = np.isin(numbers, visited)
    assert 0 < inside.sum() < len(numbers)
    assert found.candidates.acceptance.tolist() == np.where(inside, pool.acceptance[numbers], 0.0).tolist()
    known = pool.rated[numbers] > 0
    assert found.candidates.likeness.numpy()[known].tolist() == pool.likeness[numbers[known]].tolist()
    assert pool.rated.max() == 1


@pytest.mark.parametrize("folds", [1, 2])
def test_a_walk_ends_once_every_training_accepts_enough(folds: int) -> None:
    pool = MadePool(pictures=30_000, parts=5 if folds == 1 else 2)
    recipe = SMALL.model_copy(update={"accepted": 400})
    visited = pool.select(recipe, folds).visited
    accepted = visited[accept_at(pool.acceptance[visited], visited, seed=0)]
    of_each = [int((pool.fold[pool.people[accepted]] != held_out).sum()) for held_out in range(folds)]
    assert len(visited) % BLOCK_ITEMS == 0
    assert 400 <= min(of_each) <= 400 + BLOCK_ITEMS
    whole = MadePool(pictures=300).select(recipe, 2)
    assert whole.visited.tolist() == list(range(300))  # and at the latest at the end of the pool


def test_a_hundred_times_larger_pool_is_not_looked_at_more() -> None:
    """About accepted / rate pictures are rated, whatever the size; the walks of different pools are independent."""
    recipe = SMALL.model_copy(update={"accepted": 1000, "judged": 300})
    counts = []
    for pictures in (10_000, 1_000_000):
        pool = MadePool(pictures, parts=5)
        found = pool.select(recipe, folds=1)
        rate = pool.acceptance.mean() * (pool.fold[pool.people] != 0).mean()
        expected, error = 1000 / rate, np.sqrt(1000 * (1 - rate)) / rate
        assert expected - SIGMAS * error < len(found.visited) < expected + SIGMAS * error + BLOCK_ITEMS
        assert pool.rated.sum() < len(found.visited) + 300 * recipe.siblings
        assert (pool.checked > pool.rated).sum() < recipe.siblings * len(found.candidates)
        counts.append(len(found.candidates))
    assert abs(counts[0] - counts[1]) < 0.15 * counts[0]


def test_the_gate_judges_accepted_pictures_then_those_of_the_same_people_then_any() -> None:
    pool = MadePool(parts=5, unusable=0.1)
    recipe = SMALL.model_copy(update={"accepted": 400, "judged": 90})
    found = pool.select(recipe, folds=1)
    judged = found.candidates.numbers[found.candidates.judged]
    assert len(judged) == 90
    assert (pool.fold[pool.people[judged]] == 0).all()
    held_out = found.visited[pool.fold[pool.people[found.visited]] == 0]
    accepted = held_out[accept_at(pool.acceptance[held_out], held_out, seed=0)]
    assert len(accepted) > 40
    few = SMALL.model_copy(update={"accepted": 400, "judged": 40})
    assert set(pool.select(few, folds=1).candidates.numbers) & set(accepted)
    of_few = pool.select(few, folds=1).candidates
    some = set(of_few.numbers[of_few.judged])  # if they are too many, half are of these and the others find room
    assert 20 <= len(some & set(accepted)) < len(some) == 40
    many = SMALL.model_copy(update={"accepted": 400, "judged": 5000})
    of_many = pool.select(many, folds=1).candidates
    everyone = of_many.numbers[of_many.judged]
    assert set(accepted) <= set(everyone)
    assert set(held_out[~pool.broken[held_out]]) <= set(everyone)
    beside = np.setdiff1d(everyone, held_out)
    assert len(beside) > 20
    assert set(pool.people[beside]) <= set(pool.people[accepted])
    assert np.bincount(pool.people[beside]).max() <= recipe.siblings
    assert not pool.broken[everyone].any()


def test_prototypes_get_further_pictures_of_people_who_are_accepted_for_the_target() -> None:
    pool = MadePool(parts=5, unusable=0.1)
    for siblings in (0, 2):
        recipe = SMALL.model_copy(update={"judged": 1, "siblings": siblings, "accepted": 300})
        found = pool.select(recipe, folds=1)
        numbers = found.candidates.numbers
        trained = {row for row, _ in drawn(found.candidates, recipe, 0)}
        beside = [row for row in range(len(numbers)) if row not in trained and not found.candidates.judged[row]]
        known = np.setdiff1d(np.arange(len(numbers)), beside)
        alike = numbers[known][accept_at(pool.likeness[numbers[known]], numbers[known], seed=0)]
        assert np.isin(pool.people[numbers[beside]], pool.people[alike]).all()
        assert (len(beside) > 20) == (siblings > 0)
        assert np.bincount(pool.people[numbers[beside]], minlength=1).max() <= siblings
        assert (found.kept[beside] == (np.arange(recipe.views) == 0)).all()
        for person in np.unique(pool.people[alike]):
            theirs = np.flatnonzero(pool.people == person)
            others = np.setdiff1d(theirs, numbers[known])
            taken = np.isin(others, numbers[beside]).sum() + pool.broken[theirs].sum()  # a broken one is not replaced
            assert taken >= min(siblings, len(others))


def test_pictures_that_cannot_be_used_change_no_decision_of_the_others() -> None:
    """The walk visits all of both pools, so that it ends at the same picture."""
    recipe = SMALL.model_copy(update={"accepted": 10_000})
    whole, holed = MadePool(), MadePool()
    holed.broken[::7] = True
    holed.acceptance[::7] = holed.likeness[::7] = 0.0
    found = [pool.select(recipe).candidates for pool in (whole, holed)]
    assert not holed.broken[found[1].numbers].any()
    for epoch in range(3):
        of_whole, of_holed = (
            draws_of(pool.candidates(np.arange(3000)), torch.zeros(3000, dtype=torch.int64), 3, recipe, seed=0)(epoch)
            for pool in (whole, holed)
        )
        assert of_holed.tolist() == of_whole[~holed.broken[of_whole // 3]].tolist()
    shared = np.intersect1d(found[0].numbers, found[1].numbers)
    values = [one.acceptance.numpy()[np.isin(one.numbers, shared)] for one in found]
    assert len(shared) > 200
    assert values[0].tolist() == values[1].tolist()


def test_another_seed_visits_others_and_the_same_the_same() -> None:
    first, again, other = (MadePool().select(seed=seed) for seed in (0, 0, 1))
    assert first.visited.tolist() == again.visited.tolist()
    assert first.candidates.numbers.tolist() == again.candidates.numbers.tolist()
    np.testing.assert_array_equal(first.kept, again.kept)
    assert len(np.intersect1d(first.visited, other.visited)) < 0.5 * len(first.visited)


def test_no_more_pictures_are_looked_at_than_allowed() -> None:
    pool = MadePool(pictures=30_000, least=0.01, alike=0.0)
    recipe = SMALL.model_copy(update={"accepted": 10_000, "max_looks": 700, "siblings": 0, "judged": 5})
    assert len(pool.select(recipe).visited) == 700
    assert pool.rated.sum() == 700


@pytest.mark.parametrize("acceptance", [0.0, 1e-9])
def test_too_little_acceptance_is_an_error_with_advice(acceptance: float) -> None:
    pool = MadePool(pictures=400, alike=0.0, least=acceptance)
    with pytest.raises(LowAcceptanceError, match=r"400 of 400 pictures were looked at.*raise `retain_fraction`"):
        pool.select()


@pytest.mark.parametrize("rule", [{"accept_by": "identity"}, {"floor": 2}])
def test_a_rule_for_identities_keeps_all_that_it_may_draw_and_is_refused_in_a_larger_pool(rule: dict[str, str]) -> None:
    pool = MadePool(pictures=300)
    found = pool.select(SMALL.model_copy(update={"max_looks": 300, "accepted": 1} | rule))
    assert found.visited.tolist() == list(range(300))
    accepted = found.candidates.acceptance.numpy() > 0
    assert found.candidates.numbers[accepted].tolist() == np.flatnonzero(pool.acceptance).tolist()
    assert found.kept[accepted].all()
    larger = MadePool(pictures=301)
    with pytest.raises(InputError, match=r"looks at all 301 pictures, and recipe\.max_looks is 300"):
        larger.select(SMALL.model_copy(update={"max_looks": 300} | rule))
    assert not larger.rated.any()
