"""RejectionStream: accept or reject the items of a stream, whichever worker or rank reads them."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import torch
from torch.utils.data import IterableDataset, get_worker_info

from rsft.sampling.acceptance import Stream, uniforms
from rsft.sampling.sequence import group, resolve_rank
from rsft.sampling.undivided import Asked, processes_of

Accept = Callable[[Any], float]
# Streams of Hugging Face begin every epoch, whoever reads them, where a state was loaded, and keep that state here.
# `state_dict` tells where they were read last, as to look at an example.
LASTING = "_starting_state_dict"
NAME_ITEMS = "pass `key`, a function from an item to a name that no other has, such as a file name or a row number."


@runtime_checkable
class StreamRule(Protocol):
    """Rule that decides itself which items of a stream are accepted, such as one that was told by a table."""

    def accepts(self, item: Any, seed: int, epoch: int) -> bool:
        """Return whether an item is accepted in an epoch; a pure function of the arguments."""


class RejectionStream(IterableDataset[Any]):
    """Iterable dataset of the accepted items of a stream, in the order of the stream.

    There are two kinds of streams:

    - Without `key`, every worker of every rank reads the whole stream, in the same order. Item number i is handled by
      worker i mod n of all n workers, and the others skip it. It is accepted if and only if
      `u(seed, epoch, i) < acceptance(item)`, where u is uniform on [0, 1). A stream that divides itself among the
      workers, as those of Hugging Face and WebDataset do, is told that there are none.
    - With `key`, the stream divides itself among workers and ranks, so that each reads its part only. `key(item)` is a
      string or an integer that is unique to the item, and its 64-bit hash replaces i.

    Either way the accepted set is the same for any number of workers and ranks. A stream that would be divided twice,
    or with `key` not at all, is refused as far as that can be found out; see `divided`.

    Put the stream before decoding: `acceptance` receives the item as it is in the stream, and rejected items go no
    further. The number of accepted items is not known in advance, and ranks may get unequal numbers, so end an epoch
    after a number of steps. A `StatefulDataLoader` saves where each worker is and goes on there; see `state_dict`.

    Args:
        stream: Iterable that is read once per epoch, from its beginning.
        acceptance: Function item -> acceptance probability in [0, 1]; or a `StreamRule`.
        seed: Integer in [0, 2^64).
        key: Function item -> unique string or integer, for a stream that divides itself.
        divided: Whether the stream divides itself among all workers and ranks, for one that would be refused. With
            False, every worker of every rank reads all of it. None finds out.
        rank: Number of this process. The default is that of `torch.distributed` if initialised, 0 otherwise.
        world_size: Number of processes. The default is that of `torch.distributed` if initialised, 1 otherwise.

    Attributes:
        told_epoch: Whether `set_epoch` was called.

    Raises:
        ValueError: If the rank is outside [0, world_size), or the stream divides itself and `key` is missing.

    >>> stream = RejectionStream(range(6), lambda item: float(item % 2))
    >>> list(stream)
    [1, 3, 5]
    """

    def __init__(
        self,
        stream: Iterable[Any],
        acceptance: Accept | StreamRule,
        *,
        seed: int = 0,
        key: Callable[[Any], str | int] | None = None,
        divided: bool | None = None,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        if divided and key is None:
            raise ValueError("`RejectionStream(key=...)` is required for a stream that is divided: " + NAME_ITEMS)
        self._stream, self._acceptance, self._key, self._divided = stream, acceptance, key, divided
        self.seed = seed
        self._by_group = rank is None and world_size is None
        self.rank, self.world_size = resolve_rank(rank, world_size, "RejectionStream")
        self.told_epoch = False
        # in shared memory, so that persistent workers see it change
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()
        self._resumed: dict[str, Any] | None = None
        self._stateful = callable(getattr(stream, "state_dict", None)) and hasattr(stream, "load_state_dict")
        self._lasts = hasattr(stream, LASTING)
        self._fresh: Any = None  # the state from which the stream begins
        if self._stateful:
            self._fresh = getattr(stream, LASTING) if self._lasts else stream.state_dict()  # type: ignore[attr-defined]
        self._moved = False  # whether the state of the stream is not the one in which it was given
        self._begun, self._read = -1, 0  # the epoch that was begun, and how many items were read of it

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, also in persistent workers; every epoch has its own random numbers."""
        self._epoch[0] = epoch
        self.told_epoch = True

    def state_dict(self) -> dict[str, Any]:
        """Return where this worker is in its epoch: behind the item that it yielded last.

        A stream that has a state itself, as those of Hugging Face have, is told it when the epoch goes on. Any other
        one is read again up to there.

        Returns:
            A dictionary with the "seed", the "epoch", "read" (the number of items that were read of the stream) and the
            state of the "stream", None if it has none.
        """
        if self._resumed is not None:
            return self._resumed
        epoch = int(self._epoch)
        begun = epoch == self._begun
        state = self._stream.state_dict() if begun and self._stateful else None  # type: ignore[attr-defined]
        return {"seed": self.seed, "epoch": epoch, "read": self._read if begun else 0, "stream": state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` of a worker of the same number, among as many, was taken.

        The next iteration goes on there if it is of the same epoch, and begins at the start if another was set.

        Raises:
            ValueError: The seed is another one.
        """
        if state["seed"] != self.seed:
            raise ValueError(
                f"`RejectionStream.load_state_dict`: the seed is {state['seed']} in the state and {self.seed} now."
            )
        self._resumed = dict(state)
        self._epoch[0] = state["epoch"]

    def _opened(self, epoch: int, asked: Asked) -> Iterator[tuple[int, Any]]:
        """Yield the number and the item of a stream, from where the epoch is to begin."""
        state, self._resumed = self._resumed, None
        again = state is not None and state["epoch"] == epoch
        inner = state["stream"] if state is not None and again else None
        if inner is not None or self._moved:
            self._stream.load_state_dict(self._fresh if inner is None else inner)  # type: ignore[attr-defined]
            self._moved = inner is not None
        first = state["read"] if state is not None and again else 0
        self._begun, self._read = epoch, first
        items = asked.items_of(self._stream)
        if inner is None:
            items = islice(items, first, None)
        for index, item in enumerate(items, first):
            self._put_back()
            self._read = index + 1
            yield index, item
        self._put_back()

    def _put_back(self) -> None:
        """Let a stream whose state lasts begin at its start when it is read again, by this object or by another."""
        if self._moved and self._lasts:  # what was begun goes on
            self._stream.load_state_dict(self._fresh)  # type: ignore[attr-defined]
            self._moved = False

    def __iter__(self) -> Iterator[Any]:
        """Yield the accepted items of this worker.

        Raises:
            ValueError: If `acceptance` returns a value outside [0, 1], the stream would be divided twice or not at all,
                or this object took rank and world size before `torch.distributed` was initialised.
        """
        rank, world_size = group()
        if self._by_group and world_size > 1 and (self.rank, self.world_size) != (rank, world_size):
            raise ValueError(
                f"`RejectionStream` was made for rank {self.rank} of {self.world_size}, but this process is rank "
                f"{rank} of {world_size}: make it after `init_process_group`, or pass rank=0, world_size=1 if another "
                "library divides the items among the ranks."
            )
        worker = get_worker_info()
        workers, number = (worker.num_workers, worker.id) if worker else (1, 0)
        whole = self._divided is False or self._key is None
        share, shares = (self.rank * workers + number, self.world_size * workers) if whole else (0, 1)
        known = self._check_processes(whole)
        epoch, asked, checked = int(self._epoch), Asked(truly=not whole), self._divided is not None
        for index, item in self._opened(epoch, asked):
            if not checked:
                self._check_asked(asked, whole, known, workers)
                checked = True
            name = index if self._key is None else number_of_name(self._key(item))
            if name % shares != share:
                continue
            if self._accepts(item, name, index, epoch):
                yield item

    def _accepts(self, item: Any, name: int, index: int, epoch: int) -> bool:
        """Return whether an item is accepted; `name` is the number that decides, `index` its place in the stream."""
        if isinstance(self._acceptance, StreamRule):
            return self._acceptance.accepts(item, self.seed, epoch)
        probability = float(self._acceptance(item))
        if not 0 <= probability <= 1:
            raise ValueError(
                f"`RejectionStream(acceptance=...)` needs to return a probability in [0, 1], got {probability} for "
                f"item {index}."
            )
        return bool(uniforms(self.seed, epoch, name, name + 1, Stream.ITEM)[0] < probability)

    def _check_processes(self, whole: bool) -> bool:
        """Return whether it is known among how many processes the stream divides itself.

        Raises:
            ValueError: If that does not fit the arguments.
        """
        processes = processes_of(self._stream)
        if whole and processes is not None and processes > 1:
            raise ValueError(
                f"`RejectionStream`: the stream divides itself among {processes} processes, so its items would be "
                f"divided twice. Give the stream before it is divided, or {NAME_ITEMS}"
            )
        if not whole and self._divided is None and processes == 1 and self.world_size > 1:
            raise ValueError(
                f"`RejectionStream(key=...)` needs a stream that is divided among the {self.world_size} processes, and "
                "this one gives each of them all items: divide it, such as with "
                "`datasets.distributed.split_dataset_by_node`, or pass divided=False."
            )
        return processes is not None

    def _check_asked(self, asked: Asked, whole: bool, known: bool, workers: int) -> None:
        """Raise a ValueError if what the stream asked before its first item speaks against the arguments."""
        if whole and asked.rank and self.world_size > 1:
            raise ValueError(
                "`RejectionStream`: the stream asks for its rank, so it seems to divide itself among the processes, "
                f"and its items would be divided twice. If it does, {NAME_ITEMS} If it does not, pass divided=False."
            )
        if not whole and self.world_size > 1 and not known and not asked.rank:
            raise ValueError(
                f"`RejectionStream(key=...)` needs a stream that is divided among the {self.world_size} processes, "
                "which cannot be seen from this one: pass divided=True if it is, or divided=False if each "
                "process reads all."
            )
        if not whole and workers > 1 and not asked.worker:
            raise ValueError(
                f"`RejectionStream(key=...)` needs a stream that divides itself, but this one did not ask which of the "
                f"{workers} workers it is in, so each would yield all items: pass divided=False, or divided=True if it "
                "was divided in another way."
            )


def number_of_name(key: str | int) -> int:
    """Return the number in [0, 2^64) that decides for an item of this name."""
    return int.from_bytes(hashlib.blake2b(str(key).encode(), digest_size=8).digest(), "little")
