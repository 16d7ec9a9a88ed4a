"""RejectionSampler: what a DataLoader trains on is an exact draw, the same for any number of ranks or workers."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import Sampler

from rsft.acceptance import Stream, accept, random_words


class RejectionSampler(Sampler[int]):
    """Indices of the accepted items, drawn anew every epoch.

    Item i is accepted in epoch e if and only if `u(seed, e, i) < acceptance[i]`, and its place in the epoch's order is
    that of another such number, so both are pure functions of (seed, epoch, index). Rank k of n takes every n-th
    accepted item from the k-th on; what does not divide by n is left out at the end, so all ranks get equally many,
    none twice. No communication takes place.

    As with `torch.utils.data.DistributedSampler`, call `set_epoch` before each epoch: without it all are the same.

    Args:
        acceptance: (N,) probabilities in [0, 1].
        seed: in [0, 2^64).
        shuffle: whether to order the accepted at random; by index otherwise.
        rank: this process's number; the default is that of `torch.distributed` where initialised, else 0.
        world_size: number of processes; the default likewise, else 1.

    Raises:
        ValueError: an acceptance is outside [0, 1] or NaN, or the rank is outside [0, world_size).

    >>> sampler = RejectionSampler(torch.tensor([1.0, 0.0, 1.0, 0.0]), shuffle=False)
    >>> list(sampler)
    [0, 2]
    """

    def __init__(
        self,
        acceptance: Tensor,
        *,
        seed: int = 0,
        shuffle: bool = True,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        self._acceptance = torch.as_tensor(acceptance).detach().to("cpu", torch.float64).numpy()
        _check_acceptance(self._acceptance)
        self.seed = seed
        self.shuffle = shuffle
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = rank if rank is not None else torch.distributed.get_rank() if distributed else 0
        self.world_size = (
            world_size if world_size is not None else torch.distributed.get_world_size() if distributed else 1
        )
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"`RejectionSampler(rank=...)` needs a rank in [0, {self.world_size}), got {self.rank}.")
        self.epoch = self._start = self._position = 0
        self._order: np.ndarray | None = None

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; one that was resumed keeps its place."""
        if epoch != self.epoch:
            self._begin(epoch, position=0)

    def accepted(self, epoch: int | None = None) -> Tensor:
        """All items accepted in an epoch, over all ranks, ascending: (n,) int64. The default is the current epoch."""
        epoch = self.epoch if epoch is None else epoch
        return torch.from_numpy(np.flatnonzero(accept(self._acceptance, seed=self.seed, epoch=epoch)))

    def __iter__(self) -> Iterator[int]:
        """Yield this rank's part of the epoch, or of what was left of it when it was resumed."""
        order, start = self._epoch_order(), self._start
        steps, self._start = len(self), 0
        for step in range(steps):
            self._position = start + (step + 1) * self.world_size
            yield int(order[start + step * self.world_size + self.rank])

    def __len__(self) -> int:
        """How many items this rank will yield in the next pass."""
        return (len(self._epoch_order()) - self._start) // self.world_size

    def state_dict(self) -> dict[str, int]:
        """Where the epoch stands: seed, epoch and the number of items given out by all ranks together."""
        return {"seed": self.seed, "epoch": self.epoch, "position": self._position, "items": len(self._acceptance)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`, also with another number of ranks.

        Raises:
            ValueError: the state is of a pool of another size.
        """
        if state["items"] != len(self._acceptance):
            raise ValueError(
                f"`load_state_dict` has the state of a pool of {state['items']} items, this one has "
                f"{len(self._acceptance)}: resume with the pool the run started with."
            )
        self.seed = state["seed"]
        self._begin(state["epoch"], state["position"])

    def _begin(self, epoch: int, position: int) -> None:
        self.epoch = epoch
        self._start = self._position = position
        self._order = None

    def _epoch_order(self) -> np.ndarray:
        if self._order is None:
            accepted = self.accepted().numpy()
            if self.shuffle:
                keys = random_words(self.seed, self.epoch, 0, len(self._acceptance), Stream.SHUFFLE)[accepted]
                accepted = accepted[np.argsort(keys, kind="stable")]
            self._order = accepted
        return self._order


def _check_acceptance(acceptance: np.ndarray) -> None:
    if acceptance.ndim != 1:
        raise ValueError(f"`RejectionSampler(acceptance=...)` needs shape (N,), got {acceptance.shape}.")
    wrong = ~((acceptance >= 0) & (acceptance <= 1))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"`RejectionSampler(acceptance=...)` needs probabilities in [0, 1]; {int(wrong.sum())} are not, the first "
            f"at row {row}: {acceptance[row]}. Take them from `acceptance_probability`."
        )
