"""The accepted rows of a table as a stream, read partition by partition."""

from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from torch.utils.data import get_worker_info

from rsft.errors import InputError
from rsft.sampling.sequence import group
from rsft.scale.columns import ACCEPTED, ID

# (share, number of shares) -> the rows of that share
Shares = Callable[[int, int], Iterator[pa.RecordBatch]]


class Row(dict[str, Any]):
    """A row as a dictionary of its columns.

    Attributes:
        accepted: The epochs in which it is accepted. They are no entry, since lists of unlike lengths make no batch.
    """

    accepted: list[int]


class Rows:
    """Iterable of the rows of a table, which divides itself among all workers of all ranks.

    Rows that are accepted in no epoch are passed over before they become dictionaries, which takes longest.

    Args:
        shares: Function that begins to read a share of the rows.
        columns: Columns that a row has.
        rank: Number of this process, and `world_size` the number of processes; None for those of `torch.distributed`.
    """

    def __init__(
        self, shares: Shares, columns: Sequence[str], rank: int | None = None, world_size: int | None = None
    ) -> None:
        self._shares, self._columns, self._rank, self._world_size = shares, list(columns), rank, world_size

    def __iter__(self) -> Iterator[Row]:
        rank, world_size = group()
        rank = rank if self._rank is None else self._rank
        world_size = world_size if self._world_size is None else self._world_size
        worker = get_worker_info()
        workers, number = (worker.num_workers, worker.id) if worker else (1, 0)
        for batch in self._shares(rank * workers + number, world_size * workers):
            ever = pc.greater(pc.list_value_length(batch[ACCEPTED]), 0)
            batch = batch.filter(ever)
            told = zip(batch.select(self._columns).to_pylist(), batch[ACCEPTED].to_pylist(), strict=True)
            for columns, accepted in told:
                row = Row(columns)
                row.accepted = accepted
                yield row


class Told:
    """The `StreamRule` of a table: who is accepted is what the table says.

    Args:
        seed: Seed with which the table was scored.
        epochs: Number of epochs that were scored.
    """

    def __init__(self, seed: int, epochs: int) -> None:
        self._seed, self._epochs = seed, epochs

    def accepts(self, item: Row, seed: int, epoch: int) -> bool:
        check_epoch(epoch, self._epochs)
        if seed != self._seed:
            raise InputError(f"the table was scored with seed {self._seed}, and epoch {epoch} asked for with {seed}.")
        return epoch in item.accepted


def id_of(item: Row) -> Any:
    """Return the id of a row."""
    return item[ID]


def check_epoch(epoch: int, epochs: int) -> None:
    """Raise an InputError if an epoch was not scored."""
    if not isinstance(epoch, Integral) or epoch < 0:
        raise InputError(f"an epoch is a whole number, 0 or more, got {epoch}.")
    if epoch >= epochs:
        raise InputError(
            f"epoch {epoch} was not scored: the table tells epochs 0 to {epochs - 1}. Score with `epochs={epoch + 1}`, "
            "or use `ScoredTable.sampler`, which draws any epoch from the probabilities."
        )
