import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from law import assert_uniform

from rsft.sampling.walk import random_order, walk

SIZES = st.tuples(st.integers(1, 400), st.integers(1, 40), st.integers(0, 60), st.integers(1, 500))


def shuffled(items: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """Return items in random order."""
    return items[random_order(items, seed=seed, epoch=epoch)]


@given(SIZES, st.integers(0, 3), st.integers(0, 2**64 - 1))
def test_a_pass_visits_the_same_items_once_in_every_epoch(
    sizes: tuple[int, int, int, int], epoch: int, seed: int
) -> None:
    items, chunk, more, reach = sizes
    block = chunk + more
    parts = list(walk(items, seed=seed, epoch=epoch, reach=reach, block=block, chunk=chunk))
    visited = np.concatenate(parts)
    assert len(np.unique(visited)) == len(visited)
    assert 0 <= visited.min() <= visited.max() < items
    assert len(np.unique(visited // chunk)) == -(-min(items, reach) // chunk)
    assert all(len(part) <= block and (np.diff(part) > 0).all() for part in parts)
    whole = np.concatenate(list(walk(items, seed=seed, block=chunk, chunk=chunk)))
    assert sorted(whole.tolist()) == list(range(items))
    assert set(visited.tolist()) == set(whole[: len(visited)].tolist())  # what epoch 0 visits first


@given(SIZES, st.integers(0, 3))
def test_chunks_stay_together_within_a_block(sizes: tuple[int, int, int, int], epoch: int) -> None:
    items, chunk, more, reach = sizes
    for part in walk(items, seed=0, epoch=epoch, reach=reach, block=chunk + more, chunk=chunk):
        for number in np.unique(part // chunk):
            inside = part[part // chunk == number]
            assert inside.tolist() == list(range(number * chunk, min(items, (number + 1) * chunk)))


@pytest.mark.parametrize("reach", [5, None])
@pytest.mark.parametrize("epoch", [0, 1])
def test_every_order_of_the_chunks_is_equally_likely(epoch: int, reach: int | None) -> None:
    def found(seed: int) -> tuple[int, ...]:
        parts = list(walk(8, seed=seed, epoch=epoch, reach=reach, block=3, chunk=2))
        return tuple(int(part[0]) for part in parts)

    # 4 chunks of 2; with a reach of 5, three of them, in any order
    assert_uniform((found(seed) for seed in range(6000)), 24)


def test_epochs_and_seeds_have_their_own_orders() -> None:
    passes = {
        tuple(np.concatenate(list(walk(300, seed=seed, epoch=epoch, reach=200, block=10))).tolist())
        for seed in (0, 1)
        for epoch in (0, 1, 2)
    }
    assert len(passes) == 6


@pytest.mark.parametrize(("epoch", "reach"), [(0, None), (1, None), (3, 10**7)])
def test_the_first_block_of_ten_billion_items_comes_at_once(epoch: int, reach: int | None) -> None:
    tracemalloc.start()
    began = time.perf_counter()
    first = next(walk(10**10, seed=0, epoch=epoch, reach=reach, block=256))
    seconds, used = time.perf_counter() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(np.unique(first)) == 256
    assert first.max() > 9 * 10**9
    assert seconds < 2
    assert used < 64 * 2**20


def test_a_shuffle_ranks_items_by_numbers_of_their_own() -> None:
    items = np.array([3, 7, 8, 20, 10**12])
    whole = shuffled(items, seed=5, epoch=6).tolist()
    assert sorted(whole) == items.tolist()
    some = shuffled(items[::2], seed=5, epoch=6).tolist()
    assert some == [item for item in whole if item in items[::2]]
    assert len(shuffled(items[:0], seed=5, epoch=6)) == 0
    assert_uniform((tuple(shuffled(items[:4], seed=0, epoch=epoch).tolist()) for epoch in range(6000)), 24)
