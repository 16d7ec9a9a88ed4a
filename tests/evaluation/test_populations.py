"""Two populations in one sample: found where there is a valley, and hardly ever where there is none."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy.stats import binom

from rsft.evaluation.populations import CHANCE, MIN_ITEMS, _lines, find_two_populations
from rsft.plan import plan

Draw = Callable[[np.random.Generator, int], np.ndarray]
ONE_MODE: dict[str, Draw] = {
    "normal": lambda g, n: g.normal(size=(n, 5)),
    "normal, many features": lambda g, n: g.normal(size=(n, 80)),
    "uniform": lambda g, n: g.uniform(size=(n, 2)),
    "skewed": lambda g, n: np.exp(g.normal(size=(n, 3))),
    "heavy tails": lambda g, n: g.standard_t(3, size=(n, 3)),
    "one constant feature": lambda g, n: np.column_stack([g.normal(size=n), np.ones(n)]),
}


@pytest.mark.parametrize("name", ONE_MODE)
def test_one_population_is_hardly_ever_called_two(name: str) -> None:
    calls = 60
    found = sum(
        find_two_populations(ONE_MODE[name](np.random.default_rng(seed), 80), np.arange(80), seed=seed) is not None
        for seed in range(calls)
    )
    assert found <= binom.ppf(0.999, calls, CHANCE)


def test_a_valley_must_be_looked_for_in_other_items_than_it_was_chosen_by() -> None:
    chances = []
    for seed in range(40):
        items = np.random.default_rng(seed).normal(size=(40, 60))
        chances.append(min(line.chance(items) for line in _lines(items, seed)))
    wrong = sum(chance <= 0.1 for chance in chances)
    assert wrong > binom.ppf(0.9999, 40, 0.1)  # a test at 0.1 by the wrong rule


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_two_populations_are_found_with_their_shares(share: float) -> None:
    for seed in range(10):
        generator = np.random.default_rng(seed)
        second = np.arange(300) < 300 * share
        sample = generator.normal(size=(300, 6)) + 8 * second[:, None] * np.eye(6)[0]
        found = find_two_populations(sample, np.arange(300), seed=seed)
        assert found is not None
        assert found.chance <= CHANCE
        agrees = (found.second == second).mean()
        assert max(agrees, 1 - agrees if share == 0.5 else 0) > 0.99
        assert found.share == pytest.approx(share, abs=0.02)


def test_copies_of_an_item_are_one_item() -> None:
    sample = np.repeat(np.random.default_rng(0).normal(size=(MIN_ITEMS - 1, 2)), 10, axis=0)
    sample[:200] += 20
    groups = np.repeat(np.arange(MIN_ITEMS - 1), 10)
    assert find_two_populations(sample, groups) is None
    assert find_two_populations(sample, np.arange(len(sample))) is not None


def test_equal_items_are_one_population_and_nothing_is_warned_of() -> None:
    same = np.ones((2 * MIN_ITEMS, 3))
    one_other = same + (np.arange(2 * MIN_ITEMS) == 7)[:, None]  # so the items of one half are equal
    for sample in (same, one_other):
        assert find_two_populations(sample, np.arange(len(sample))) is None


def test_a_plan_says_that_its_target_has_two_populations() -> None:
    generator = np.random.default_rng(0)
    pool, target = generator.normal(size=(1500, 2)), generator.normal(size=(200, 2)) * 0.5 + [1, 0]

    def notes() -> Sequence[str]:
        light = ({"light": pool[:, 1]}, {"light": target[:, 1]})
        return plan(pool, target, covariates=light, words={"light": ("dark", "bright")}).notes

    assert notes() == []
    target[:60, 1] -= 4
    (note,) = notes()
    assert note.startswith("the target has two populations, of about 70% and 30% (dark) of its items")
