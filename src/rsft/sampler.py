"""RejectionSampler: what a DataLoader trains on is an exact draw, the same for any number of ranks or workers."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import Sampler

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

LISTED = 4096  # indices turned into Python numbers at a time


class RejectionSampler(Sampler[int]):
    """Indices of the accepted items, drawn anew every epoch.

    Item i is accepted in epoch e if and only if `u(seed, e, i) < acceptance[i]`, and its place in the epoch's order
    follows from another such number, so both are pure functions of (seed, epoch, index) and the epoch is one global
    sequence. Rank k of n takes every n-th accepted item from the k-th on. All ranks get equally many: the items of a
    last, incomplete step are left out, or with `pad` repeated to fill it. No communication takes place.

    As with `torch.utils.data.DistributedSampler`, call `set_epoch` before each epoch: without it all are the same.

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
        self._pool = (
            RuleDraws(acceptance) if isinstance(acceptance, AcceptanceRule) else Probabilities(acceptance, items)
        )
        self.seed = seed
        self.shuffle = shuffle
        self.pad = pad
        if window is None:
            window = GLOBAL_ITEMS if len(self._pool) <= GLOBAL_ITEMS else WINDOW_ITEMS
        self.window = window
        if self.window < CHUNKS_PER_WINDOW:
            raise ValueError(f"`RejectionSampler(window=...)` needs at least {CHUNKS_PER_WINDOW} items, got {window}.")
        self._takes_ranks = rank is None and world_size is None
        group_rank, group_size = _group()
        self.rank = group_rank if rank is None else rank
        self.world_size = group_size if world_size is None else world_size
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"`RejectionSampler(rank=...)` needs a rank in [0, {self.world_size}), got {self.rank}.")
        self._pending = np.empty(0, np.int64), np.empty(0, np.float64)
        self._fingerprint: int | None = None
        self._begun: bool  # whether the pass has
        self._later: int | None  # an epoch to come after it
        self._start: int  # position where it begins
        self.epoch = 0
        self._begin(position=0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; one that was resumed keeps its place. What `update` was given takes effect.

        Raises:
            ValueError: the epoch lies before one that was just resumed, whose place would be lost.
        """
        self._later = None
        if epoch == self.epoch:
            return
        if epoch < self.epoch and self._start:
            raise ValueError(
                f"`set_epoch({epoch})` would throw away the place in epoch {self.epoch} that was just resumed: start "
                f"the loop at epoch {self.epoch}; a loader that counts epochs itself must be told, see docs/sampler.md."
            )
        self._pool.replace(*self._pending)
        self._pending = np.empty(0, np.int64), np.empty(0, np.float64)
        self.epoch = epoch
        self._begin(position=0)

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
                f"`update` needs (n,) indices and as many probabilities, got {items.shape}, {values.shape}."
            )
        if len(items) and not 0 <= int(items.min()) <= int(items.max()) < len(self._pool):
            raise ValueError(f"`update(indices=...)` needs items in [0, {len(self._pool)}), got up to {items.max()}.")
        if len(items.unique()) < len(items):
            raise ValueError("`update(indices=...)` needs each item once: decide which of its values to use.")
        check_probabilities(values, "update(acceptance=...)")
        self._pending = merge((items.to(torch.int64).numpy(), values), self._pending)

    def accepted(self, epoch: int | None = None) -> Tensor:
        """All items accepted in an epoch, over all ranks, ascending: (n,) int64. The default is the current epoch."""
        epoch = self.epoch if epoch is None else epoch
        return torch.from_numpy(np.concatenate([np.empty(0, np.int64), *self._accepted_blocks(epoch)]))

    def __iter__(self) -> Iterator[int]:
        """Yield this rank's part of the epoch, or of what was left of it when it was resumed.

        Raises:
            ValueError: it was made before `torch.distributed` was initialised, and took itself for the only one.
        """
        if self._takes_ranks and (self.rank, self.world_size) != _group():
            raise ValueError(
                f"`RejectionSampler` was made for rank {self.rank} of {self.world_size}, this process is rank "
                f"{_group()[0]} of {_group()[1]}: make it after `init_process_group`, or pass rank=0, world_size=1 if "
                "the loader is divided among the ranks by others."
            )
        if self._later is not None and self._begun:
            self.set_epoch(self._later)
        self._begun = True
        position = self._position = self._passed = self._start
        self._start = 0
        for steps in self._steps(position):
            mine = steps[:, self.rank]
            for first in range(0, len(mine), LISTED):
                for index in mine[first : first + LISTED].tolist():
                    position += self.world_size
                    self._position = position
                    yield index

    def __len__(self) -> int:
        """How many items this rank will yield in the next pass."""
        left = max(0, self._count() - self._start)
        return -(-left // self.world_size) if self.pad else left // self.world_size

    def state_dict(self, *, taken: int | None = None) -> dict[str, Any]:
        """Where the epoch stands.

        Args:
            taken: how many items of this pass were really used on this rank. The default is how many were given out,
                which with the workers of a plain DataLoader runs ahead of the batches seen.

        Returns:
            the seed, the epoch, the number of items used by all ranks together ("position"), all probabilities replaced
            by `update`, and what the pool and its order must be like on resuming.
        """
        if self._fingerprint is None:
            self._fingerprint = self._pool.fingerprint()
        return {
            "seed": self.seed,
            "epoch": self.epoch,
            "position": self._position if taken is None else self._passed + taken * self.world_size,
            "world_size": self.world_size,
            "items": len(self._pool),
            "acceptance": self._fingerprint,
            "order": [self.shuffle, self.window],
            "updated": [torch.from_numpy(part) for part in (self._pool.indices, self._pool.values)],
            "pending": [torch.from_numpy(part) for part in self._pending],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`, also with another number of ranks.

        A later epoch that `set_epoch` chose before, as happens where a loader loads its state only when it is iterated,
        comes after the rest of this one; at once if nothing is left of it.

        Raises:
            ValueError: the state is of a pool of another size, of other probabilities or of another order.
        """
        if state["items"] != len(self._pool):
            raise ValueError(
                f"`load_state_dict` has the state of a pool of {state['items']} items, this one has "
                f"{len(self._pool)}: resume with the pool the run started with."
            )
        here = self.state_dict()
        for name, what in (("acceptance", "probabilities"), ("order", "`shuffle` and `window`")):
            if state[name] != here[name]:
                raise ValueError(
                    f"`load_state_dict` has a state made with other {what}: {state[name]}, here {here[name]}. Resume "
                    "with those the run started with; give new ones to `update`."
                )
        chosen = self.epoch
        self.seed, self.epoch = state["seed"], state["epoch"]
        self._pool.indices, self._pool.values = (part.numpy() for part in state["updated"])
        self._pending = tuple(part.numpy() for part in state["pending"])
        self._begin(state["position"])
        if chosen > self.epoch and self._count() - self._start < (1 if self.pad else state["world_size"]):
            self._start = 0
            self.set_epoch(chosen)
        elif chosen > self.epoch:
            self._later = chosen

    def _begin(self, position: int) -> None:
        self._begun, self._later = False, None
        self._start = self._position = self._passed = position
        self._windows: list[np.ndarray] | None = None
        self._last: tuple[int, np.ndarray] | None = None
        self._counted: int | None = None

    def _accepted_blocks(self, epoch: int) -> Iterator[np.ndarray]:
        for start in range(0, len(self._pool), BLOCK):
            yield self._pool.draw(self.seed, epoch, start, min(start + BLOCK, len(self._pool)))

    def _count(self) -> int:
        if self._counted is None:
            if len(self._pool) <= self.window:
                self._counted = sum(map(len, self._orders()))
            else:
                self._counted = sum(map(len, self._accepted_blocks(self.epoch)))
        return self._counted

    def _orders(self) -> Iterator[np.ndarray]:
        """The global sequence, window by window."""
        if self._windows is None:
            self._windows = split_into_windows(
                len(self._pool), self.window, seed=self.seed, epoch=self.epoch, shuffle=self.shuffle
            )
        for number in range(len(self._windows)):
            yield self._order(number)

    def _order(self, number: int) -> np.ndarray:
        if self._last is None or self._last[0] != number:
            assert self._windows is not None
            size = chunk_size(self.window)
            blocks = [
                (chunk * size, min((chunk + 1) * size, len(self._pool))) for chunk in self._windows[number].tolist()
            ]
            order = order_window(
                lambda start, stop: self._pool.draw(self.seed, self.epoch, start, stop),
                blocks,
                seed=self.seed,
                epoch=self.epoch,
                shuffle=self.shuffle,
            )
            self._last = number, order
        return self._last[1]

    def _steps(self, skip: int) -> Iterator[np.ndarray]:
        """The sequence from position `skip` on, by steps: (k, world_size) arrays."""
        rest = np.empty(0, np.int64)
        for order in self._orders():
            skipped = min(skip, len(order))
            skip -= skipped
            rest = np.concatenate([rest, order[skipped:]]) if len(rest) else order[skipped:]
            whole = len(rest) // self.world_size * self.world_size
            yield rest[:whole].reshape(-1, self.world_size)
            rest = rest[whole:]
        if self.pad and len(rest):
            yield np.resize(rest, (1, self.world_size))


def _group() -> tuple[int, int]:
    """Rank and world size of the default process group."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
