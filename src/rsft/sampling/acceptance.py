"""Acceptance probability and the accept decision, both pure functions.

An item is accepted if `u < P_accept`. Here `u` is a multiple of 2^-53 in [0, 1) that depends on (seed, epoch, item
index) alone. It comes from the counter-based generator Philox4x64-10 (J. Salmon et al., "Parallel random numbers: as
easy as 1, 2, 3", 2011) with the key (seed, epoch). The top 16 bits of `u` are 16-bit word `index` of the stream, and
its lower 37 bits come from 64-bit word `index` of the stream's second part. The top bits decide all but one item in
65,536, so the second part is read only for the undecided ones. No number is drawn in sequence, so the accepted set is
the same for any batch size, number of workers, number of ranks or resume point.
"""

import math
from enum import IntEnum
from typing import Any

import numpy as np
from torch import Tensor

from rsft.per_item import as_log_ratio, as_numbers, as_probabilities, check_probabilities
from rsft.sampling.philox import philox

WORDS_PER_BLOCK = 4
TOP_BITS, LOW_BITS = 16, 37
U_BITS = TOP_BITS + LOW_BITS
GOLDEN = round((math.sqrt(5) - 1) / 2 * 2**U_BITS)


class Stream(IntEnum):
    """Independent random streams of one (seed, epoch); the value is the highest word of Philox's counter."""

    ACCEPT = 0
    SHUFFLE = 1
    ONLINE = 2
    ROUND = 3
    ITEM = 4
    FLOOR = 5
    PERMUTE = 6
    VIEW = 7


def acceptance_probability(log_ratio: Any, log_m: float) -> Tensor:
    """Compute the acceptance probabilities min(1, r / M), where log r is `log_ratio` and log M is `log_m`.

    Where r > M the probability is 1, so the target is clipped there; `Envelope.clipped_mass` states by how much.

    Args:
        log_ratio: (N,) floating, log target density - log proposal density; -inf where the target has no mass.
        log_m: Log of the envelope M, finite.

    Returns:
        (N,) probabilities in [0, 1], on the device of `log_ratio`; float64 if it is float64, and float32 otherwise,
        as half precision could not hold a small probability.

    Raises:
        ValueError: If `log_ratio` is not floating (N,), a log ratio is NaN or +inf, or `log_m` is not finite.

    >>> import torch
    >>> acceptance_probability(torch.tensor([2.0, 1.0, 0.5]).log(), math.log(2))
    tensor([1.0000, 0.5000, 0.2500])
    """
    log_ratio = as_log_ratio(log_ratio, "acceptance_probability(log_ratio=...)")
    if not math.isfinite(log_m):
        raise ValueError(f"`acceptance_probability(log_m=...)` needs a finite number, got {log_m}.")
    return (log_ratio - log_m).clamp(max=0).exp()


def accept(acceptance: Any, *, seed: int, epoch: int = 0, start: int = 0, balanced: bool = False) -> np.ndarray:
    """Decide for each of the items `start`, `start + 1`, ... whether it is accepted.

    Args:
        acceptance: (n,) acceptance probabilities in [0, 1]: an array, tensor or list.
        seed: Integer in [0, 2^64).
        epoch: Integer in [0, 2^64). Every epoch has its own random numbers.
        start: Index of the first item, in [0, 2^64).
        balanced: If True, the numbers of an item over epochs are its own low-discrepancy sequence, see `accept_at`.

    Returns:
        (n,) bool mask of the accepted items.

    Raises:
        ValueError: If `seed`, `epoch` or `start` is out of range, or a value is no probability.

    >>> whole = accept(np.full(10, 0.5), seed=0)
    >>> parts = [accept(np.full(5, 0.5), seed=0, start=start) for start in (0, 5)]
    >>> bool((whole == np.concatenate(parts)).all())
    True
    """
    given = as_numbers(acceptance, "accept(acceptance=...)")
    check_probabilities(given, "accept(acceptance=...)", start)
    return decide(given, seed=seed, epoch=epoch, start=start, balanced=balanced)


