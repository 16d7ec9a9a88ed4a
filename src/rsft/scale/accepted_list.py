"""A list of the accepted items of an epoch as a file, for trainers that read lists."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rsft.disk.room import telling_full
from rsft.disk.whole import whole_file
from rsft.errors import InputError
from rsft.run_folder import check_file
from rsft.sampling.sampler import RejectionSampler
from rsft.scale.columns import ACCEPTANCE, ID, is_name
from rsft.scale.decisions import SeedCheck, check_probabilities, written
from rsft.scale.stream import check_epoch
from rsft.scale.table import ROWS, Listener, ScoredTable, silent

CSV, PARQUET = ".csv", ".parquet"


def check_list(out: str | Path, where: Sequence[str | Path]) -> None:
    """Raise an InputError if a list may not be written; call it before any work.

    Args:
        out: The file.
        where: Folders and files of the table.
    """
    if Path(out).suffix not in (CSV, PARQUET):
        raise InputError(f"'{out}' needs a name that ends in {CSV} or {PARQUET}.")
    check_file(Path(out), inputs=where)


def write_accepted(
    table: ScoredTable,
    epoch: int,
    out: str | Path,
    *,
    columns: Sequence[str] = (),
    seed: int | None = None,
    listener: Listener = silent,
) -> int:
    """Write the ids of the items accepted in an epoch to a file, which is whole or absent, and return their number.

    Items with numbers stand in the order in which `ScoredTable.sampler` gives them to one process. The memory is N / 8
    bytes and what such a sampler needs to put a window in order; with `columns`, also what is written of them. Items
    with names have no such order: they stand in that of the table, as in `ScoredTable.stream`.

    Args:
        table: The table.
        epoch: The epoch.
        out: New file, .csv with a heading or .parquet, for the column `id`.
        columns: Columns of the table to write beside it, such as the path of the picture.
        seed: Seed of a table of numbers that was read without its scorer. The default is then 0, if the decisions
            prove it.
        listener: Function that is told (stage, done, total), in rows.

    Raises:
        InputError: If the epoch was not scored, the decisions are not those of the seed, or the file exists or lies in
            the table's folder.
        DiskFullError: If there is no room for the file.
    """
    check_list(out, [*table.where, *table.files])
    check_epoch(epoch, table.epochs)
    _check_columns(table, columns, out)
    fields = [pq.read_schema(table.files[0]).field(name) for name in (ID, *columns)]
    parts = _named if table.named else _numbered
    with _writing(Path(out), pa.schema(fields)) as write:
        count = 0
        for part in parts(table, epoch, columns, seed, listener):
            write(part)
            count += part.num_rows
    return count


def _named(
    table: ScoredTable, epoch: int, columns: Sequence[str], seed: int | None, listener: Listener
) -> Iterator[pa.Table]:
    """Yield the accepted rows in the order of the table."""
    check = None if seed is None else SeedCheck(seed, table.epochs)
    yield from _accepted_rows(table, epoch, columns, check, listener)
    _check_seed(check, seed)


def _numbered(
    table: ScoredTable, epoch: int, columns: Sequence[str], seed: int | None, listener: Listener
) -> Iterator[pa.Table]:
    """Yield the accepted rows in the order of the sampler."""
    check = SeedCheck(next((one for one in (seed, table.seed) if one is not None), 0), table.epochs)
    bits, kept, total = np.zeros(-(-table.items // 8), np.uint8), [], 0
    for part in _accepted_rows(table, epoch, columns, check, listener):
        numbers = part[ID].to_numpy()
        total += len(numbers)
        np.bitwise_or.at(bits, numbers >> 3, (1 << (numbers & 7)).astype(np.uint8))
        if columns:
            kept.append(part.cast(_large(part.schema)))
    _check_seed(check, check.seed if table.seed is not None else seed)
    rows = pa.concat_tables(kept).sort_by(ID) if kept else None
    places = np.empty(0, np.int64) if rows is None else rows[ID].to_numpy()
    order, done = iter(_sampler(bits, table.items, check.seed, epoch)), 0
    while len(numbers := np.fromiter(islice(order, ROWS), np.int64)):
        yield pa.table({ID: numbers}) if rows is None else rows.take(np.searchsorted(places, numbers))
        done += len(numbers)
        listener("list", done, total)


def _accepted_rows(
    table: ScoredTable, epoch: int, columns: Sequence[str], check: SeedCheck | None, listener: Listener
) -> Iterator[pa.Table]:
    """Yield the id and the columns of the accepted rows, in the order of the table."""
    for path, batch in table.told("rows", list(dict.fromkeys([*SeedCheck.COLUMNS, *columns])), listener):
        if check is not None:
            check_probabilities(path, batch[ACCEPTANCE].to_numpy())
            check.see(batch)
        row, of = written(batch, table.epochs)
        yield pa.Table.from_batches([batch]).select([ID, *columns]).take(row[of == epoch])


def _large(schema: pa.Schema) -> pa.Schema:
    """Return a schema whose texts may take over 2 GB together."""
    return pa.schema([field.with_type(pa.large_string()) if is_name(field.type) else field for field in schema])


def _sampler(bits: np.ndarray, items: int, seed: int, epoch: int) -> RejectionSampler:
    """Return a sampler that accepts in an epoch just the items whose bit is set: their order follows from their number.

    Args:
        bits: (ceil(N / 8),) uint8, the lowest bit of a byte first.
        items: N.
        seed: Seed for the order.
        epoch: The epoch.
    """

    def certain(start: int, stop: int) -> np.ndarray:
        first = start // 8
        return np.unpackbits(bits[first : -(-stop // 8)], bitorder="little")[start - first * 8 :][: stop - start] * 1.0

    sampler = RejectionSampler(certain, items=items, seed=seed, rank=0, world_size=1)
    sampler.set_epoch(epoch)
    return sampler


def _check_seed(check: SeedCheck | None, stated: int | None) -> None:
    """Raise an InputError if the decisions are not those of a seed, or do not prove one that nobody has stated."""
    state = "state the seed of its plan, as --seed or `seed=...`"
    if check is not None and not check.agrees:
        raise InputError(f"the decisions of the table are not those of seed {check.seed}: {state}.")
    if check is not None and stated is None and not check.proven:
        raise InputError(f"the table has too few decisions to tell whether its seed is {check.seed}: {state}.")


def _check_columns(table: ScoredTable, columns: Sequence[str], out: str | Path) -> None:
    """Raise an InputError if columns cannot be written."""
    table.check_columns(columns)
    if ID in columns or len(set(columns)) < len(columns):
        raise InputError(f"a list has '{ID}' and each other column once, got the columns {', '.join(columns)}.")
    for name in columns if Path(out).suffix == CSV else ():
        kind = pq.read_schema(table.files[0]).field(name).type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            raise InputError(f"the column '{name}' holds {kind}, which {CSV} cannot: name a {PARQUET} file.")


@contextmanager
def _writing(out: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], object]]:
    """Yield a function that writes rows to a file; the file is there when the block ends."""
    with telling_full(out), whole_file(out) as file:
        if out.suffix == CSV:
            file.write(_as_csv([schema.names]))
            yield lambda rows: file.write(_as_csv(zip(*rows.to_pydict().values(), strict=True)))
        else:
            with pq.ParquetWriter(file, schema) as writer:
                yield lambda rows: writer.write_table(rows.cast(schema))


def _as_csv(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
