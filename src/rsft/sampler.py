"""RejectionSampler: what a DataLoader trains on is an exact draw, the same for any number of ranks or workers."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsft.order import CHUNKS_PER_WINDOW, GLOBAL_ITEMS, WINDOW_ITEMS, chunk_size, order_window, split_into_windows
from rsft.probabilities import (
    BLOCK,
    AcceptanceRule,
    BlockFunction,
    Probabilities,
    RuleDraws,
    check_probabilities,
    merge,
)
from rsft.sequence import GlobalSequence


class RejectionSampler(GlobalSequence[int]):
    """Indices of the accepted items, drawn anew every epoch.

    Item i is accepted in epoch e if and only if `u(seed, e, i) < acceptance[i]`, and its place in the epoch's order
    follows from another such number, so both are pure functions of (seed, epoch, index) and the epoch is one global
    sequence. How ranks divide it is said at `GlobalSequence`.

    A pool beyond 2^24 items is drawn and shuffled in windows (see `rsft.order`), so the first batch does not wait for
    the whole pool; `len` then is a pass over the pool, once an epoch, and so is what was skipped on resuming.

    Args:
        acceptance: (N,) probabilities in [0, 1]: a tensor, a numpy array or memmap, where uint8 stands for value / 255
            (see `quantise`); or a function (start, stop) -> probabilities of that block; or an `AcceptanceRule`.
        seed: in [0, 2^64).
        shuffle: whether to order the accepted at random; by index otherwise.
        rank: this process's number; the default is that of `torch.distributed` where initialised, else 0.
        world_size: number of processes; the default likewise, else 1.
        items: N, for a function only.
        window: how many items of the pool are shuffled together, at least 32; the default is all up to 2^24, 2^20 in
            larger pools.
        pad: whether to fill the last step by repeating its items, in place of leaving it out.

    Raises:
        ValueError: an acceptance is outside [0, 1] or NaN, the rank is outside [0, world_size), or the window is small.

    >>> sampler = RejectionSampler(torch.tensor([1.0, 0.0, 1.0, 0.0]), shuffle=False)
    >>> list(sampler)
    [0, 2]
    """

    def __init__(
        self,
        acceptance: Tensor | np.ndarray | BlockFunction | AcceptanceRule,
        *,
        seed: int = 0,
        shuffle: bool = True,
        rank: int | None = None,
        world_size: int | None = None,
        items: int | None = None,
        window: int | None = None,
        pad: bool = False,
    ) -> None:
        super().__init__(rank, world_size, pad)
        self._pool = (
            RuleDraws(acceptance) if isinstance(acceptance, AcceptanceRule) else Probabilities(acceptance, items)
        )
        self.items = len(self._pool)
        self.seed = seed
        self.shuffle = shuffle
        if window is None:
            window = GLOBAL_ITEMS if self.items <= GLOBAL_ITEMS else WINDOW_ITEMS
        if window < CHUNKS_PER_WINDOW:
            raise ValueError(f"`RejectionSampler(window=...)` needs at least {CHUNKS_PER_WINDOW} items, got {window}.")
        self.window = window
        self._pending = np.empty(0, np.int64), np.empty(0, np.float64)
        self._fingerprint: int | None = None
        self._forget()

    def update(self, indices: Tensor, acceptance: Tensor) -> None:
        """Give items new probabilities from the next epoch on: they take effect in the next `set_epoch`.

        The epoch under way is not touched, and `state_dict` carries all that was ever replaced. On several ranks give
        all of them the same, see `gather_updates`.

        Args:
            indices: (n,) int64 items, none twice.
            acceptance: (n,) their probabilities in [0, 1].

        Raises:
            TypeError: the sampler draws by a rule, or the indices are not integers.
            ValueError: an index or a probability is out of range, or an item stands there twice.
        """
        items, values = torch.as_tensor(indices).cpu(), torch.as_tensor(acceptance).cpu().to(torch.float64).numpy()
        if isinstance(self._pool, RuleDraws):
            raise TypeError("`update` needs acceptance probabilities, this sampler draws by a rule: make a new one.")
        if items.is_floating_point():
            raise TypeError(f"`update(indices=...)` needs integers, got {items.dtype}.")
        if items.ndim != 1 or values.shape != items.shape:
            raise ValueError(
                f"`update` needs (n,) indices and as many probabilities, got {tuple(items.shape)}, {values.shape}."
            )
        if len(items) and not 0 <= int(items.min()) <= int(items.max()) < self.items:
            raise ValueError(f"`update(indices=...)` needs items in [0, {self.items}), got up to {items.max()}.")
        if len(items.unique()) < len(items):
            raise ValueError("`update(indices=...)` needs each item once: decide which of its values to use.")
        check_probabilities(values, "update(acceptance=...)")
        self._pending = merge((items.to(torch.int64).numpy(), values), self._pending)

    def accepted(self, epoch: int | None = None) -> Tensor:
        """All items accepted in an epoch, over all ranks, ascending: (n,) int64. The default is the current epoch."""
        epoch = self.epoch if epoch is None else epoch
        return torch.from_numpy(np.concatenate([np.empty(0, np.int64), *self._accepted_blocks(epoch)]))

    def sequence(self) -> Tensor:
        """The same for the current epoch in its order, the global sequence that the ranks divide: (n,) int64."""
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
            "order": [self.shuffle, self.window],
            "updated": [torch.from_numpy(part) for part in (self._pool.indices, self._pool.values)],
            "pending": [torch.from_numpy(part) for part in self._pending],
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        if state["items"] != self.items:
            raise ValueError(
                f"`load_state_dict` has the state of a pool of {state['items']} items, this one has "
                f"{self.items}: resume with the pool the run started with."
            )
        here = self._contents()
        for name, what in (("acceptance", "probabilities"), ("order", "`shuffle` and `window`")):
            if state[name] != here[name]:
                raise ValueError(
                    f"`load_state_dict` has a state made with other {what}: {state[name]}, here {here[name]}. Resume "
                    "with those the run started with; give new ones to `update`."
                )
        self.seed = state["seed"]
        self._pool.indices, self._pool.values = (part.numpy() for part in state["updated"])
        indices, values = state["pending"]
        self._pending = indices.numpy(), values.numpy()
        self._forget()

    def _forget(self) -> None:
        """Drop what was worked out for the epoch."""
        self._windows: list[np.ndarray] | None = None
        self._last: tuple[int, np.ndarray] | None = None
        self._counted: int | None = None

    def _accepted_blocks(self, epoch: int) -> Iterator[np.ndarray]:
        for start in range(0, self.items, BLOCK):
            yield self._pool.draw(self.seed, epoch, start, min(start + BLOCK, self.items))

    def _count(self) -> int:
        if self._counted is None:
            blocks = self._parts() if self.items <= self.window else self._accepted_blocks(self.epoch)
            self._counted = sum(map(len, blocks))
        return self._counted

    def _parts(self) -> Iterator[np.ndarray]:
        """Window by window."""
        if self._windows is None:
            self._windows = split_into_windows(
                self.items, self.window, seed=self.seed, epoch=self.epoch, shuffle=self.shuffle
            )
        for number, chunks in enumerate(self._windows):
            # The last one is kept: a pool of one window is not drawn again for its length or another pass.
            if self._last is None or self._last[0] != number:
                self._last = number, self._order(chunks)
            yield self._last[1]

    def _order(self, chunks: np.ndarray) -> np.ndarray:
        size = chunk_size(self.window)
        return order_window(
            lambda start, stop: self._pool.draw(self.seed, self.epoch, start, stop),
            [(chunk * size, min((chunk + 1) * size, self.items)) for chunk in chunks.tolist()],
            seed=self.seed,
            epoch=self.epoch,
            shuffle=self.shuffle,
        )
