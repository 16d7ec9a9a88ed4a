"""Tables: delimited text, JSON lines and Parquet files, read by one set of rules into columns."""

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow
import pyarrow.compute as pc
import pyarrow.parquet

from rsft.data.column_names import check_columns, spelled
from rsft.data.columns import BLOCK, Strings, first_rows, plain_paths, true_rows
from rsft.data.delimited import delimited_header, read_delimited
from rsft.data.reading import reading
from rsft.data.regular import for_arrow
from rsft.data.text import text_file
from rsft.errors import InputError
from rsft.missing import MARKS, label_name

PARQUET, JSON_LINES = ".parquet", (".jsonl", ".ndjson")
OF_PARQUET = "a table (Parquet)"
TABLES = (".csv", ".tsv", ".txt", *JSON_LINES, PARQUET)  # suffixes of tables; any other one is read as delimited text


class Table:
    """The rows of a file, in columns.

    Attributes:
        path: The file.
        columns: Name of the column -> its values (N,), as Arrow read them until they are asked for as text.
        lines: (N,) line at which each row begins, from 1; None where rows are not lines.
    """

    def __init__(self, path: Path, columns: dict[str, Strings | pyarrow.ChunkedArray], lines: "array[int] | None"):
        self.path, self.columns, self.lines = path, columns, lines

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def place(self, row: int) -> str:
        """Return the file and the line of a row (0 to N - 1), or its number from 1 where rows are not lines."""
        return f"'{self.path}' {f'row {row + 1}' if self.lines is None else f'line {self.lines[row]}'}"

    def text(self, name: str) -> Strings:
        """Return a column as text without blanks around it, and an empty text where a value is missing."""
        values = self.columns[name]
        if isinstance(values, Strings):
            return values
        told = _text(values)
        if not pyarrow.types.is_floating(values.type):  # of labels, `labels` asks how exact the numbers were
            self.columns[name] = told
        return told

    def paths(self, name: str) -> Strings:
        """Return a column of paths in their plain spelling; see `plain_paths`."""
        return plain_paths(self.text(name))

    def values(self, name: str) -> Strings:
        """Return a column as text, and an empty text also for what stands for a missing value; see `MARKS`."""
        told = self.text(name)
        rows = true_rows(pc.is_in(told.array, value_set=pyarrow.array(MARKS, pyarrow.large_string())))
        return told.replaced(rows, [""] * len(rows))

    def labels(self, name: str) -> Strings:
        """Return a column of labels as the names that they stand for, or an empty text without one; see `label_name`.

        Raises:
            InputError: The labels are floating-point numbers too large to be told apart.
        """
        values = self.columns[name]
        if not isinstance(values, Strings) and pyarrow.types.is_floating(values.type):
            least = 2 ** (np.finfo(values.type.to_pandas_dtype()).nmant + 1)
            large = true_rows(pc.greater_equal(pc.abs(values), float(least)).combine_chunks().fill_null(False))
            if len(large):
                raise InputError(
                    f"{self.place(int(large[0]))} has a label of {values.type}, which does not tell numbers from "
                    f"{least} on apart: store '{name}' as whole numbers or text."
                )
        told = self.text(name).coded(lambda part: part)
        return Strings.of(label_name(label) for label in told.names).take(told.codes)

    def numbers(self, name: str) -> np.ndarray:
        """Return a column as (N,) float64, NaN where a value is missing or no number."""
        values = self.columns[name]
        if not isinstance(values, Strings) and _is_number(values.type):
            return values.cast(pyarrow.float64(), safe=False).to_numpy()
        try:
            return self.text(name).array.cast(pyarrow.float64()).to_numpy(zero_copy_only=False)
        except pyarrow.ArrowInvalid:  # `float` reads more than Arrow does, such as 1_000
            return np.fromiter((_parse(value) for value in self.text(name)), float, len(self))

    def first_rows(self, key: Strings, names: Sequence[str]) -> np.ndarray:
        """Return the first row (K,) of each item, in rising order; rows that say the same again are left out.

        Args:
            key: (N,) the item that each row is about.
            names: Columns that tell something of it.

        Raises:
            InputError: Two rows for an item contradict each other.
        """
        first = first_rows(key)
        again = np.flatnonzero(first != np.arange(len(first)))
        for name in names if len(again) else ():
            told = self.values(name)
            other = again[~np.asarray(pc.equal(told.take(again).array, told.take(first[again]).array))]
            if len(other):
                row, before = int(other[0]), int(first[other[0]])
                raise InputError(
                    f"{self.place(row)} contradicts an earlier row: '{key[row]}' has {name}='{told[row]}' here, and "
                    f"'{told[before]}' in {self.place(before)}. Keep one of them."
                )
        return np.unique(first)