def decide(acceptance: np.ndarray, *, seed: int, epoch: int, start: int, balanced: bool) -> np.ndarray:
    """Decide as `accept` does, for (n,) floating probabilities that have been checked."""
    key, step = _balance(epoch) if balanced else (epoch, 0)
    top = random_words(seed, key, start, start + len(acceptance), bits=TOP_BITS)
    if step:
        top += np.uint16(step >> LOW_BITS)  # modulo 2^16, as u is modulo 1
    scaled = np.multiply(acceptance, 2.0**TOP_BITS, dtype=np.result_type(acceptance, np.float32))
    above = scaled - top
    accepted = above > 0
    # The lower bits and those of the step may raise u by up to one or two last places of the top bits, and over 1.
    undecided = accepted & (above < 1 + bool(step))
    if step:
        undecided |= top == 2**TOP_BITS - 1
    for item in np.flatnonzero(undecided):
        exact = _numbers(seed, key, start + int(item), start + int(item) + 1)[0]
        accepted[item] = (int(exact) + step) % 2**U_BITS < float(acceptance[item]) * 2**U_BITS
    return accepted


def accept_at(acceptance: Any, items: np.ndarray, *, seed: int, epoch: int = 0, balanced: bool = False) -> np.ndarray:
    """Decide for scattered items whether they are accepted. The decisions are those of `accept`.

    Args:
        acceptance: (n,) acceptance probabilities in [0, 1].
        items: (n,) int64 indices of the items.
        seed: Integer in [0, 2^64).
        epoch: Integer in [0, 2^64).
        balanced: If True, item i has in epoch e the number `frac(u_i + e * golden ratio)`, where u_i is its number in
            epoch 0. Each epoch alone has the same law as with independent numbers. Over E epochs, an item is accepted
            P_accept * E times to within about one, and 3.1 at most up to 200 epochs, where independent numbers deviate
            by sqrt(P (1 - P) E).

    Returns:
        (n,) bool mask of the accepted items.

    >>> mask = accept(np.full(100, 0.3), seed=1)
    >>> accept_at(np.full(2, 0.3), np.array([7, 50]), seed=1).tolist() == mask[[7, 50]].tolist()
    True
    """
    given = as_probabilities(acceptance, "accept_at(acceptance=...)")
    key, step = _balance(epoch) if balanced else (epoch, 0)
    number = (_numbers_at(seed, key, items) + np.uint64(step)) % np.uint64(2**U_BITS)
    return number < given * 2.0**U_BITS


def accept_epochs(acceptance: Any, items: np.ndarray, epochs: int, *, seed: int) -> np.ndarray:
    """Decide for scattered items in which of the first epochs they are accepted, with balanced numbers.

    Args:
        acceptance: (n,) acceptance probabilities in [0, 1].
        items: (n,) int64 indices of the items.
        epochs: Number E of epochs.
        seed: Integer in [0, 2^64).

    Returns:
        (n, E) bool. Column e is what `accept_at(..., epoch=e, balanced=True)` returns.

    >>> accept_epochs([0.5, 0.5], np.array([7, 50]), 4, seed=1).sum(1)
    array([2, 2])
    """
    bound = as_probabilities(acceptance, "accept_epochs(acceptance=...)") * 2.0**U_BITS
    number = _numbers_at(seed, 0, items)
    steps = np.array([_balance(epoch)[1] for epoch in range(epochs)], np.uint64)
    return (number[:, None] + steps) % np.uint64(2**U_BITS) < bound[:, None]


def _balance(epoch: int) -> tuple[int, int]:
    """Return the epoch whose numbers are used, and the step that is added to them, for balanced epochs."""
    return 0, epoch * GOLDEN % 2**U_BITS


def uniforms(seed: int, epoch: int, start: int, stop: int, stream: Stream = Stream.ACCEPT) -> np.ndarray:
    """Return `u` of items `start` ... `stop - 1`: (stop - start,) float64 in [0, 1), multiples of 2^-53."""
    return _numbers(seed, epoch, start, stop, stream) * 2.0**-U_BITS


