"""Manifests: CSV or Parquet files `path[,identity][,<attributes...>]` with paths relative to the file."""

import csv
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow
import pyarrow.compute as pc
import pyarrow.parquet

from rsft.data.columns import BLOCK, Strings, first_part, join_strings, rows_like, true_rows
from rsft.data.composition import FilesOfAnyComposition, composed_names
from rsft.data.folder import absent_files
from rsft.data.huggingface import holds_pictures, list_table
from rsft.data.listing import Listing, item_id, text_column
from rsft.data.sources import Files
from rsft.errors import InputError

PATH, IDENTITY = "path", "identity"
# Regular expressions of RE2. UNUSUAL: paths that may not be in their plain spelling. SUSPECT: those that may lead out.
# UNFIT: identities that may not be able to name a folder.
UNUSUAL = r"\\|//|(^|/)\.(/|$)|/$|^$"
SUSPECT = r"^\.$|^/|\.\.|\x00"
UNFIT = r"/|^\.{0,2}$"


def list_manifest(manifest: Path) -> Listing:
    """List the pictures of a manifest.

    Each row names a picture by `path`, and its identity by `identity` if there is such a column. All other columns
    become attributes, as text. A Parquet file with a column of pictures in Hugging Face's format is listed by
    `list_table` instead.

    Args:
        manifest: A CSV or Parquet file.

    Raises:
        InputError: The file cannot be read, has no column `path`, has an empty path or identity, or names a picture
            that is missing or outside the folder of the manifest.
    """
    if manifest.suffix.lower() == ".parquet" and holds_pictures(_schema(manifest)):
        return list_table(manifest)
    columns = text_columns(manifest)
    if PATH not in columns:
        raise InputError(f"'{manifest}' needs a column 'path', got {', '.join(columns) or 'none'}.")
    paths = _plain_paths(columns.pop(PATH), manifest)
    files = _files(manifest, paths)
    identities, names = columns.pop(IDENTITY, None), composed_names(paths)
    ids = names if identities is None else _ids(composed_names(identities), names, manifest)
    return Listing(ids, Files(manifest.parent, files), columns)


def _files(manifest: Path, paths: Strings) -> Strings:
    """Return the paths of the files that a manifest names, spelt as they are on the disk."""
    missing = absent_files(manifest.parent, paths)
    search = FilesOfAnyComposition(manifest.parent)
    found = [search.find(path) for path in paths.take(missing)]
    for path, files in zip(paths.take(missing), found, strict=True):
        if not files:
            raise InputError(
                f"'{manifest}' names {found.count([])} pictures that do not exist, such as '{path}': "
                "paths are relative to the folder of the manifest."
            )
        if len(files) > 1:
            raise InputError(
                f"'{manifest}' names '{path}', and {len(files)} files differ from it only in how Unicode composes "
                f"their letters, such as {files[0]!a}: rename them."
            )
    return paths.replaced(missing, (files[0] for files in found))


def _plain_paths(told: Strings, manifest: Path) -> Strings:
    """Return paths in their plain spelling; raise `InputError` if one leads out of the folder of the manifest."""
    rows = rows_like(told, UNUSUAL)
    paths = told.replaced(rows, (str(PurePosixPath(path.replace("\\", "/"))) for path in told.take(rows)))
    for path in paths.take(rows_like(paths, SUSPECT)):
        if path == "." or path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise InputError(f"'{manifest}' names '{path}': paths must lie below the folder of the manifest.")
    return paths


def _ids(identities: Strings, paths: Strings, manifest: Path) -> Strings:
    """Return the `item_id` of each row; raise `InputError` at the first whose identity cannot name a folder."""
    told, array, slash = identities.array, paths.array, pyarrow.scalar("/", pyarrow.large_string())
    below = pyarrow.concat_arrays(
        pc.and_(pc.equal(first_part(names), told.slice(start, BLOCK)), pc.match_substring(names, "/"))
        for start in range(0, max(1, len(paths)), BLOCK)
        for names in [array.slice(start, BLOCK)]
    )
    if pc.all(below, min_count=0).as_py():
        return paths
    joined = Strings(pc.if_else(below, array, pc.binary_join_element_wise(told, array, slash)))
    rows = rows_like(identities, UNFIT)
    pairs = zip(identities.take(rows), paths.take(rows), strict=True)
    return joined.replaced(rows, (item_id(identity, path, manifest) for identity, path in pairs))


def _schema(path: Path) -> pyarrow.Schema:
    """Read the schema of a Parquet file."""
    try:
        return pyarrow.parquet.read_schema(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"cannot read '{path}': {error}.".replace("\n", " ")) from error


def read_columns(path: Path) -> dict[str, list[str]]:
    """Read a CSV or Parquet file as lists of text; see `text_columns`."""
    return {name: list(values) for name, values in text_columns(path).items()}


