"""Permutations are bijections, uniform as far as promised, and need little memory; wrong ones are told apart."""

import math
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from law import FALSE_ALARM, assert_uniform
from scipy import stats

from rsft.sampling import permutation as module
from rsft.sampling.acceptance import Stream, random_words
from rsft.sampling.permutation import Permutation

SORTED, FEISTEL = 2**16, 0
EPOCHS = 4000
Order = Callable[[int], np.ndarray]  # epoch -> order of all items


def order(items: int, epoch: int, *, sorted_items: int, seed: int = 0) -> np.ndarray:
    return Permutation(items, seed=seed, epoch=epoch, sorted_items=sorted_items)(np.arange(items))


@pytest.mark.parametrize("sorted_items", [SORTED, FEISTEL])
def test_every_number_comes_once_for_any_size(sorted_items: int) -> None:
    for items in [*range(1, 300), 1000, 10_007, 2**16 - 1, 2**16, 2**16 + 1, 99_991]:
        found = order(items, items, sorted_items=sorted_items)
        assert (np.bincount(found, minlength=items) == 1).all(), items


@given(st.integers(1, 10**12), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_numbers_of_a_large_pool_are_distinct_and_do_not_depend_on_what_else_is_asked(
    items: int, seed: int, epoch: int
) -> None:
    places = np.unique(np.random.default_rng(0).integers(0, items, 100))
    drawn = Permutation(items, seed=seed, epoch=epoch)
    found = drawn(places)
    assert len(np.unique(found)) == len(places)
    assert 0 <= found.min() <= found.max() < items
    assert drawn(places[::-3]).tolist() == found[::-3].tolist()


def sorted_by_keys(epoch: int, items: int = 4, *, keys: int) -> np.ndarray:
    """A wrong order, in which ties of few keys keep the numbers in their order."""
    return np.argsort(random_words(0, epoch, 0, items, Stream.PERMUTE) % np.uint64(keys), kind="stable")


def rotated(epoch: int, items: int = 4) -> np.ndarray:
    """A wrong order, in which neighbours stay neighbours."""
    return np.roll(np.arange(items), int(random_words(0, epoch, 0, 1, Stream.PERMUTE)[0] % np.uint64(items)))


def swapped(epoch: int, items: int = 4) -> np.ndarray:
    """A wrong order: each number changes places with any other, not only with one that follows."""
    found, words = np.arange(items), random_words(0, epoch, 0, items, Stream.PERMUTE)
    for place in range(items):
        other = int(words[place] % np.uint64(items))
        found[[place, other]] = found[[other, place]]
    return found


WRONG: dict[str, Order] = {
    "few keys": partial(sorted_by_keys, keys=16),
    "rotated": rotated,
    "naive swaps": swapped,
    "one order for all epochs": lambda epoch: order(4, 0, sorted_items=SORTED),
}


@pytest.mark.parametrize("items", [2, 3, 4, 5])
def test_every_order_of_few_numbers_is_equally_likely(items: int) -> None:
    found = [tuple(order(items, epoch, sorted_items=SORTED).tolist()) for epoch in range(3 * EPOCHS)]
    assert set(found) <= set(permutations(range(items)))
    assert_uniform(found, math.factorial(items))


@pytest.mark.parametrize("name", WRONG)
def test_wrong_orders_are_told_apart(name: str) -> None:
    with pytest.raises(AssertionError):
        assert_uniform((tuple(WRONG[name](epoch).tolist()) for epoch in range(3 * EPOCHS)), 24)


def assert_scattered(draw: Callable[[int, int], np.ndarray]) -> None:
    """Assert that single numbers, and the distances of some pairs, are uniform over epochs.

    Args:
        draw: Function from a number of items and an epoch to the order.
    """
    items, bins = 1000, 20
    orders = np.stack([draw(items, epoch) for epoch in range(EPOCHS)])
    for place in (0, 1, 499, 999):
        assert_uniform((orders[:, place] * bins // items).tolist(), bins)
    columns = -(-items // (math.isqrt(items - 1) + 1))
    for place, other in ((0, 1), (998, 999), (0, columns), (500, 500 + columns), (0, 999)):
        distance = (orders[:, other] - orders[:, place]) % items
        assert_uniform((np.minimum(distance - 1, items - 2) * bins // (items - 1)).tolist(), bins)
        assert (distance == 1).sum() < stats.poisson(EPOCHS / (items - 1)).ppf(1 - FALSE_ALARM) + 1


@pytest.mark.parametrize("sorted_items", [SORTED, FEISTEL])
def test_any_place_of_an_order_may_hold_any_number_and_neighbours_do_not_stay_together(sorted_items: int) -> None:
    assert_scattered(partial(order, sorted_items=sorted_items))


@pytest.mark.parametrize("rounds", [2, 0])
def test_too_few_rounds_keep_neighbours_together(rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUNDS", rounds)
    with pytest.raises(AssertionError):
        assert_scattered(partial(order, sorted_items=FEISTEL))


def test_rotations_of_the_whole_keep_neighbours_together() -> None:
    with pytest.raises(AssertionError):
        assert_scattered(lambda items, epoch: rotated(epoch, items))


@pytest.mark.parametrize("sorted_items", [SORTED, FEISTEL])
def test_seeds_and_epochs_have_orders_of_their_own_that_do_not_change(sorted_items: int) -> None:
    def drawn() -> list[tuple[int, ...]]:
        each = [(seed, epoch) for seed in (0, 1, 2**64 - 1) for epoch in (0, 1, 2)]
        return [tuple(order(500, epoch, sorted_items=sorted_items, seed=seed).tolist()) for seed, epoch in each]

    assert len(set(drawn())) == 9
    assert drawn() == drawn()
    # As often as by chance, an order has a number in the place where another order has it.
    first, second = (np.array(found) for found in drawn()[:2])
    assert (first == second).sum() < stats.poisson(1).ppf(1 - FALSE_ALARM)


def peak(items: int) -> int:
    """Return the memory in bytes to look up the two ends of an order."""
    tracemalloc.start()
    found = Permutation(items, seed=0, epoch=1)(np.array([0, items - 1]))
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(set(found.tolist())) == 2
    return used


def test_ten_billion_numbers_need_memory_for_the_square_root_of_them_and_no_wait() -> None:
    began = time.perf_counter()
    Permutation(10**10, seed=0, epoch=0)(np.arange(256))
    assert time.perf_counter() - began < 1
    assert peak(10**10) < 200 * 10**5  # bytes: 8 rotations of 8 for each of 10^5 rows or columns, and what passes
    assert 8 < peak(10**12) / peak(10**10) < 12
