"""The way of a pass through a pool that is not looked at beforehand: blocks of items in random order."""

from collections.abc import Iterator

import numpy as np

from rsft.sampling.acceptance import Stream, random_words_at
from rsft.sampling.permutation import Permutation

BLOCK_ITEMS = 256


def walk(
    items: int, *, seed: int, epoch: int = 0, reach: int | None = None, block: int = BLOCK_ITEMS, chunk: int = 1
) -> Iterator[np.ndarray]:
    """Yield all items that a pass visits, block by block.

    The pool is cut into chunks of neighbouring items, and the chunks are visited in random order: every order is
    equally likely up to 2^16 chunks, and pseudorandom for more. Chunks of one item make the order of the items random,
    and each item is read at a place of its own. In longer chunks an archive or a slow disk is read in order, and
    neighbours stay together within a block. In an epoch after 0, the same chunks are visited in another order.

    Args:
        items: Number N of items of the pool.
        seed: Integer in [0, 2^64).
        epoch: Integer in [0, 2^64).
        reach: Number of items that all passes visit, rounded up to chunks: those that epoch 0 visits first. None for
            the whole pool.
        block: Number of items in a block, at least `chunk`.
        chunk: Number of neighbouring items that are visited together.

    Yields:
        (n,) int64 items of each block, ascending.

    >>> [part.tolist() for part in walk(6, seed=0, block=4, chunk=2)]
    [[0, 1, 4, 5], [2, 3]]
    """
    first = Permutation(-(-items // chunk), seed=seed, epoch=0)
    visited = -(-min(items, items if reach is None else reach) // chunk)
    later = Permutation(visited, seed=seed, epoch=epoch) if epoch else None
    for start in range(0, visited, block // chunk):
        places = np.arange(start, min(start + block // chunk, visited))
        chunks = np.sort(first(places if later is None else later(places)))
        part = (chunks[:, None] * chunk + np.arange(chunk)).ravel()
        yield part[part < items]


def random_order(items: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """Return the places (n,) int64 of items (n,) int64 in an order that depends on (seed, epoch, item) alone."""
    return np.argsort(random_words_at(seed, epoch, items, Stream.SHUFFLE), kind="stable")
