"""Manifests: CSV or Parquet files `path[,identity][,<attributes...>]` with paths relative to the file."""

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pyarrow
import pyarrow.parquet

from rsft.data.huggingface import holds_pictures, list_table
from rsft.data.listing import Listing, item_id
from rsft.errors import InputError

PATH, IDENTITY = "path", "identity"


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
    columns = read_columns(manifest)
    if PATH not in columns:
        raise InputError(f"'{manifest}' needs a column 'path', got {', '.join(columns) or 'none'}.")
    paths = [str(PurePosixPath(path.replace("\\", "/"))) for path in columns.pop(PATH)]
    identities = columns.pop(IDENTITY, None)
    root = manifest.parent
    for path in paths:
        if path == "." or path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise InputError(f"'{manifest}' names '{path}': paths must lie below the folder of the manifest.")
    missing = [path for path in paths if not (root / path).is_file()]
    if missing:
        raise InputError(
            f"'{manifest}' names {len(missing)} pictures that do not exist, such as '{missing[0]}': "
            "paths are relative to the folder of the manifest."
        )
    told = identities if identities is not None else [None] * len(paths)
    ids = [item_id(identity, path, manifest) for identity, path in zip(told, paths, strict=True)]
    return Listing(ids, [root / path for path in paths], columns)


def _schema(path: Path) -> pyarrow.Schema:
    """Read the schema of a Parquet file."""
    try:
        return pyarrow.parquet.read_schema(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"cannot read '{path}': {error}.".replace("\n", " ")) from error


def read_columns(path: Path) -> dict[str, list[str]]:
    """Read a CSV or Parquet file as columns of text.

    Args:
        path: The file. Every suffix other than `.parquet` is read as CSV in UTF-8, with a header.

    Returns:
        Column name -> values, an empty text where a value is missing. An empty CSV file gives no columns.

    Raises:
        InputError: The file cannot be read, two columns have the same name, or a row has more or fewer values than
            the header.
    """
    try:
        if path.suffix.lower() == ".parquet":
            columns = pyarrow.parquet.read_table(path).to_pydict()
            return {name: ["" if value is None else str(value) for value in values] for name, values in columns.items()}
        with open(path, newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error, pyarrow.ArrowException) as error:
        raise InputError(f"cannot read '{path}': {error}.".replace("\n", " ")) from error
    ragged = [row for row in rows if len(row) != len(header)]
    if ragged or len(set(header)) < len(header):
        what = f"a row has {len(ragged[0])}: {','.join(ragged[0])}" if ragged else "a name occurs twice"
        raise InputError(f"'{path}' needs {len(header)} columns with unique names in every row, but {what}.")
    return {name: [row[column] for row in rows] for column, name in enumerate(header)}


def read_attributes(path: Path, items: Sequence[str]) -> dict[str, list[str]]:
    """Read the attributes of items from a CSV or Parquet file with a column `path` and one column per attribute.

    Args:
        path: The file.
        items: Ids of the items, as the column `path` spells them.

    Returns:
        Attribute -> values as text, in the order of `items`.

    Raises:
        InputError: The file cannot be read, has no column `path` or no row, or lacks a row for an item.
    """
    columns = read_columns(path)
    if PATH not in columns or not columns[PATH]:
        raise InputError(f"'{path}' needs a header with a column 'path' and a column for each attribute.")
    row = {item: number for number, item in enumerate(columns.pop(PATH))}
    lacking = [item for item in items if item not in row]
    if lacking:
        raise InputError(f"'{path}' has no row for {len(lacking)} pictures, such as '{lacking[0]}'.")
    return {name: [values[row[item]] for item in items] for name, values in columns.items()}
