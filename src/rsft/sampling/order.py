"""The order of an epoch: the accepted items as one global sequence, produced window by window.

A pool of up to `GLOBAL_ITEMS` items is one window, so every order of the accepted items is equally likely (up to ties
between 32-bit keys, which keep their index order). A larger pool is cut into chunks of neighbouring items. The chunks
are put in random order, about 32 consecutive chunks form a window, and the accepted items of a window are shuffled
together. Neighbours in a large pool therefore stay within one window, mixed with the items of 31 other chunks. Every
chunk is equally likely to come first or last. Both orders depend only on random words of (seed, epoch, chunk) and
(seed, epoch, item).
"""

from collections.abc import Callable

import numpy as np

from rsft.sampling.acceptance import Stream, random_words

GLOBAL_ITEMS = 2**24
WINDOW_ITEMS = 2**20
CHUNK_ITEMS = 2**15
CHUNKS_PER_WINDOW = 32
LOWER = 2**32 - 1  # the lower half of 64 bits


def chunk_size(window: int) -> int:
    """Return the number of items in a chunk, for windows of `window` items."""
    return min(CHUNK_ITEMS, window // CHUNKS_PER_WINDOW)


def split_into_windows(items: int, window: int, *, seed: int, epoch: int, shuffle: bool) -> list[np.ndarray]:
    """Return the chunk numbers of each window, ascending within a window: a list of (k,) int64 arrays."""
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
    """Return the accepted items of one window in the order of the epoch.

    Args:
        draw: Function (start, stop) -> accepted items in [start, stop), ascending.
        blocks: (start, stop) of each chunk.
        seed: Seed for the order.
        epoch: Epoch; every epoch has its own order.
        shuffle: If True, the order is random; otherwise it is that of `blocks`.

    Returns:
        (n,) int64 item indices.
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
    # Each key with the number of its item below it is one 64-bit integer: one sort, and equal keys keep their order.
    short = accepted if accepted.max(initial=0) <= LOWER else np.arange(len(accepted))
    packed = np.concatenate(keys).astype(np.uint64)
    packed <<= np.uint64(32)
    packed |= short.view(np.uint64)
    packed.sort()
    packed &= np.uint64(LOWER)
    order = packed.view(np.int64)
    return order if short is accepted else accepted[order]
