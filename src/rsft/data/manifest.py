"""Pictures listed in a CSV or Parquet file: `path[,identity][,<attributes...>]`, paths relative to the file."""

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
    """The pictures that a manifest names, or holds; its further columns become attributes, as text.

    Raises:
        InputError: it cannot be read, has no column `path`, leaves a path or an identity empty, or names a picture that
            is missing or lies outside the folder of the manifest.
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
    try:
        return pyarrow.parquet.read_schema(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"cannot read '{path}': {error}.".replace("\n", " ")) from error


def read_columns(path: Path) -> dict[str, list[str]]:
    """Name -> values as text, empty where there is none, of a CSV or Parquet file.

    Raises:
        InputError: it cannot be read, or a line has more or fewer values than the header.
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
        raise InputError(f"'{path}' needs {len(header)} columns of different names in every row, but {what}.")
    return {name: [row[column] for row in rows] for column, name in enumerate(header)}


def read_attributes(path: Path, items: Sequence[str]) -> dict[str, list[str]]:
    """Attribute -> values in the order of the items, of a file with a column `path` and one for each attribute.

    Raises:
        InputError: it cannot be read, or an item has no row.
    """
    columns = read_columns(path)
    if PATH not in columns or not columns[PATH]:
        raise InputError(f"'{path}' needs a header with a column 'path' and one for each attribute.")
    row = {item: number for number, item in enumerate(columns.pop(PATH))}
    lacking = [item for item in items if item not in row]
    if lacking:
        raise InputError(f"'{path}' has no row for {len(lacking)} pictures, such as '{lacking[0]}'.")
    return {name: [values[row[item]] for item in items] for name, values in columns.items()}
