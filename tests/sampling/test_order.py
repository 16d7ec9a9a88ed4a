import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from rsft.sampling.acceptance import Stream, random_words
from rsft.sampling.order import CHUNK_ITEMS, GLOBAL_ITEMS, WINDOW_ITEMS, chunk_size, order_window, split_into_windows

FALSE_ALARM = 1e-6


def whole(items: int, window: int, seed: int, epoch: int = 0, shuffle: bool = True) -> np.ndarray:
    """Return the order of all items if all are accepted."""
    size = chunk_size(window)
    windows = split_into_windows(items, window, seed=seed, epoch=epoch, shuffle=shuffle)
    parts = [
        order_window(
            np.arange,
            [(chunk * size, min((chunk + 1) * size, items)) for chunk in chunks.tolist()],
            seed=seed,
            epoch=epoch,
            shuffle=shuffle,
        )
        for chunks in windows
    ]
    return np.concatenate(parts)


@pytest.mark.parametrize(("items", "window"), [(1000, 1024), (1000, 64), (5000, 1024), (31, 32)])
def test_every_item_occurs_once_and_seeds_and_epochs_differ(items: int, window: int) -> None:
    orders = [whole(items, window, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert all(sorted(order) == list(range(items)) for order in orders)
    assert len({order.tobytes() for order in orders}) == 3
    assert whole(items, window, 0, shuffle=False).tolist() == list(range(items))


def test_one_window_is_a_uniform_permutation() -> None:
    """All 24 orders of 4 items are equally frequent, and the position of each of 40 items is uniform."""
    seeds = 9_600
    ranks = np.array([whole(4, 32, seed) for seed in range(seeds)])
    _, counts = np.unique(ranks, axis=0, return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > FALSE_ALARM
    places = np.array([np.argsort(whole(40, 64, seed)) for seed in range(1000)])
    for place in places.T:
        assert stats.chisquare(np.bincount(place, minlength=40)).pvalue > FALSE_ALARM / 40


def test_neighbours_ascend_as_often_as_in_a_random_permutation() -> None:
    """Neighbours ascend as often as they descend; a sort by 16 bits alone fails this check."""
    order = whole(200_000, 2**18, 3)
    ascents = np.count_nonzero(np.diff(order) > 0)
    # variance of the number of ascents of a random permutation: (n + 1) / 12
    assert abs(ascents - 199_999 / 2) < 5 * math.sqrt(200_001 / 12)
    high_bits_only = np.concatenate([np.sort(part) for part in np.array_split(order, 2**16)])
    assert abs(np.count_nonzero(np.diff(high_bits_only) > 0) - 199_999 / 2) > 5 * math.sqrt(200_001 / 12)


def test_windows_combine_random_chunks_and_mix_their_items() -> None:
    """An item is in each window with equal probability, and a batch has items of almost all chunks of its window."""
    items, window = 8 * 1024, 1024
    firsts = np.array([np.argsort(whole(items, window, seed)) // window for seed in range(300)])
    for item in (0, 31, 32, 5000, items - 1):
        assert stats.chisquare(np.bincount(firsts[:, item], minlength=8)).pvalue > FALSE_ALARM
    # items of one chunk share a window; items of two chunks do so with the probability of random chunks, 31 of 255
    together = np.mean(firsts[:, 0] == firsts[:, 5000])
    expected = 31 / 255
    assert abs(together - expected) < 5 * math.sqrt(expected * (1 - expected) / 300)
    assert (firsts[:, 0] == firsts[:, 31]).all()
    batch = whole(items, window, 0)[:256] // 32
    # 256 of 1,024 items miss each of the 32 chunks with probability (3/4)^32
    assert len(set(batch.tolist())) >= 31


def test_a_large_pool_is_cut_into_chunks_and_windows() -> None:
    windows = split_into_windows(10 * WINDOW_ITEMS + 1, WINDOW_ITEMS, seed=0, epoch=0, shuffle=True)
    assert [len(chunks) for chunks in windows] == [WINDOW_ITEMS // CHUNK_ITEMS] * 10 + [1]
    assert sorted(np.concatenate(windows)) == list(range(321))
    assert all(a < b for chunks in windows for a, b in pairwise(chunks.tolist()))
    (one,) = split_into_windows(GLOBAL_ITEMS, GLOBAL_ITEMS, seed=0, epoch=0, shuffle=True)
    assert len(one) == GLOBAL_ITEMS // CHUNK_ITEMS


@pytest.mark.parametrize(("window", "size"), [(32, 1), (63, 1), (64, 2), (2**20, 2**15), (2**24, 2**15)])
def test_a_chunk_is_a_32nd_of_a_window_up_to_2_to_the_15_items(window: int, size: int) -> None:
    assert chunk_size(window) == size


@pytest.mark.parametrize(("items", "window"), [(1000, 64), (4097, 128), (96, 32), (64, 64)])
def test_chunks_and_items_are_sorted_by_their_random_words(items: int, window: int) -> None:
    """The slow way: sort chunk numbers by their words, then the accepted items of each window by theirs."""
    seed, epoch, size = 5, 3, window // 32
    chunks = range(-(-items // size))
    by_chunk = random_words(seed, epoch, 0, len(chunks), Stream.SHUFFLE, part=1).tolist()
    by_item = random_words(seed, epoch, 0, items, Stream.SHUFFLE, bits=32).tolist()
    order = sorted(chunks, key=lambda chunk: by_chunk[chunk])
    expected = [sorted(order[first : first + 32]) for first in range(0, len(order), 32)]
    windows = split_into_windows(items, window, seed=seed, epoch=epoch, shuffle=True)
    assert [part.tolist() for part in windows] == expected
    for part in expected:
        blocks = [(chunk * size, min((chunk + 1) * size, items)) for chunk in part]
        accepted = [item for start, stop in blocks for item in range(start, stop) if item % 3]
        found = order_window(
            lambda start, stop: np.array([item for item in range(start, stop) if item % 3], np.int64),
            blocks,
            seed=seed,
            epoch=epoch,
            shuffle=True,
        )
        assert found.tolist() == sorted(accepted, key=lambda item: by_item[item])


def test_without_shuffling_windows_and_items_ascend() -> None:
    windows = split_into_windows(200, 64, seed=0, epoch=0, shuffle=False)
    assert [part.tolist() for part in windows] == [
        list(range(32)),
        list(range(32, 64)),
        list(range(64, 96)),
        list(range(96, 100)),
    ]
    found = order_window(np.arange, [(4, 6), (0, 2)], seed=0, epoch=0, shuffle=False)
    assert found.tolist() == [4, 5, 0, 1]


def test_a_large_window_is_sorted_by_whole_keys_and_equal_keys_keep_the_order_of_their_items() -> None:
    """Of 400,000 keys of 32 bits about 19 pairs are equal, and about as many differ in one given bit alone."""
    items = 400_000
    keys = random_words(1, 0, 0, items, Stream.SHUFFLE, bits=32)
    assert len(np.unique(keys)) < items
    assert (whole(items, 2**19, 1) == np.lexsort((np.arange(items), keys))).all()
