"""Near-copies in the target are found by their distance; rows of honest targets are not joined."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from rsft.groups import in_order
from rsft.ratio.near_copies import near_copies
from rsft.ratio.rows import Rows

ITEMS = np.arange(200) // 10
Draw = Callable[[np.random.Generator, int], np.ndarray]


def groups_of(pool: np.ndarray, target: np.ndarray) -> np.ndarray:
    return near_copies(Rows(torch.from_numpy(pool), "pool"), Rows(torch.from_numpy(target), "t"), np.arange(len(pool)))


def copies(draws: np.random.Generator, width: int, noise: float) -> np.ndarray:
    return (0.8 * draws.normal(size=(20, width)) + 0.5)[ITEMS] + noise * draws.normal(size=(200, width))


@pytest.mark.parametrize(("width", "noise"), [(2, 0.0005), (8, 0.001), (8, 0.03), (32, 0.1), (128, 0.2)])
@pytest.mark.parametrize("order", ["in turn", "mixed"])
def test_copies_with_little_noise_are_the_items_that_they_are_of(width: int, noise: float, order: str) -> None:
    draws = np.random.default_rng(0)
    pool, target = draws.normal(size=(1000, width)), copies(draws, width, noise)
    place = np.arange(200) if order == "in turn" else draws.permutation(200)
    np.testing.assert_array_equal(groups_of(pool, target[place]), in_order(ITEMS[place]))
    scaled = 1 + 100 * draws.uniform(size=width)
    np.testing.assert_array_equal(groups_of(pool * scaled, target[place] * scaled), in_order(ITEMS[place]))


def people(draws: np.random.Generator, rows: int, width: int) -> np.ndarray:
    return draws.normal(size=(rows // 10, width)).repeat(10, 0) + 0.5 * draws.normal(size=(rows, width))


@pytest.mark.parametrize("width", [1, 2, 8, 64])
@pytest.mark.parametrize("law", ["same", "narrow", "people", "copies with much noise"])
def test_honest_targets_keep_their_rows(law: str, width: int) -> None:
    """Mistaken for copies, people would be a tenth."""
    kept = []
    for seed in range(5):
        draws = np.random.default_rng(seed)
        pool = people(draws, 1000, width) if law == "people" else draws.normal(size=(1000, width))
        target = {
            "same": lambda draws=draws: draws.normal(size=(200, width)),
            "narrow": lambda draws=draws: 0.05 * draws.normal(size=(200, width)) + 2,
            "people": lambda draws=draws: people(draws, 200, width),
            "copies with much noise": lambda draws=draws: copies(draws, width, 1.0),
        }[law]()
        kept.append(len(np.unique(groups_of(pool, target))))
    assert kept == [200] * 5


@pytest.mark.parametrize("coarse", [lambda x: np.round(x), lambda x: np.eye(4)[(x[:, 0] > 0) + 2 * (x[:, 1] > 0)]])
def test_counts_and_classes_are_no_copies(coarse: Callable[[np.ndarray], np.ndarray]) -> None:
    draws = np.random.default_rng(0)
    sides = (coarse(draws.normal(size=(rows, 2))) for rows in (1000, 200))
    assert len(np.unique(groups_of(*sides))) == 200


def test_small_and_constant_sides_are_let_be() -> None:
    draws = np.random.default_rng(0)
    for pool, target in (((20, 3), (30, 3)), ((100, 3), (2, 3))):
        assert len(np.unique(groups_of(draws.normal(size=pool), draws.normal(size=target)))) == target[0]
    assert len(np.unique(groups_of(np.ones((100, 2)), np.ones((60, 2))))) == 60
