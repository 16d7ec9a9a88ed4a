"""RejectionStream: accept or reject the items of a stream, whoever of the workers and ranks meets them."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from rsft.acceptance import Stream, uniforms
from rsft.sequence import resolve_rank

Accept = Callable[[Any], float]


class RejectionStream(IterableDataset[Any]):
    """The accepted items of an iterable, in its order.

    Two kinds of streams, by `key`:

    - Without: every worker of every rank iterates the same stream. Item number i belongs to worker i mod n of all n,
      the others pass it over, and it is accepted if and only if `u(seed, epoch, i) < acceptance(item)`: the accepted
      set is the same for any number of workers and ranks.
    - With: the stream is already divided among workers and ranks, as WebDataset divides its shards. Then `key(item)`, a
      text or integer that no other item has, takes the place of i, by a 64-bit hash; again the same accepted set
      however it is divided.

    Put it before decoding: `acceptance` sees the item as it stands in the stream, and what is rejected goes no further.
    How many are accepted is not known beforehand, so ranks may get unequal numbers: end an epoch by steps.

    Args:
        stream: passed over once an epoch, from its beginning.
        acceptance: item -> probability in [0, 1].
        seed: in [0, 2^64).
        key: item -> its name, for a stream that is already divided.
        rank: this process's number; the default is that of `torch.distributed` where initialised, else 0.
        world_size: number of processes; the default likewise, else 1.

    Raises:
        ValueError: the rank is outside [0, world_size).

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
        # shared, so that workers that persist see it change
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, which decides the draws; also in workers that persist."""
        self._epoch[0] = epoch

    def __iter__(self) -> Iterator[Any]:
        """Yield the accepted of this worker's items.

        Raises:
            ValueError: a probability is outside [0, 1].
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