def text_columns(path: Path) -> dict[str, Strings]:
    """Read a CSV or Parquet file as columns of text.

    Args:
        path: The file. Every suffix other than `.parquet` is read as CSV in UTF-8, with a header.

    Returns:
        Column name -> values, an empty text where a value is missing. An empty CSV file gives no columns.

    Raises:
        InputError: The file cannot be read, two columns have the same name, or a row has more or fewer values than
            the header.
    """
    with _reading(path):
        if path.suffix.lower() != ".parquet":
            return _csv_columns(path)
        table = pyarrow.parquet.read_table(path)
        columns = dict(zip(table.column_names, table.columns, strict=True))
        del table  # so that the memory of each column is free once it is text
        return {name: _text(columns.pop(name)) for name in list(columns)}


def number_columns(
    path: Path, text: Collection[str], numbers: Collection[str]
) -> tuple[dict[str, Strings], dict[str, np.ndarray]]:
    """Read some columns of a CSV or Parquet file as text and others as numbers; those that it lacks are left out.

    Args:
        path: The file; see `text_columns`.
        text: Names of the columns of text.
        numbers: Names of the columns of numbers.

    Returns:
        Column name -> values (N,) as text, and column name -> values (N,) float64, NaN where a value is missing or no
        number.

    Raises:
        InputError: The file cannot be read; see `text_columns`.
    """
    if path.suffix.lower() != ".parquet":
        columns = text_columns(path)
        told = {name: columns[name] for name in text if name in columns}
        return told, {name: _parsed(columns.pop(name)) for name in numbers if name in columns}
    with _reading(path):
        table = pyarrow.parquet.read_table(path, columns=[*text, *numbers])
        found = dict(zip(table.column_names, table.columns, strict=True))
        told = {name: _text(found[name]) for name in text if name in found}
        return told, {name: _numbers(found[name]) for name in numbers if name in found}


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn the errors of reading a table into `InputError`."""
    try:
        yield
    except (OSError, UnicodeDecodeError, csv.Error, pyarrow.ArrowException) as error:
        raise InputError(f"cannot read '{path}': {error}.".replace("\n", " ")) from error


def _csv_columns(path: Path) -> dict[str, Strings]:
    """Read a CSV file as columns of text, a block of rows at a time."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = (row for row in csv.reader(file) if row)
        header = next(rows, [])
        blocks: list[list[Strings]] = [[] for _ in header]
        ragged = None
        while block := list(islice(rows, BLOCK)):
            ragged = ragged or next((row for row in block if len(row) != len(header)), None)
            if not ragged:
                for column, values in zip(blocks, zip(*block, strict=True), strict=True):
                    column.append(Strings.of(values))
    if ragged or len(set(header)) < len(header):
        what = f"a row has {len(ragged)}: {','.join(ragged)}" if ragged else "a name occurs twice"
        raise InputError(f"'{path}' needs {len(header)} columns with unique names in every row, but {what}.")
    return {name: join_strings(column or [[]]) for name, column in zip(header, blocks, strict=True)}


def _text(column: pyarrow.ChunkedArray) -> Strings:
    """Return a column of a table as text: what `str` makes of each value, or an empty text where it is missing."""
    kind = column.type
    if pyarrow.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if pyarrow.types.is_integer(kind) or pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        column.validate(full=True)  # the file may hold what is not UTF-8
        return Strings(column.cast(pyarrow.large_string()).fill_null(""))
    values = (
        value
        for chunk in column.chunks
        for start in range(0, len(chunk), BLOCK)
        for value in chunk[start : start + BLOCK].to_pylist()
    )
    return Strings.of("" if value is None else str(value) for value in values)


def _numbers(column: pyarrow.ChunkedArray) -> np.ndarray:
    """Return a column of a table as (N,) float64; NaN where a value is missing or no number."""
    kind = column.type
    if pyarrow.types.is_integer(kind) or pyarrow.types.is_float32(kind) or pyarrow.types.is_float64(kind):
        return column.cast(pyarrow.float64(), safe=False).to_numpy()
    return _parsed(_text(column))


def _parsed(values: Strings) -> np.ndarray:
    """Return text as (N,) float64; NaN where it is no number."""
    try:
        return values.array.cast(pyarrow.float64()).to_numpy(zero_copy_only=False)
    except pyarrow.ArrowInvalid:  # `float` reads more than Arrow does, such as spaces around a number
        return np.fromiter((_parse(value) for value in values), float, len(values))


def _parse(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def read_attributes(path: Path, items: Sequence[str]) -> dict[str, Strings]:
    """Read the attributes of items from a CSV or Parquet file with a column `path` and one column per attribute.

    Args:
        path: The file. Of several rows for an item, the last one counts.
        items: Ids of the items, as the column `path` spells them.

    Returns:
        Attribute -> values as text, in the order of `items`.

    Raises:
        InputError: The file cannot be read, has no column `path` or no row, or lacks a row for an item.
    """
    columns = text_columns(path)
    if PATH not in columns or not columns[PATH]:
        raise InputError(f"'{path}' needs a header with a column 'path' and a column for each attribute.")
    last_first = composed_names(columns.pop(PATH))[::-1]
    names = composed_names(text_column(items, path))
    found = pc.index_in(names.array, last_first.array)
    lacking = names.take(true_rows(found.is_null()))
    if lacking:
        raise InputError(f"'{path}' has no row for {len(lacking)} pictures, such as '{lacking[0]}'.")
    rows = len(last_first) - 1 - found.to_numpy().astype(np.int64)
    return {name: values.take(rows) for name, values in columns.items()}
