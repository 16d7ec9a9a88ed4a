"""RejectionStream: accept or reject the items of a stream, whichever worker or rank reads them."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from rsft.sampling.acceptance import Stream, uniforms
from rsft.sampling.sequence import resolve_rank

Accept = Callable[[Any], float]


class RejectionStream(IterableDataset[Any]):
    """Iterable dataset of the accepted items of a stream, in the order of the stream.

    There are two kinds of streams:

    - Without `key`, every worker of every rank iterates over the same stream. Item number i is handled by worker i mod
      n of all n workers, and the others skip it. It is accepted if and only if `u(seed, epoch, i) < acceptance(item)`,
      where u is uniform on [0, 1). The accepted set is the same for any number of workers and ranks.
    - With `key`, the stream is already divided among workers and ranks, as WebDataset divides its shards. `key(item)`
      is a string or an integer that is unique to the item, and its 64-bit hash replaces i. Again the accepted set is
      the same however the stream is divided.

    Put the stream before decoding: `acceptance` receives the item as it is in the stream, and rejected items go no
    further. The number of accepted items is not known in advance, and ranks may get unequal numbers, so end an epoch
    after a number of steps.

    Args:
        stream: Iterable that is read once per epoch, from its beginning.
        acceptance: Function item -> acceptance probability in [0, 1].
        seed: Integer in [0, 2^64).
        key: Function item -> unique string or integer, for a stream that is already divided.
        rank: Number of this process. The default is that of `torch.distributed` if initialised, 0 otherwise.
        world_size: Number of processes. The default is that of `torch.distributed` if initialised, 1 otherwise.

    Raises:
        ValueError: If the rank is outside [0, world_size).

    >>> stream = RejectionStream(range(6), lambda item: float(item % 2))
    >>> list(stream)
    [1, 3, 5]
    """

    def __init__(
        self,
        stream: Iterable[Any],
        acceptance: Accept,
        *,
        seed: int = 0,
        key: Callable[[Any], str | int] | None = None,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        self._stream, self._acceptance, self._key = stream, acceptance, key
        self.seed = seed
        self.rank, self.world_size = resolve_rank(rank, world_size, "RejectionStream")
        # in shared memory, so that persistent workers see it change
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, also in persistent workers; every epoch has its own random numbers."""
        self._epoch[0] = epoch

    def __iter__(self) -> Iterator[Any]:
        """Yield the accepted items of this worker.

        Raises:
            ValueError: If `acceptance` returns a value outside [0, 1].
        """
        worker = get_worker_info()
        workers, number = (worker.num_workers, worker.id) if worker else (1, 0)
        share, shares = self.rank * workers + number, self.world_size * workers
        epoch = int(self._epoch)
        for index, item in enumerate(self._stream):
            if self._key is None:
                if index % shares != share:
                    continue
                name = index
            else:
                name = _hash(self._key(item))
            probability = float(self._acceptance(item))
            if not 0 <= probability <= 1:
                raise ValueError(
                    f"`RejectionStream(acceptance=...)` needs to return a probability in [0, 1], got {probability} for "
                    f"item {index}."
                )
            if uniforms(self.seed, epoch, name, name + 1, Stream.ITEM)[0] < probability:
                yield item


def _hash(key: str | int) -> int:
    return int.from_bytes(hashlib.blake2b(str(key).encode(), digest_size=8).digest(), "little")
