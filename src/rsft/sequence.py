"""One global sequence an epoch, divided among ranks and resumable at any place: what all samplers here share."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed
from torch.utils.data import Sampler

LISTED = 4096  # indices turned into Python numbers at a time

Row = TypeVar("Row")


class GlobalSequence(Sampler[Row], ABC):
    """Rows of a sequence that depends on (seed, epoch) alone; rank k of n takes every n-th from the k-th on.

    All ranks get equally many: the rows of a last, incomplete step are left out, or with `pad` repeated to fill it. The
    position in the sequence counts what all ranks took together, so a state continues with any number of ranks. No
    communication takes place.

    As with `torch.utils.data.DistributedSampler`, call `set_epoch` before each epoch: without it all are the same.

    Args:
        rank: this process's number; the default is that of `torch.distributed` where initialised, else 0.
        world_size: number of processes; the default likewise, else 1.
        pad: whether to fill the last step by repeating its rows, in place of leaving it out.

    Raises:
        ValueError: the rank is outside [0, world_size).
    """

    def __init__(self, rank: int | None, world_size: int | None, pad: bool) -> None:
        self._by_group = rank is None and world_size is None
        self.rank, self.world_size = resolve_rank(rank, world_size, type(self).__name__)
        self.pad = pad
        self.epoch = 0
        self._begun: bool  # whether a pass was made since the epoch was chosen or resumed
        self._later: int | None  # the epoch to come after it
        self._start: int  # the position where the next pass begins
        self._begin(position=0)

    @abstractmethod
    def _parts(self) -> Iterator[np.ndarray]:
        """The sequence of the current epoch, in parts: (k, ...) arrays of rows."""

    @abstractmethod
    def _count(self) -> int:
        """Number of rows of the current epoch."""

    @abstractmethod
    def _choose(self, epoch: int) -> None:
        """Make ready for another epoch."""

    @abstractmethod
    def _contents(self) -> dict[str, Any]:
        """What the sequence follows from, for `state_dict`."""

    @abstractmethod
    def _restore(self, state: Mapping[str, Any]) -> None:
        """Take over `_contents()`; raises ValueError, changing nothing, if they do not fit."""

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
        self._choose(epoch)
        self.epoch = epoch
        self._begin(position=0)

    def __iter__(self) -> Iterator[Row]:
        """Yield this rank's part of the epoch, or of what was left of it when it was resumed.

        Raises:
            ValueError: it was made before `torch.distributed` was initialised, and took itself for the only one.
        """
        rank, world_size = group()
        if self._by_group and (self.rank, self.world_size) != (rank, world_size):
            raise ValueError(
                f"`{type(self).__name__}` was made for rank {self.rank} of {self.world_size}, this process is rank "
                f"{rank} of {world_size}: make it after `init_process_group`, or pass rank=0, world_size=1 if "
                "the loader is divided among the ranks by others."
            )
        if self._later is not None and self._begun:
            self.set_epoch(self._later)
        self._begun = True
        position = self._position = self._passed = self._start
        self._start = 0
        for steps in self._steps(position):
            mine = steps[:, self.rank]
            listed = max(1, LISTED // mine[:1].size) if len(mine) else 1
            for first in range(0, len(mine), listed):
                for row in mine[first : first + listed].tolist():
                    position += self.world_size
                    self._position = position
                    yield row

    def __len__(self) -> int:
        """How many rows this rank will yield in the next pass."""
        left = max(0, self._count() - self._start)
        return -(-left // self.world_size) if self.pad else left // self.world_size

    def state_dict(self, *, taken: int | None = None) -> dict[str, Any]:
        """Where the epoch stands.

        Args:
            taken: how many rows of this pass were really used on this rank. The default is how many were given out,
                which with the workers of a plain DataLoader runs ahead of the batches seen.

        Returns:
            the epoch, the number of rows used by all ranks together ("position"), and what the sequence follows from.
        """
        position = self._position if taken is None else self._passed + taken * self.world_size
        return {"epoch": self.epoch, "position": position, "world_size": self.world_size, **self._contents()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`, also with another number of ranks.

        A later epoch that `set_epoch` chose before, as happens where a loader loads its state only when it is iterated,
        comes after the rest of this one; at once if nothing is left of it.

        Raises:
            ValueError: the state is of a pool of another size, of other probabilities or of another order.
        """
        self._restore(state)
        chosen, self.epoch = self.epoch, state["epoch"]
        self._begin(state["position"])
        if chosen > self.epoch:
            if self._count() - self._start < (1 if self.pad else state["world_size"]):
                self._start = 0
                self.set_epoch(chosen)
            else:
                self._later = chosen

    def _begin(self, position: int) -> None:
        self._begun, self._later = False, None
        self._start = self._position = self._passed = position

    def _steps(self, skip: int) -> Iterator[np.ndarray]:
        """The sequence from position `skip` on, by steps: (k, world_size, ...) arrays."""
        rest: np.ndarray | None = None
        for part in self._parts():
            skipped = min(skip, len(part))
            skip -= skipped
            rows = part[skipped:] if rest is None else np.concatenate([rest, part[skipped:]])
            whole = len(rows) // self.world_size * self.world_size
            yield rows[:whole].reshape(-1, self.world_size, *rows.shape[1:])
            rest = rows[whole:]
        if self.pad and rest is not None and len(rest):
            yield np.resize(rest, (1, self.world_size, *rest.shape[1:]))


def resolve_rank(rank: int | None, world_size: int | None, name: str) -> tuple[int, int]:
    """Both, from the default process group where not given; `name` is of the class that was called."""
    group_rank, group_size = group()
    rank, world_size = group_rank if rank is None else rank, group_size if world_size is None else world_size
    if not 0 <= rank < world_size:
        raise ValueError(f"`{name}(rank=...)` needs a rank in [0, {world_size}), got {rank}.")
    return rank, world_size


def group() -> tuple[int, int]:
    """Rank and world size of the default process group, (0, 1) without one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
