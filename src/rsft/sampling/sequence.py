"""One global sequence per epoch, divided among ranks and resumable at any position: the base class of the samplers."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed
from torch.utils.data import Sampler

LISTED = 4096  # number of indices converted to Python integers at a time

Row = TypeVar("Row")


class GlobalSequence(Sampler[Row], ABC):
    """Base class of samplers whose rows (items or batches) form one sequence that depends on (seed, epoch) alone.

    Rank k of n takes the rows k, k + n, k + 2n, ... A step is one row for each rank. All ranks get the same number of
    rows: the rows of an incomplete last step are left out, or repeated to fill it if `pad` is True. The position in the
    sequence counts the rows taken by all ranks together, so a saved state can be resumed with any number of ranks.
    Ranks do not communicate.

    As with `torch.utils.data.DistributedSampler`, call `set_epoch` before each epoch; otherwise all epochs are equal.

    Args:
        rank: Number of this process. The default is that of `torch.distributed` if initialised, 0 otherwise.
        world_size: Number of processes. The default is that of `torch.distributed` if initialised, 1 otherwise.
        pad: If True, an incomplete last step is filled by repeating its rows; otherwise it is left out.

    Raises:
        ValueError: If the rank is outside [0, world_size).
    """

    def __init__(self, rank: int | None, world_size: int | None, pad: bool) -> None:
        self._by_group = rank is None and world_size is None
        self.rank, self.world_size = resolve_rank(rank, world_size, type(self).__name__)
        self.pad = pad
        self.epoch = 0
        self.version = 0  # another number whenever the sequence may be another
        self._begun: bool  # whether an iteration has begun since the epoch was set or resumed
        self._later: int | None  # the epoch that follows the resumed one
        self._start: int  # the position where the next iteration begins
        self._begin(position=0)

    @abstractmethod
    def _parts(self) -> Iterator[np.ndarray]:
        """Yield the sequence of the current epoch in parts: (k, ...) arrays of rows."""

    @abstractmethod
    def _count(self) -> int:
        """Return the number of rows of the current epoch."""

    @abstractmethod
    def _choose(self, epoch: int) -> None:
        """Prepare for another epoch."""

    @abstractmethod
    def _contents(self) -> dict[str, Any]:
        """Return everything that determines the sequence, for `state_dict`."""

    @abstractmethod
    def _restore(self, state: Mapping[str, Any]) -> None:
        """Restore `_contents()`; raise a ValueError, without changing anything, if they do not fit."""

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which starts its sequence from the beginning and applies pending updates.

        Setting the current epoch again changes nothing, so an epoch that was resumed keeps its position.

        Args:
            epoch: Integer in [0, 2^64).

        Raises:
            ValueError: If `epoch` is before an epoch that was just resumed, whose position would be lost.
        """
        self._later = None
        if epoch == self.epoch:
            return
        if epoch < self.epoch and self._start:
            raise ValueError(
                f"`set_epoch({epoch})` would lose the position in epoch {self.epoch} that was just resumed: start the "
                f"loop at epoch {self.epoch}; if the loader counts epochs itself, set its epoch, see docs/sampler.md."
            )
        self._choose(epoch)
        self.epoch = epoch
        self._begin(position=0)

    def __iter__(self) -> Iterator[Row]:
        """Yield this rank's rows of the epoch; after a resume, its rows of the rest of the epoch.

        Raises:
            ValueError: If the sampler took rank and world size before `torch.distributed` was initialised.
        """
        rank, world_size = group()
        if self._by_group and (self.rank, self.world_size) != (rank, world_size):
            raise ValueError(
                f"`{type(self).__name__}` was made for rank {self.rank} of {self.world_size}, but this process is rank "
                f"{rank} of {world_size}: make it after `init_process_group`, or pass rank=0, world_size=1 if "
                "another library divides the loader among the ranks."
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
        """Return the number of rows that this rank yields in the next iteration."""
        left = max(0, self._count() - self._start)
        return -(-left // self.world_size) if self.pad else left // self.world_size

    def state_dict(self, *, taken: int | None = None) -> dict[str, Any]:
        """Return the state from which the epoch can be resumed.

        Args:
            taken: Number of rows of this iteration that were used on this rank. The default is the number of rows
                yielded. With the workers of a plain DataLoader, that number is ahead of the batches seen.

        Returns:
            Dictionary with the epoch, the number of rows used by all ranks together ("position"), the world size, and
            everything that determines the sequence.
        """
        position = self._position if taken is None else self._passed + taken * self.world_size
        return {"epoch": self.epoch, "position": position, "world_size": self.world_size, **self._contents()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from `state_dict()`, also with another number of ranks.

        If `set_epoch` already chose a later epoch, that epoch follows the rest of the resumed one, or starts at once if
        nothing is left of it. This happens with a loader that loads its state only when it is iterated.

        Args:
            state: Dictionary returned by `state_dict`.

        Raises:
            ValueError: If the state belongs to a pool of another size, to other probabilities or to another order.
        """
        self._restore(state)
        chosen, self.epoch = self.epoch, state["epoch"]
        self._begin(state["position"])
        if chosen > self.epoch:
            if not self._has_left(1 if self.pad else state["world_size"]):
                self._start = 0
                self.set_epoch(chosen)
            else:
                self._later = chosen

    def _has_left(self, rows: int) -> bool:
        """Return whether at least `rows` rows follow the position where the next iteration begins."""
        return self._count() - self._start >= rows

    def _begin(self, position: int) -> None:
        self.version += 1
        self._begun, self._later = False, None
        self._start = self._position = self._passed = position

    def _steps(self, skip: int) -> Iterator[np.ndarray]:
        """Yield the sequence from position `skip` on, as (k, world_size, ...) arrays of k steps."""
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
    """Return (rank, world_size), where None means that of the process group; `name` is the class named in the error."""
    group_rank, group_size = group()
    rank, world_size = group_rank if rank is None else rank, group_size if world_size is None else world_size
    if not 0 <= rank < world_size:
        raise ValueError(f"`{name}(rank=...)` needs a rank in [0, {world_size}), got {rank}.")
    return rank, world_size


def group() -> tuple[int, int]:
    """Return rank and world size of the default process group, or (0, 1) without one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