def read_table(path: Path, required: Sequence[str] = (), optional: Sequence[str] = (), *, others: bool = True) -> Table:
    """Read a table with a header.

    Text is in UTF-8, and commas, semicolons or tabs part its cells, as its header tells; or it is in UTF-16 with a mark
    and parted by tabs, as Excel's Unicode text. Blanks around cells, lines without a value and columns without a name
    that only count the rows are left out. `.jsonl` and `.ndjson` hold an object in each line, `.parquet` is Parquet.

    Args:
        path: The file.
        required: Names of the columns that must be there; case and blanks around a name do not matter.
        optional: Names of further columns that are known. A name like one of these is refused where that is absent.
        others: Whether columns of other names are read too.

    Raises:
        InputError: The file cannot be read, or a row has more or fewer cells than the header, which is told with its
            line; two columns have the same name, or a column is absent; see `check_columns`.
    """
    known = (*required, *optional)
    suffix = path.suffix.lower()
    if suffix == PARQUET:
        return _parquet(path, required, optional, others)
    read = _json_lines if suffix in JSON_LINES else read_delimited
    columns, lines = read(path)
    names = spelled(list(columns), known, path)
    check_columns(names, required, optional, path)
    table = dict(zip(names, columns.values(), strict=True))
    return Table(path, {name: told for name, told in table.items() if others or name in known}, lines)


def column_names(path: Path) -> list[str]:
    """Return the names of the columns of a table, without reading its rows; of JSON lines, those of the first row.

    Raises:
        InputError: The file cannot be read.
    """
    if path.suffix.lower() == PARQUET:
        return _schema(path).names
    with text_file(path) as file:
        if path.suffix.lower() in JSON_LINES:
            return list(next(_objects(file, path), (0, {}))[1])
        return delimited_header(file, path)


def holds_parquet(path: Path, test: Callable[[pyarrow.Schema], bool]) -> bool:
    """Return whether a file is Parquet, and its schema passes a test."""
    return path.suffix.lower() == PARQUET and test(_schema(path))


def _parquet(path: Path, required: Sequence[str], optional: Sequence[str], others: bool) -> Table:
    """Read a Parquet file; see `read_table`."""
    told = _schema(path).names
    names = spelled(told, (*required, *optional), path)
    check_columns(names, required, optional, path)
    wanted = {name: own for name, own in zip(names, told, strict=True) if others or name in (*required, *optional)}
    with reading(path, OF_PARQUET):
        table = pyarrow.parquet.ParquetFile(for_arrow(path)).read(columns=list(wanted.values()))
        columns = {name: table[own] for name, own in wanted.items()}
        for values in columns.values():
            if not pyarrow.types.is_primitive(values.type) and not pyarrow.types.is_nested(values.type):
                values.validate(full=True)  # the file may hold what is not UTF-8
    return Table(path, columns, None)


def _schema(path: Path) -> pyarrow.Schema:
    """Read the schema of a Parquet file."""
    with reading(path, OF_PARQUET):
        schema = pyarrow.parquet.read_schema(for_arrow(path))
        list(schema.names)  # which may not be UTF-8
        return schema


def _json_lines(path: Path) -> tuple[dict[str, Strings], "array[int]"]:
    """Read JSON lines: name -> values, and the line of each row. What an object lacks is missing."""
    lines, columns = array("q"), dict[str, list[str]]()
    with text_file(path) as file:
        for row, (line, told) in enumerate(_objects(file, path)):
            lines.append(line)
            for name, value in told.items():
                values = columns.setdefault(name, [])
                values.extend([""] * (row - len(values)))
                values.append("" if value is None or value != value else str(value).strip())
    rows = len(lines)
    return {name: Strings.shown(told + [""] * (rows - len(told))) for name, told in columns.items()}, lines


def _objects(file: TextIO, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line of each object of JSON lines, and the object."""
    for line, text in enumerate(file, 1):
        if text.strip():
            try:
                told = json.loads(text, object_pairs_hook=_unique)
            except (ValueError, RecursionError) as error:
                raise InputError(f"cannot read '{path}' line {line}: {error}.") from error
            if not isinstance(told, dict) or any(isinstance(value, dict | list) for value in told.values()):
                raise InputError(f"'{path}' line {line} needs an object of names with texts and numbers.")
            yield line, told


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its names and values; raise `ValueError` if a name occurs twice."""
    told = dict(pairs)
    if len(told) < len(pairs):
        raise ValueError("a name occurs twice in an object")
    return told


def _is_number(kind: pyarrow.DataType) -> bool:
    return pyarrow.types.is_integer(kind) or pyarrow.types.is_float32(kind) or pyarrow.types.is_float64(kind)


def _text(column: pyarrow.ChunkedArray) -> Strings:
    """Return a column of Arrow as text: what `str` makes of each value, or an empty text where it is missing."""
    kind = column.type
    if pyarrow.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        return Strings(pc.utf8_trim_whitespace(column.cast(pyarrow.large_string()).fill_null("")))
    if pyarrow.types.is_integer(kind):
        return Strings(column.cast(pyarrow.large_string()).fill_null(""))
    values = (
        value
        for chunk in column.chunks
        for start in range(0, len(chunk), BLOCK)
        for value in chunk[start : start + BLOCK].to_pylist()
    )
    return Strings.of("" if value is None or value != value else str(value) for value in values)


def _parse(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
