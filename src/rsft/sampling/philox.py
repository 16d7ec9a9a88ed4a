"""The counter-based generator Philox4x64-10 at scattered counters; NumPy's own only runs through consecutive ones.

J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011.
"""

import numpy as np

ROUNDS = 10
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
HALF, LOW_HALF = np.uint64(32), np.uint64(0xFFFFFFFF)


def philox(seed: int, epoch: int, blocks: np.ndarray, part: int, stream: int) -> np.ndarray:
    """Return the four words of each block of Philox4x64-10 with key (seed, epoch).

    They are the words of `numpy.random.Philox` with this key and the counter (block, 0, part, stream).

    Args:
        seed: Integer in [0, 2^64).
        epoch: Integer in [0, 2^64).
        blocks: (n,) uint64 lowest word of the counter, below 2^64 - 1.
        part: Second highest word of the counter.
        stream: Highest word of the counter.

    Returns:
        (n, 4) uint64.
    """
    first = blocks + np.uint64(1)  # NumPy counts on before it generates
    second, third, fourth = (np.full(len(blocks), word, np.uint64) for word in (0, part, stream))
    for number in range(ROUNDS):
        key, other_key = (
            np.uint64((word + number * step) % 2**64) for word, step in zip((seed, epoch), WEYL, strict=True)
        )
        high, low = _multiply(first, MULTIPLIERS[0])
        other_high, other_low = _multiply(third, MULTIPLIERS[1])
        first, second, third, fourth = other_high ^ second ^ key, other_low, high ^ fourth ^ other_key, low
    return np.stack([first, second, third, fourth], 1)


def _multiply(words: np.ndarray, by: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the upper and the lower 64 bits of the products of 64-bit words with a constant."""
    by_high, by_low = np.uint64(by >> 32), np.uint64(by & 0xFFFFFFFF)
    high, low = words >> HALF, words & LOW_HALF
    crossed = high * by_low + (low * by_low >> HALF)
    other = low * by_high + (crossed & LOW_HALF)
    return high * by_high + (crossed >> HALF) + (other >> HALF), words * np.uint64(by)
