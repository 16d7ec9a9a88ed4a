"""RejectionSampler: exact draws of accepted items for a DataLoader, the same for any number of ranks or workers."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsft.per_item import as_probabilities
from rsft.sampling.division import Spans
from rsft.sampling.order import (
    CHUNKS_PER_WINDOW,
    GLOBAL_ITEMS,
    WINDOW_ITEMS,
    chunk_size,
    order_window,
    split_into_windows,
)
from rsft.sampling.probabilities import (
    BLOCK,
    AcceptanceRule,
    BlockFunction,
    Probabilities,
    RuleDraws,
    merge,
)
from rsft.sampling.sequence import GlobalSequence


class RejectionSampler(GlobalSequence[int]):
    """Sampler of the indices of accepted items, drawn anew in every epoch.

    Item i is accepted in epoch e if and only if `u(seed, e, i) < acceptance[i]`, where u is uniform on [0, 1). Its
    place in the order of the epoch follows from another such number. Both are pure functions of (seed, epoch, index),
    so an epoch is one global sequence. `GlobalSequence` describes how ranks divide it.

    A pool of more than 2^24 items is drawn and shuffled in windows (see `rsft.sampling.order`), so the first batch does
    not wait for the whole pool. For such a pool, `len` reads the whole pool once per epoch, and resuming draws the
    skipped part of the epoch again.

    Args:
        acceptance: (N,) acceptance probabilities in [0, 1] as a tensor, NumPy array, memmap or list, where a uint8
            value v stands for v / 255 (see `quantise`); or a function (start, stop) -> (stop - start,) probabilities of
            those items; or an `AcceptanceRule`.
        seed: Integer in [0, 2^64).
        shuffle: If True, the accepted items are in random order; otherwise they are ordered by index.
        rank: Number of this process. The default is that of `torch.distributed` if initialised, 0 otherwise.
        world_size: Number of processes. The default is that of `torch.distributed` if initialised, 1 otherwise.
        items: N, if `acceptance` is a function; None otherwise.
        window: Number of pool items that are shuffled together, at least 32. The default is the whole pool up to 2^24
            items, and 2^20 for larger pools.
        pad: If True, an incomplete last step (one item per process) is filled by repeating its items; otherwise it is
            left out.
        balanced: If True, the numbers u of an item over epochs are its own low-discrepancy sequence, so that it is
            accepted about P * E times in E epochs; see `accept_at`. It has no effect on an `AcceptanceRule`.
        shares: If True, rank k of n takes the k-th of n consecutive shares of the sequence, not every n-th item. Of a
            pool of several windows it then puts only its own in order, after it has counted the accepted items of all.

    Raises:
        ValueError: If a probability is outside [0, 1] or NaN, the shape is not (N,), the rank is outside
            [0, world_size), or the window has fewer than 32 items.

    >>> sampler = RejectionSampler(torch.tensor([1.0, 0.0, 1.0, 0.0]), shuffle=False)
    >>> list(sampler)
    [0, 2]
    """

    def __init__(
        self,
        acceptance: Tensor | np.ndarray | Sequence[float] | BlockFunction | AcceptanceRule,
        *,
        seed: int = 0,
        shuffle: bool = True,
        rank: int | None = None,
        world_size: int | None = None,
        items: int | None = None,
        window: int | None = None,
        pad: bool = False,
        balanced: bool = True,
        shares: bool = False,
    ) -> None:
        super().__init__(rank, world_size, pad, shares)
        self._pool = (
            RuleDraws(acceptance) if isinstance(acceptance, AcceptanceRule) else Probabilities(acceptance, items)
        )
        self.items = len(self._pool)
        self.seed = seed
        self.shuffle = shuffle
        self.balanced = balanced
        self.shares = shares
        if window is None:
            window = GLOBAL_ITEMS if self.items <= GLOBAL_ITEMS else WINDOW_ITEMS
        if window < CHUNKS_PER_WINDOW:
            raise ValueError(f"`RejectionSampler(window=...)` needs at least {CHUNKS_PER_WINDOW} items, got {window}.")
        self.window = window
        self._pending = np.empty(0, np.int64), np.empty(0, np.float64)
        self._fingerprint: int | None = None
        self._forget()

    def update(self, indices: Tensor, acceptance: Tensor) -> None:
        """Give items new probabilities, which take effect when `set_epoch` chooses another epoch.

        The current epoch does not change. `state_dict` contains every probability that was replaced. With several
        ranks, pass the same values on all of them (see `gather_updates`).

        Args:
            indices: (n,) int64 item indices, without duplicates.
            acceptance: (n,) new probabilities of these items, in [0, 1].

        Raises:
            TypeError: If the sampler draws by an `AcceptanceRule`, or `indices` are not integers.
            ValueError: If the shapes differ, an index or a probability is out of range, or an index occurs twice.
        """
        if isinstance(self._pool, RuleDraws):
            raise TypeError("`update` needs a sampler of probabilities, this one draws by a rule: make a new one.")
        items = torch.as_tensor(indices).cpu()
        if items.is_floating_point():
            raise TypeError(f"`update(indices=...)` needs integers, got {items.dtype}.")
        if items.ndim != 1 or np.shape(acceptance) != items.shape:
            raise ValueError(
                f"`update` needs (n,) indices and (n,) probabilities, got {tuple(items.shape)}, {np.shape(acceptance)}."
            )
        if len(items) and not 0 <= int(items.min()) <= int(items.max()) < self.items:
            raise ValueError(
                f"`update(indices=...)` needs items in [0, {self.items}), got {items.min()} to {items.max()}."
            )
        if len(items.unique()) < len(items):
            raise ValueError("`update(indices=...)` needs each item once: pass one value for each item.")
        values = as_probabilities(acceptance, "update(acceptance=...)")
        self._pending = merge((items.to(torch.int64).numpy(), values), self._pending)

    def accepted(self, epoch: int | None = None) -> Tensor:
        """Return all items accepted in an epoch, over all ranks: (n,) int64, ascending.

        Args:
            epoch: Epoch to draw; the default is the current one.
        """
        epoch = self.epoch if epoch is None else epoch
        return torch.from_numpy(np.concatenate([np.empty(0, np.int64), *self._accepted_blocks(epoch)]))

    def sequence(self) -> Tensor:
        """Return the accepted items of the current epoch in order, before ranks divide them: (n,) int64."""
        return torch.from_numpy(np.concatenate([np.empty(0, np.int64), *self._parts()]))

    def _choose(self, epoch: int) -> None:
        self._pool.replace(*self._pending)
        self._pending = np.empty(0, np.int64), np.empty(0, np.float64)
        self._forget()

    def _contents(self) -> dict[str, Any]:
        if self._fingerprint is None:
            self._fingerprint = self._pool.fingerprint()
        return {
            "seed": self.seed,
            "items": self.items,
            "acceptance": self._fingerprint,
            "order": [self.shuffle, self.window, self.balanced, *(["shares"] if self.shares else [])],
            "updated": [torch.from_numpy(part) for part in (self._pool.indices, self._pool.values)],
            "pending": [torch.from_numpy(part) for part in self._pending],
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        if state["items"] != self.items:
            raise ValueError(
                f"`load_state_dict` got the state of a pool of {state['items']} items, but this pool has "
                f"{self.items}: resume with the pool of the original run."
            )
        here = self._contents()
        for name, what in (("acceptance", "probabilities"), ("order", "`shuffle`, `window`, `balanced` or `shares`")):
            if state[name] != here[name]:
                raise ValueError(
                    f"`load_state_dict` got a state made with other {what}: {state[name]}, here {here[name]}. Resume "
                    "with those of the original run; pass new probabilities to `update`."
                )
        self.seed = state["seed"]
        self._pool.indices, self._pool.values = (part.numpy() for part in state["updated"])
        indices, values = state["pending"]
        self._pending = indices.numpy(), values.numpy()
        self._forget()

    def _forget(self) -> None:
        """Drop everything cached for the current epoch."""
        self._windows: list[np.ndarray] | None = None
        self._last: tuple[int, np.ndarray] | None = None
        self._counted: list[int] | None = None

    def _accepted_blocks(self, epoch: int) -> Iterator[np.ndarray]:
        for start in range(0, self.items, BLOCK):
            yield self._draw(epoch, start, min(start + BLOCK, self.items))

    def _draw(self, epoch: int, start: int, stop: int) -> np.ndarray:
        return self._pool.draw(self.seed, epoch, start, stop, balanced=self.balanced)

    def _count(self) -> int:
        return sum(self._counts())

    def _counts(self) -> list[int]:
        """Return the number of accepted items of each window."""
        if self._counted is None:
            if self.items <= self.window:
                self._counted = [len(part) for part in self._parts()]
            else:
                self._counted = [
                    sum(len(self._draw(self.epoch, *block)) for block in self._blocks(chunks))
                    for chunks in self._split()
                ]
        return self._counted

    def _parts(self) -> Iterator[np.ndarray]:
        """Yield the sequence window by window."""
        yield from map(self._window, range(len(self._split())))

    def _between(self, spans: Spans) -> Iterator[np.ndarray]:
        starts = np.concatenate([[0], np.cumsum(self._counts())]).tolist()
        for first, last in spans:
            for number in range(bisect_right(starts, first) - 1, bisect_left(starts, last)):
                start = starts[number]
                yield self._window(number)[max(0, first - start) : last - start]

    def _window(self, number: int) -> np.ndarray:
        """Return the accepted items of a window in order."""
        # The last window is cached, so that a pool of one window is not drawn again for `len` or another iteration.
        if self._last is None or self._last[0] != number:
            self._last = number, self._order(self._split()[number])
        return self._last[1]

    def _split(self) -> list[np.ndarray]:
        """Return the chunk numbers of each window."""
        if self._windows is None:
            self._windows = split_into_windows(
                self.items, self.window, seed=self.seed, epoch=self.epoch, shuffle=self.shuffle
            )
        return self._windows

    def _blocks(self, chunks: np.ndarray) -> list[tuple[int, int]]:
        """Return (start, stop) of each chunk of a window."""
        size = chunk_size(self.window)
        return [(chunk * size, min((chunk + 1) * size, self.items)) for chunk in chunks.tolist()]

    def _order(self, chunks: np.ndarray) -> np.ndarray:
        return order_window(
            lambda start, stop: self._draw(self.epoch, start, stop),
            self._blocks(chunks),
            seed=self.seed,
            epoch=self.epoch,
            shuffle=self.shuffle,
        )
