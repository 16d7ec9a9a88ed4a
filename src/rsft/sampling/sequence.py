"""One global sequence per epoch, divided among ranks and resumable at any position: the base class of the samplers."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed
from torch.utils.data import Sampler

from rsft.sampling.division import Division, Shares, Spans, Turns

LISTED = 4096  # number of indices converted to Python integers at a time

Row = TypeVar("Row")


class GlobalSequence(Sampler[Row], ABC):
    """Base class of samplers whose rows (items or batches) form one sequence that depends on (seed, epoch) alone.

    Rank k of n takes the rows k, k + n, k + 2n, ..., or the k-th of n consecutive shares. A step is one row for each
    rank. All ranks get the same number of rows: the rows of an incomplete last step are left out, or repeated to fill
    it if `pad` is True. A saved state says what all ranks together have taken, so it can be resumed with any number of
    ranks. Ranks do not communicate.

    As with `torch.utils.data.DistributedSampler`, call `set_epoch` before each epoch; otherwise all epochs are equal.

    Args:
        rank: Number of this process. The default is that of `torch.distributed` if initialised, 0 otherwise.
        world_size: Number of processes. The default is that of `torch.distributed` if initialised, 1 otherwise.
        pad: If True, an incomplete last step is filled by repeating its rows; otherwise it is left out.
        shares: If True, ranks take shares; otherwise they take turns.

    Raises:
        ValueError: If the rank is outside [0, world_size).
    """

    def __init__(self, rank: int | None, world_size: int | None, pad: bool, shares: bool = False) -> None:
        self._by_group = rank is None and world_size is None
        self.rank, self.world_size = resolve_rank(rank, world_size, type(self).__name__)
        self.pad = pad
        self._division: Division = Shares() if shares else Turns()
        self.epoch = 0
        self.version = 0  # another number whenever the sequence may be another
        self._begun: bool  # whether an iteration has begun since the epoch was set or resumed
        self._later: int | None  # the epoch that follows the resumed one
        self._start: Any  # the place where the next iteration begins
        self._begin(self._division.origin)

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
        self._begin(self._division.origin)

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
        self._passed, self._start, self._taken = self._start, self._division.origin, 0
        for mine in self._division.mine(self, self._passed, self.rank, self.world_size, self.pad):
            listed = max(1, LISTED // mine[:1].size) if len(mine) else 1
            for first in range(0, len(mine), listed):
                for row in mine[first : first + listed].tolist():
                    self._taken += 1
                    yield row

    def __len__(self) -> int:
        """Return the number of rows that this rank yields in the next iteration."""
        left = self._division.left(self._start, self._count())
        return -(-left // self.world_size) if self.pad else left // self.world_size

    def state_dict(self, *, taken: int | None = None) -> dict[str, Any]:
        """Return the state from which the epoch can be resumed.

        Args:
            taken: Number of rows of this iteration that were used on this rank. The default is the number of rows
                yielded. With the workers of a plain DataLoader, that number is ahead of the batches seen.

        Returns:
            Dictionary with the epoch, the rows used by all ranks together ("position": their number, or with shares
            what each rank used of each division), the world size, and everything that determines the sequence.
        """
        position = self._division.after(self._passed, self.world_size, self._taken if taken is None else taken)
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
                self._start = self._division.origin
                self.set_epoch(chosen)
            else:
                self._later = chosen

    def _has_left(self, rows: int) -> bool:
        """Return whether at least `rows` rows follow the place where the next iteration begins."""
        return self._division.left(self._start, self._count()) >= rows

    def _between(self, spans: Spans) -> Iterator[np.ndarray]:
        """Yield the rows of some spans of the sequence in parts: (k, ...) arrays."""
        whole = np.concatenate(list(self._parts()))
        yield from (whole[start:stop] for start, stop in spans)

    def _begin(self, place: Any) -> None:
        self.version += 1
        self._begun, self._later = False, None
        self._start = self._passed = place
        self._taken = 0  # rows yielded in this iteration


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
