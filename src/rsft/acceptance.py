"""Acceptance probability and the accept decision, both pure functions.

The decision for an item is `u < P_accept` with `u` a function of (seed, epoch, item index) alone: word `index` of the
counter-based generator Philox4x64-10 (J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) with the
key (seed, epoch). Nothing is drawn in sequence, so the accepted set is the same for any batch size, number of workers,
number of ranks or resume point.
"""

import math
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

WORDS_PER_BLOCK = 4


class Stream(IntEnum):
    """Independent streams under one (seed, epoch): the highest word of Philox's counter."""

    ACCEPT = 0
    SHUFFLE = 1
    ONLINE = 2
    FLOOR = 3


def acceptance_probability(log_ratio: Tensor, log_m: float) -> Tensor:
    """P_accept = min(1, r / M) for log r = `log_ratio`.

    Where r > M the probability is 1 and the target is clipped there; `Envelope.clipped_mass` says by how much.

    Args:
        log_ratio: (N,) log target - log proposal; -inf where the target has no mass.
        log_m: log of the envelope M, finite.

    Returns:
        (N,) in [0, 1], of the dtype and on the device of `log_ratio`.

    Raises:
        ValueError: a log ratio is NaN or +inf, or `log_m` is not finite.

    >>> acceptance_probability(torch.tensor([2.0, 1.0, 0.5]).log(), math.log(2))
    tensor([1.0000, 0.5000, 0.2500])
    """
    check_log_ratio(log_ratio, "acceptance_probability(log_ratio=...)")
    if not math.isfinite(log_m):
        raise ValueError(f"`acceptance_probability(log_m=...)` needs a finite number, got {log_m}.")
    return (log_ratio - log_m).clamp(max=0).exp()


def check_log_ratio(log_ratio: Tensor, call: str) -> None:
    """Refuse what is not an (N,) log ratio; `call` names the argument in the message."""
    if log_ratio.ndim != 1 or not log_ratio.is_floating_point():
        raise ValueError(f"`{call}` needs a floating (N,) tensor, got {log_ratio.dtype} {tuple(log_ratio.shape)}.")
    wrong = torch.isnan(log_ratio) | torch.isposinf(log_ratio)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise ValueError(
            f"`{call}` has {int(wrong.sum())} values that are NaN or +inf, the first at row {row}: "
            "a ratio must be finite; check the features or densities of those items."
        )


def accept(acceptance: np.ndarray, *, seed: int, epoch: int = 0, start: int = 0) -> np.ndarray:
    """The accept decisions of items `start`, `start + 1`, ...

    Args:
        acceptance: (n,) probabilities in [0, 1].
        seed: in [0, 2^64).
        epoch: in [0, 2^64); every epoch draws anew.
        start: index of the first item.

    Returns:
        (n,) bool.

    >>> whole = accept(np.full(10, 0.5), seed=0)
    >>> parts = [accept(np.full(5, 0.5), seed=0, start=start) for start in (0, 5)]
    >>> bool((whole == np.concatenate(parts)).all())
    True
    """
    return uniforms(seed, epoch, start, start + len(acceptance)) < acceptance


def uniforms(seed: int, epoch: int, start: int, stop: int, stream: Stream = Stream.ACCEPT) -> np.ndarray:
    """Numbers of items `start` ... `stop - 1`: (stop - start,) float64 in [0, 1), multiples of 2^-53."""
    return (random_words(seed, epoch, start, stop, stream) >> np.uint64(11)) * 2.0**-53


def random_words(seed: int, epoch: int, start: int, stop: int, stream: Stream = Stream.ACCEPT) -> np.ndarray:
    """Words `start` ... `stop - 1` of Philox4x64-10 with key (seed, epoch): (stop - start,) uint64."""
    for name, value in (("seed", seed), ("epoch", epoch), ("start", start)):
        if not 0 <= value < 2**64:
            raise ValueError(f"`{name}` needs an integer in [0, 2^64), got {value}.")
    block, offset = divmod(start, WORDS_PER_BLOCK)
    key = np.array([seed, epoch], np.uint64)
    counter = np.array([block, 0, 0, stream], np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(stop - start + offset)[offset:]