def uniforms_at(seed: int, epoch: int, items: np.ndarray, stream: Stream = Stream.ACCEPT) -> np.ndarray:
    """Return `u` of scattered items, (n,) int64 or uint64, as `uniforms` does: (n,) float64 in [0, 1)."""
    return _numbers_at(seed, epoch, items, stream) * 2.0**-U_BITS


def _numbers_at(seed: int, epoch: int, items: np.ndarray, stream: Stream = Stream.ACCEPT) -> np.ndarray:
    """Return `u` of scattered items in units of 2^-53: (n,) uint64."""
    top = random_words_at(seed, epoch, items, stream, bits=TOP_BITS)
    low = random_words_at(seed, epoch, items, stream, part=1) >> np.uint64(64 - LOW_BITS)
    return (top << np.uint64(LOW_BITS)) + low


def _numbers(seed: int, epoch: int, start: int, stop: int, stream: Stream = Stream.ACCEPT) -> np.ndarray:
    """Return `u` in units of 2^-53: (stop - start,) uint64."""
    top = random_words(seed, epoch, start, stop, stream, bits=TOP_BITS).astype(np.uint64)
    low = random_words(seed, epoch, start, stop, stream, part=1) >> np.uint64(64 - LOW_BITS)
    return (top << np.uint64(LOW_BITS)) + low


def random_words(
    seed: int, epoch: int, start: int, stop: int, stream: Stream = Stream.ACCEPT, *, bits: int = 64, part: int = 0
) -> np.ndarray:
    """Return the random words `start` ... `stop - 1` of Philox4x64-10 with key (seed, epoch).

    Args:
        seed: Integer in [0, 2^64).
        epoch: Integer in [0, 2^64).
        start: Index of the first word, in [0, 2^64).
        stop: Index after the last word.
        stream: Highest word of the counter.
        bits: Size of a word: 64, 32 or 16. Shorter words are the parts of 64-bit words, lowest part first.
        part: Second highest word of the counter, for more words of the same items.

    Returns:
        (stop - start,) unsigned integers of `bits` bits.

    Raises:
        ValueError: If `seed`, `epoch` or `start` is out of range.
    """
    _check_words(seed, epoch, start)
    pieces = 64 // bits
    block, offset = divmod(start, WORDS_PER_BLOCK * pieces)
    key = np.array([seed, epoch], np.uint64)
    counter = np.array([block, 0, part, stream], np.uint64)
    count = offset + stop - start
    words = np.random.Philox(key=key, counter=counter).random_raw(-(-count // pieces))
    return words.astype("<u8", copy=False).view(f"<u{bits // 8}")[offset:count]


def random_words_at(
    seed: int, epoch: int, items: np.ndarray, stream: Stream = Stream.ACCEPT, *, bits: int = 64, part: int = 0
) -> np.ndarray:
    """Return scattered words of `random_words`.

    Args:
        seed: Integer in [0, 2^64).
        epoch: Integer in [0, 2^64).
        items: (n,) int64 or uint64 indices of the words.
        stream: Highest word of the counter.
        bits: Size of a word: 64, 32 or 16.
        part: Second highest word of the counter.

    Returns:
        (n,) uint64 below 2^bits.

    Raises:
        ValueError: If `seed` or `epoch` is out of range, or an index is negative.
    """
    _check_words(seed, epoch, int(items.min(initial=0)))
    pieces = 64 // bits
    block, offset = np.divmod(items, WORDS_PER_BLOCK * pieces)
    word, piece = np.divmod(offset, pieces)
    words = philox(seed, epoch, block.astype(np.uint64), part, stream)[np.arange(len(items)), word]
    return words >> (piece * bits).astype(np.uint64) & np.uint64(2**bits - 1)


def _check_words(seed: int, epoch: int, start: int) -> None:
    """Raise ValueError unless the three are in [0, 2^64)."""
    for name, value in (("seed", seed), ("epoch", epoch), ("start", start)):
        if not 0 <= value < 2**64:
            raise ValueError(f"`{name}` needs an integer in [0, 2^64), got {value}.")
