"""Lance data sets of pictures, on a disk or in a bucket: of a row, only what is asked for is read.

Lance reads buckets itself, with the credentials in the environment.
"""

import os
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow

from rsft.data.column_names import PATH
from rsft.data.columns import Strings, true_rows
from rsft.data.huggingface import LABELS, is_image
from rsft.data.listing import Listing, item_id
from rsft.data.remote_errors import without_secrets
from rsft.data.sources import Rows, RowTable
from rsft.data.table import Table
from rsft.errors import InputError, how_to_install

LANCE = ".lance"
USUAL = "image"  # name of the column of pictures, if several hold bytes


@dataclass(frozen=True)
class LanceRows(RowTable):
    """A version of a Lance data set.

    Attributes:
        name: Its path.
        column: Name of the column of pictures.
        version: Number of the version.
        modified: When it was made, in ns.
    """

    name: str
    column: str
    version: int
    modified: int

    def read(self, number: int) -> bytes:
        try:
            taken = _opened(self.name, self.version, os.getpid()).take([number], columns=[self.column])
            value = taken[self.column][0].as_py()
        except (OSError, ValueError, LookupError) as error:
            raise OSError(_reason(error)) from None
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise OSError(f"row {number} has no picture in its column '{self.column}'")
        return content


def list_lance(root: Path) -> Listing:
    """List the pictures of a Lance data set; none of them is read.

    A row is named by its column `path`, or else by its number. Its identity is the first of `LABELS` that is a column;
    all other columns of text and numbers are attributes.

    Args:
        root: The folder of the data set, on a disk or remote.

    Raises:
        InputError: Lance is not installed, there is no such data set, it has not one column of pictures, or a row has
            no label.
    """
    try:
        opened = _open(str(root), None)
    except ImportError:
        raise InputError(f"'{root}' needs Lance: {how_to_install('lance')}.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"'{root}' cannot be read as a Lance data set: {_reason(error)}.") from None
    image = _image(opened.schema, root)
    plain = [field.name for field in opened.schema if field.name != image and _is_plain(field.type)]
    try:
        columns = opened.to_table(columns=plain)
    except (OSError, ValueError) as error:
        raise InputError(f"'{root}' cannot be read as a Lance data set: {_reason(error)}.") from None
    table, rows = Table(root, {name: columns[name] for name in plain}, None), opened.count_rows()
    label = next((name for name in LABELS if name in plain), None)
    names = table.paths(PATH) if PATH in plain else Strings.of(f"{row:08d}" for row in range(rows))
    ids = names
    if label is not None:
        told = table.labels(label)
        lacking = true_rows(pyarrow.compute.equal(told.array, ""))
        if len(lacking):
            raise InputError(f"{table.place(int(lacking[0]))} has no {label}: leave such rows out, or label them.")
        ids = Strings.of(item_id(person, name, root) for person, name in zip(told, names, strict=True))
    time: datetime = next(one["timestamp"] for one in opened.versions() if one["version"] == opened.version)
    source = LanceRows(str(root), image, int(opened.version), int(time.timestamp() * 10**6) * 1000)
    attributes = {name: table.values(name) for name in plain if name not in (label, PATH)}
    return Listing(ids, Rows(source, np.arange(rows)), attributes)


@lru_cache(maxsize=8)
def _opened(uri: str, version: int, process: int) -> Any:
    """Open a version of a data set, anew in each process: what one has opened is of no use to those that it forks."""
    return _open(uri, version)


def _open(uri: str, version: int | None) -> Any:
    """Open a version of a data set, by default the latest."""
    import lance

    return lance.dataset(uri, version=version)


def _image(schema: pyarrow.Schema, root: Path) -> str:
    """Return the name of the column of pictures."""
    found = [
        field.name
        for field in schema
        if is_image(field.type) or pyarrow.types.is_binary(field.type) or pyarrow.types.is_large_binary(field.type)
    ]
    if len(found) > 1 and USUAL in found:
        return USUAL
    if len(found) != 1:
        raise InputError(
            f"'{root}' needs one column of pictures (bytes), or one that is named '{USUAL}'; it has "
            f"{', '.join(found) or 'none'}."
        )
    return found[0]


def _is_plain(kind: pyarrow.DataType) -> bool:
    """Return whether a column can be an attribute."""
    wide = pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)
    return not wide and not pyarrow.types.is_nested(kind)


def _reason(error: Exception) -> str:
    """Return the message of Lance without the places in its own source."""
    return without_secrets(str(error).partition(", /")[0])
