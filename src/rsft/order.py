"""The order of an epoch: accepted items in one global sequence, made window by window.

A pool of up to `GLOBAL_ITEMS` is one window, so every order of the accepted items is equally likely (up to ties between
32-bit keys, which keep their index order). A larger one is cut into chunks of neighbouring items; the chunks are put in
random order, some 32 in a row make a window, and the accepted items of a window are shuffled together. So what stands
close together in a large pool stays within one window, among the items of 31 other places; every chunk is as likely to
come first as last. Both orders follow from words of (seed, epoch, chunk) and (seed, epoch, item).
"""

from collections.abc import Callable

import numpy as np

from rsft.acceptance import Stream, random_words

GLOBAL_ITEMS = 2**24
WINDOW_ITEMS = 2**20
CHUNK_ITEMS = 2**15
CHUNKS_PER_WINDOW = 32


def chunk_size(window: int) -> int:
    """Items in a chunk, for windows of `window` items."""
    return min(CHUNK_ITEMS, window // CHUNKS_PER_WINDOW)


def split_into_windows(items: int, window: int, *, seed: int, epoch: int, shuffle: bool) -> list[np.ndarray]:
    """The numbers of the chunks of each window, ascending within it: (k,) int64 each."""
    size = chunk_size(window)
    chunks, per_window = -(-items // size), window // size
    if shuffle and chunks > per_window:
        order = np.argsort(random_words(seed, epoch, 0, chunks, Stream.SHUFFLE, part=1), kind="stable")
    else:
        order = np.arange(chunks)
    return [np.sort(order[first : first + per_window]) for first in range(0, chunks, per_window)]


def order_window(
    draw: Callable[[int, int], np.ndarray], blocks: list[tuple[int, int]], *, seed: int, epoch: int, shuffle: bool
) -> np.ndarray:
    """The accepted items of one window in their order.

    Args:
        draw: (start, stop) -> the accepted of those items, ascending.
        blocks: (start, stop) of each chunk.
        seed: of the order.
        epoch: likewise.
        shuffle: whether to order them at random; in the order of `blocks` otherwise.

    Returns:
        (n,) int64.
    """
    drawn, keys = [], []
    for start, stop in blocks:
        accepted = draw(start, stop)
        drawn.append(accepted)
        if shuffle:
            keys.append(random_words(seed, epoch, start, stop, Stream.SHUFFLE, bits=32)[accepted - start])
    accepted = np.concatenate(drawn)
    if not shuffle:
        return accepted
    # Sorting by the lower half, then stably by the upper one, sorts by the key; 16 bits are sorted in linear time.
    key = np.concatenate(keys)
    by_low = np.argsort((key & np.uint32(0xFFFF)).astype(np.uint16), kind="stable")
    accepted, high = accepted[by_low], (key >> np.uint32(16)).astype(np.uint16)[by_low]
    return accepted[np.argsort(high, kind="stable")]
