"""Who is held out together, and which views an epoch draws: laws of the draws, and what they do not depend on."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from law import SIGMAS, assert_draws_the_target, assert_uniform
from torch import Tensor

from rsft.face.adaptation.candidates import Candidates, deal_people, draws_of
from rsft.face.adaptation.recipe import Recipe
from rsft.sampling.acceptance import acceptance_probability
from rsft.sampling.identities import mind_identities

VIEWS = 4
NAMES = st.lists(st.text(min_size=1, max_size=5), unique=True, min_size=1, max_size=60)


def candidates_of(acceptance: Tensor, numbers: np.ndarray | None = None) -> Candidates:
    numbers = np.arange(len(acceptance)) if numbers is None else numbers
    nobody = np.zeros(len(numbers), int)
    return Candidates(numbers, acceptance, torch.zeros(len(numbers)), nobody, nobody > 0)


def draw_of(candidates: Candidates, epoch: int, seed: int = 0, **settings: object) -> np.ndarray:
    """Return the views that an epoch draws: (m, 2), the number of the picture in the pool, and the view."""
    classes = torch.zeros(len(candidates), dtype=torch.int64)
    drawn = draws_of(candidates, classes, VIEWS, Recipe(**settings), seed=seed)(epoch)  # type: ignore[arg-type]
    picture, view = np.divmod(drawn, VIEWS)
    return np.stack([candidates.numbers[picture], view], 1)


# Parts


@given(NAMES, st.integers(1, 8), st.integers(0, 5))
def test_parts_are_nearly_equal_whatever_the_order_of_the_names(names: list[str], parts: int, seed: int) -> None:
    dealt = deal_people(names, parts, seed)
    counts = np.bincount(dealt, minlength=parts)
    assert len(counts) == parts
    assert counts.max() - counts.min() <= 1
    assert deal_people(names[::-1], parts, seed).tolist() == dealt[::-1].tolist()


@given(NAMES, st.integers(1, 8), st.data())
def test_who_joins_moves_at_most_one_person_over_each_border(names: list[str], parts: int, data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(names))
    others = [name for name in names if name != one]
    before = dict(zip(others, deal_people(others, parts, 0), strict=True))
    after = dict(zip(names, deal_people(names, parts, 0), strict=True))
    assert sum(before[name] != after[name] for name in others) <= parts - 1


def test_another_seed_deals_independently() -> None:
    names, parts = [f"person {number}" for number in range(4000)], 4
    one, other = (deal_people(names, parts, seed) for seed in (0, 1))
    assert np.abs((one == other).mean() - 1 / parts) < SIGMAS * np.sqrt(3 / 16 / len(names))
    assert_uniform((one * parts + other).tolist(), parts**2)


# Draws


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_an_epoch_draws_the_target(epoch: int) -> None:
    def rule(log_ratio: Tensor, log_m: float, seed: int) -> np.ndarray:
        candidates = candidates_of(acceptance_probability(log_ratio, log_m))
        return np.isin(candidates.numbers, draw_of(candidates, epoch, seed)[:, 0])

    assert_draws_the_target(rule, seed=2)


def test_a_picture_is_drawn_as_often_as_its_probability_says() -> None:
    """Balanced epochs: to within about one time, where independent epochs would be off by four."""
    acceptance = torch.linspace(0, 1, 200, dtype=torch.float64)
    candidates, epochs = candidates_of(acceptance), 60
    drawn = np.concatenate([draw_of(candidates, epoch)[:, 0] for epoch in range(epochs)])
    times = np.bincount(drawn, minlength=200)
    assert np.abs(times - epochs * acceptance.numpy()).max() < 3.1


@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(0, 10))
def test_what_is_drawn_of_some_pictures_does_not_depend_on_the_others(seed: int, epoch: int, share: int) -> None:
    """Neither the decision, nor the view, nor the order; also far into a large pool."""
    generator = np.random.default_rng(seed)
    numbers = np.sort(generator.choice(2**40, 60, replace=False))
    candidates = candidates_of(torch.from_numpy(generator.random(60)), numbers)
    some = generator.random(60) < share / 10
    whole = draw_of(candidates, epoch, seed)
    limited = whole[np.isin(whole[:, 0], numbers[some])]
    assert draw_of(candidates.subset(some), epoch, seed).tolist() == limited.tolist()


def test_each_view_of_a_picture_comes_once_in_so_many_epochs_from_a_random_one_on() -> None:
    candidates = candidates_of(torch.ones(8000, dtype=torch.float64))
    views = np.empty((VIEWS, 8000), int)
    for epoch in range(VIEWS):
        drawn = draw_of(candidates, epoch)
        assert sorted(drawn[:, 0].tolist()) == list(range(8000))
        views[epoch, drawn[:, 0]] = drawn[:, 1]
    assert (np.sort(views, 0) == np.arange(VIEWS)[:, None]).all()
    assert_uniform(views[0].tolist(), VIEWS)
    assert_uniform((views[0, ::2] * VIEWS + views[0, 1::2]).tolist(), VIEWS**2)  # neighbours are independent


def test_all_orders_are_equally_likely_and_each_epoch_has_its_own() -> None:
    candidates = candidates_of(torch.ones(3, dtype=torch.float64), np.array([5, 6, 70_000]))
    orders = [tuple(draw_of(candidates, epoch)[:, 0].tolist()) for epoch in range(3000)]
    assert_uniform(orders, 6)
    assert_uniform(zip(orders[::2], orders[1::2], strict=True), 36)


def test_another_seed_draws_others() -> None:
    candidates = candidates_of(torch.full((400,), 0.5, dtype=torch.float64))
    first, second = (set(draw_of(candidates, 0, seed)[:, 0].tolist()) for seed in (0, 1))
    assert 50 < len(first & second) < 150


@pytest.mark.parametrize(("accept_by", "floor"), [("identity", 1), ("item", 3)])
def test_a_rule_for_identities_decides_in_place_of_the_pictures(accept_by: str, floor: int) -> None:
    acceptance = torch.full((90,), 0.3, dtype=torch.float64)
    classes = torch.arange(30).repeat_interleave(3)
    recipe = Recipe(accept_by=accept_by, floor=floor)  # type: ignore[arg-type]
    rule = mind_identities(acceptance, classes, accept_by, floor)
    assert rule is not None
    draw = draws_of(candidates_of(acceptance), classes, VIEWS, recipe, seed=4)
    for epoch in range(5):
        picture = np.sort(draw(epoch) // VIEWS)
        assert picture.tolist() == rule.accepted(4, epoch).tolist()
        assert (np.bincount(picture // 3, minlength=30) % 3 == 0).all()
