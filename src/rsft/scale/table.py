"""ScoredTable: what an engine wrote, read partition by partition."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rsft.data.reading import reading
from rsft.data.remote import RemotePath, to_path
from rsft.errors import InputError
from rsft.sampling.sampler import RejectionSampler
from rsft.sampling.stream import RejectionStream
from rsft.scale.columns import ACCEPTANCE, ACCEPTED, EPOCHS, ID, OUTCOME, PLAN, TYPES, is_name
from rsft.scale.ids import check_names, check_numbers
from rsft.scale.scorer import Scorer
from rsft.scale.stream import Rows, Told, check_epoch, id_of

ROWS = 1 << 16  # number of rows in memory at a time
WHAT = "a partition of a scored table"
AGAIN = "score the pool again"
READ_AGAIN = f"read it with the scorer that it was made with, or {AGAIN}"

Listener = Callable[[str, int, int], None]  # stage, done, total


def silent(stage: str, done: int, total: int) -> None:
    """Ignore the progress; the default listener."""


class ScoredTable:
    """The scored items of a pool, in Parquet files that an engine wrote.

    A partition is read when it is needed, so memory does not grow with the pool, except where said. In which partition
    an item lies, and in which order, has no effect on who is accepted.

    Attributes:
        files: The files that have rows.
        empty: Number of files that have none.
        where: Folders that they were found in.
        plan: Fingerprint of the plan.
        seed: Seed for the accept decisions; None if it is not known, as the table does not hold it.
        rows: Number of rows.
        items: Number N of items; there are as many rows.
        epochs: Number of epochs whose accept decisions are in all of the files.
        named: Whether items have names. Otherwise they have numbers, 0 to N - 1.

    Args:
        files: Parquet files with the columns that `Scorer` returns.
        scorer: The scorer that they were made with; None to take the plan that the table names.
        items: N, where there is no scorer to tell it. The default is the number of rows, and then it is not seen that
            the last items are missing.
        where: Folders that the files were found in.
        listener: Function that is told (stage, done, total), in rows, while the table is checked.

    Raises:
        InputError: If a file cannot be read, has other columns than the first, or was made with another plan, or an
            item is missing or there twice. To see this, all ids are read once.
    """

    def __init__(
        self,
        files: Sequence[Path],
        scorer: Scorer | None = None,
        *,
        items: int | None = None,
        where: Sequence[Path] = (),
        listener: Listener = silent,
    ) -> None:
        schemas = {path: schema for path in files if (schema := _schema(path)) is not None}
        if not schemas:
            raise InputError(f"the table has no rows in its {len(files)} files, the first is '{files[0]}'.")
        self.files, self.empty, self.where = list(schemas), len(files) - len(schemas), list(where)
        first = self.files[0]
        for path, schema in schemas.items():
            _check_schema(path, schema, first, schemas[first])
        self.named = is_name(schemas[first].field(ID).type)
        self.rows = sum(pq.read_metadata(path).num_rows for path in self.files)
        known = items if scorer is None or scorer.items is None else scorer.items
        self.items = self.rows if known is None else known
        self.seed = None if scorer is None else scorer.seed
        self.plan = self._plan_of(first) if scorer is None else scorer.plan
        self.epochs = self._fewest_epochs(listener)
        if self.named:
            check_names(partial(self._ids, listener), self.items, self.rows)
        else:
            check_numbers(self._ids(listener), self.items, self.rows)

    def __len__(self) -> int:
        return self.items

    def acceptance(self, into: str | Path | None = None) -> np.ndarray:
        """Return the acceptance probability of each item, by its number: (N,) float64.

        Args:
            into: A new `.npy` file for them, which is then mapped to memory. Without it they take 8 N bytes.

        Raises:
            InputError: If the items have names, or the file exists.
        """
        if self.named:
            raise InputError("items with names have no order: use `ScoredTable.stream`, or score with numbers as ids.")
        if into is not None and Path(into).exists():
            raise InputError(f"'{into}' exists: name a new file for the acceptance probabilities.")
        values: np.ndarray = (
            np.empty(self.items) if into is None else np.lib.format.open_memmap(into, "w+", np.float64, (self.items,))
        )
        for _, batch in self.batches([ID, ACCEPTANCE]):
            values[batch[ID].to_numpy()] = batch[ACCEPTANCE].to_numpy()
        return values

    def sampler(self, into: str | Path | None = None, **options: Any) -> RejectionSampler:
        """Return a sampler of the numbers of accepted items, for a dataset that finds items by their number.

        It draws from the probabilities, so it knows any epoch.

        Args:
            into: As in `acceptance`.
            **options: Further arguments of `RejectionSampler`.
        """
        if self.seed is None and "seed" not in options:
            raise InputError(
                "a table does not hold its seed, by which the sampler draws: read it with its scorer, or state the "
                "seed as `ScoredTable.sampler(seed=...)`."
            )
        return RejectionSampler(self.acceptance(into), **{"seed": self.seed, **options})

    def stream(
        self, columns: Sequence[str] = (), *, rank: int | None = None, world_size: int | None = None
    ) -> RejectionStream:
        """Return a stream of the accepted rows, as dictionaries of their columns, in the order of the table.

        The workers of all ranks share the row groups of the files. Who is accepted is what the table says, so an epoch
        that was not scored raises an `InputError` when the stream is iterated.

        Args:
            columns: Columns of the table that a row has beside `id`.
            rank: Number of this process. The default is that of `torch.distributed` if initialised, 0 otherwise.
            world_size: Number of processes. The default is that of `torch.distributed` if initialised, 1 otherwise.
        """
        self.check_columns(columns)
        own = list(dict.fromkeys([ID, *columns]))
        shares = partial(self._share, list(dict.fromkeys([ACCEPTED, *own])))
        seed = 0 if self.seed is None else self.seed  # nothing is drawn by it
        return RejectionStream(
            Rows(shares, own, rank, world_size),
            Told(seed, self.epochs),
            seed=seed,
            key=id_of,
            divided=True,
            rank=rank,
            world_size=world_size,
        )

    def check_columns(self, columns: Sequence[str]) -> None:
        """Raise an InputError if the table lacks a column."""
        absent = [name for name in columns if name not in pq.read_schema(self.files[0]).names]
        if absent:
            raise InputError(f"'{self.files[0]}' has no column '{absent[0]}': name it in `scale.scorer(keep=...)`.")

    def accepted(self, epoch: int = 0) -> np.ndarray:
        """Return the ids of all items accepted in an epoch, ascending: (n,) int64, or (n,) texts if items have names.

        Raises:
            InputError: If the epoch was not scored.
        """
        check_epoch(epoch, self.epochs)
        parts = []
        for _, batch in self.batches([ID, ACCEPTED]):
            lists = batch[ACCEPTED]
            rows = np.repeat(np.arange(len(batch)), lists.value_lengths().to_numpy())
            kept = rows[lists.flatten().to_numpy() == epoch]
            parts.append(batch[ID].take(pa.array(kept)).to_numpy(zero_copy_only=False))
        return np.sort(np.concatenate(parts))

    def outcomes(self) -> dict[str, int]:
        """Return how many rows have each outcome, see `RowOutcome`."""
        counts = Counter[str]()
        for _, batch in self.batches([OUTCOME]):
            counts.update({found["values"]: found["counts"] for found in batch[OUTCOME].value_counts().to_pylist()})
        return dict(counts)

    def _share(self, columns: Sequence[str], share: int, shares: int) -> Iterator[pa.RecordBatch]:
        return (batch for _, batch in self.batches(columns, share, shares))

    def _ids(self, listener: Listener) -> Iterator[tuple[Path, pa.Array]]:
        return ((path, batch[ID]) for path, batch in self.told("ids", [ID], listener))

    def batches(self, columns: Sequence[str], share: int = 0, shares: int = 1) -> Iterator[tuple[Path, pa.RecordBatch]]:
        """Yield the rows of a share of the row groups of all files, `ROWS` at a time at most, with their file."""
        number = 0
        for path in self.files:
            # Spark writes a checksum of each page, and so does `write_parquet(..., write_page_checksum=True)` of Ray
            options = {"read_dictionary": [PLAN], "page_checksum_verification": True}
            with reading(path, WHAT), pq.ParquetFile(path, **options) as file:
                mine = [place for place in range(file.num_row_groups) if (number + place) % shares == share]
                number += file.num_row_groups
                for batch in file.iter_batches(ROWS, mine, list(columns)) if mine else ():
                    batch.validate(full=True)  # damaged texts and indices
                    _check_filled(path, batch)
                    yield path, batch

    def told(
        self, stage: str, columns: Sequence[str], listener: Listener = silent
    ) -> Iterator[tuple[Path, pa.RecordBatch]]:
        """Yield all rows as `batches` does, and tell a listener how many were read."""
        done = 0
        listener(stage, done, self.rows)
        for path, batch in self.batches(columns):
            yield path, batch
            done += len(batch)
            listener(stage, done, self.rows)

    def _plan_of(self, path: Path) -> str:
        """Return the plan that the first row of a file names."""
        return str(next(batch for at, batch in self.batches([PLAN]) if at == path)[PLAN][0].as_py())

    def _fewest_epochs(self, listener: Listener) -> int:
        """Return the number of epochs that all rows have; raise an InputError if a row is of another plan."""
        fewest = []
        for path, batch in self.told("epochs and plans", [EPOCHS, PLAN], listener):
            other = [plan for plan in batch[PLAN].unique().to_pylist() if plan != self.plan]
            if other:
                mixed = "move the files of other jobs out of the table" if self.seed is None else READ_AGAIN
                raise InputError(f"'{path}' was scored with plan {other[0]}, and this is plan {self.plan}: {mixed}.")
            fewest.append(int(batch[EPOCHS].to_numpy().min()))
            if fewest[-1] < 1:
                raise InputError(f"'{path}' has {fewest[-1]} in '{EPOCHS}', which needs 1 or more: {AGAIN}.")
        return min(fewest)


def read_scored(
    where: str | Path | Sequence[str | Path],
    scorer: Scorer | None = None,
    *,
    items: int | None = None,
    listener: Listener = silent,
) -> ScoredTable:
    """Read what an engine wrote.

    Args:
        where: A folder with Parquet files, as Ray and Spark write it, or Parquet files. In a folder, names that begin
            with a dot or `_` are passed over, as both engines do.
        scorer: The scorer that it was made with, or one of the same plan. Without it, all parts must be of one plan,
            and the seed is not known.
        items: As in `ScoredTable`.
        listener: As in `ScoredTable`.

    Raises:
        InputError: If there is no Parquet file, or for the reasons of `ScoredTable`.
    """
    places = [to_path(place) for place in ([where] if isinstance(where, str | Path) else where)]
    remote = next((place for place in places if isinstance(place, RemotePath)), None)
    if remote is not None:
        raise InputError(f"'{remote}' is no folder here: copy the table to one, and read it there.")
    files = [file for place in places for file in (_files(place) if place.is_dir() else [place])]
    if not files:
        raise InputError(f"no Parquet file in {', '.join(map(str, places)) or 'an empty list'}: name what was written.")
    return ScoredTable(files, scorer, items=items, where=places, listener=listener)


def _files(folder: Path) -> list[Path]:
    """Return the Parquet files of a folder in the order of their names."""
    found = sorted(folder.rglob("*.parquet"))
    return [path for path in found if not any(part[0] in "._" for part in path.relative_to(folder).parts)]


def _schema(path: Path) -> pa.Schema | None:
    """Return the schema of a file; None if it has no row, and then perhaps no columns."""
    with reading(path, WHAT), pq.ParquetFile(path) as file:
        return file.schema_arrow if file.metadata.num_rows else None


def _check_schema(path: Path, schema: pa.Schema, first: Path, others: pa.Schema) -> None:
    """Raise an InputError unless a file has the columns of a scored table, and those of the first file."""
    for name in (ID, *TYPES):
        if name not in schema.names:
            raise InputError(f"'{path}' has no column '{name}', so it is no scored table.")
        needed = [TYPES[name]] if name in TYPES else [pa.int64(), pa.string()]
        if _plain(schema.field(name).type) not in needed:
            told = " or ".join(map(str, needed))
            raise InputError(f"'{path}' has {schema.field(name).type} in '{name}', which needs {told}.")
    here, there = ({field.name: _plain(field.type) for field in fields} for fields in (schema, others))
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            raise InputError(
                f"'{path}' has {here.get(name) or 'no'} column '{name}', and '{first}' {there.get(name) or 'none'}: "
                "score all partitions with one scorer."
            )


def _check_filled(path: Path, batch: pa.RecordBatch) -> None:
    """Raise an InputError if a column of a scored table lacks a value."""
    for name in (ID, *TYPES):
        if name in batch.schema.names:
            values = batch[name]
            empty = values.null_count + (values.flatten().null_count if pa.types.is_nested(values.type) else 0)
            if empty:
                raise InputError(f"'{path}' lacks {empty} values in '{name}': {AGAIN}.")


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return a type as it is without what engines write differently: large offsets, and names of the parts of lists."""
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    return kind
