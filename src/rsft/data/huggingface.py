"""Pictures in Hugging Face data sets: outputs of `save_to_disk`, Parquet files and streams.

Pictures are stored as Hugging Face's `Image` feature stores them: in a column of structs with `bytes` and `path`. Files
are in the Arrow format, and the metadata of their schema names the classes, so the `datasets` library is not needed to
read them.
"""

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import pyarrow
import pyarrow.parquet

from rsft.data.listing import Listing, item_id, join_listings, suffix_of
from rsft.data.reading import reading
from rsft.data.regular import for_arrow, read_regular
from rsft.data.sources import Part, Source, columnar
from rsft.errors import InputError
from rsft.missing import is_missing, label_name

STATE_FILE, SPLITS_FILE = "state.json", "dataset_dict.json"
SAVED = "part of a complete output of `save_to_disk`"
CAST = (
    "If it was decoded, as by `map`, cast the data set to the features that it had, `rows.cast(features)`, so that the "
    "stored bytes and the names of classes are read."
)
LABELS = ("identity", "label", "labels", "cls")


def is_saved(folder: Path) -> bool:
    """Return whether a folder is an output of `save_to_disk`."""
    return (folder / STATE_FILE).is_file() or (folder / SPLITS_FILE).is_file()


def list_saved(folder: Path) -> Listing:
    """List the pictures of a data set that `save_to_disk` wrote; their bytes stay on disk where uncompressed.

    Args:
        folder: The folder of a single split.

    Raises:
        InputError: The folder has splits below it, is incomplete, or does not store pictures as bytes.
    """
    if (folder / SPLITS_FILE).is_file():
        with reading(folder / SPLITS_FILE, SAVED):
            splits = [str(name) for name in json.loads(read_regular(folder / SPLITS_FILE))["splits"]]
            raise InputError(
                f"'{folder}' has the splits {', '.join(splits)}: name one, such as '{folder / splits[0]}'."
            )
    with reading(folder / STATE_FILE, SAVED):
        files = [
            _file(folder, entry["filename"]) for entry in json.loads(read_regular(folder / STATE_FILE))["_data_files"]
        ]
        if not files:
            raise ValueError("it names no file")
    tables = [_mapped(path) for path in files]
    return join_listings(
        [_list_table(table, folder, number_from, place) for table, number_from, place in _numbered(tables)]
    )


def holds_pictures(schema: pyarrow.Schema) -> bool:
    """Return whether a table has a column of pictures."""
    return any(is_image(field.type) for field in schema)


def list_table(path: Path) -> Listing:
    """List the pictures in a Parquet file.

    All of their bytes are loaded into memory, since Parquet files are compressed.

    Args:
        path: The file. It needs exactly one column of pictures.

    Raises:
        InputError: The file has another number of picture columns, or a row without the bytes of a picture.
    """
    with reading(path, "a table (Parquet)"):
        table = _checked(pyarrow.parquet.read_table(for_arrow(path)))
    return _list_table(table, path, 0, None)


def list_stream(rows: Iterable[Mapping[str, Any]], image: str = "image", label: str | None = None) -> Listing:
    """List the pictures of a `datasets.Dataset` or `IterableDataset`.

    The rows are read once, and the bytes of all pictures are loaded into memory. A decoded picture is stored as PNG,
    unless the names of the classes are lost too, as after `map` on a stream.

    Args:
        rows: The data set.
        image: Name of the column of pictures.
        label: Name of the column of identities. By default it is the first name of `LABELS` that a row has; without
            any, pictures have no identity.

    Raises:
        InputError: It has several splits, or a row has no stored picture in the column `image`, or no column `label`.
    """
    if isinstance(rows, Mapping):
        raise InputError(f"the data set has the splits {', '.join(rows)}: give one of them.")
    names = _class_names(getattr(rows, "features", None) or {})
    rows = _as_stored(rows, image)
    ids, sources, attributes, unlabelled = [], [], [], []
    for number, given in enumerate(rows):
        row = {name: _scalar(value) for name, value in given.items()}
        value = row.get(image)
        content = value.get("bytes") if isinstance(value, Mapping) else None
        if content is None and isinstance(value, Mapping) and value.get("path"):
            content = read_regular(value["path"])
        column = label or next((name for name in LABELS if name in row), None)
        if isinstance(value, PIL.Image.Image) and (
            column is None or column in names or not isinstance(row.get(column), int)
        ):
            content = _encoded(value)
        if not isinstance(content, bytes):
            raise InputError(
                f"row {number} needs a picture in its column '{image}', got {type(value).__name__}"
                + ("." if value is None else f". {CAST}")
            )
        if label is not None and label not in row:
            raise InputError(f"row {number} has no column '{label}'; it has {', '.join(sorted(row))}.")
        identity = None if column is None else label_name(row[column], names.get(column))
        if identity == "":
            unlabelled.append(number)
            continue
        ids.append(item_id(identity, f"{number:08d}{suffix_of(content)}", Path(image)))
        sources.append(content)
        attributes.append({name: _text(told) for name, told in row.items() if name != column and _is_plain(told)})
    _check_labelled(unlabelled, len(ids), "the data set")
    columns = sorted({name for told in attributes for name in told})
    return Listing(ids, sources, {name: [told.get(name, "") for told in attributes] for name in columns})


def _file(folder: Path, name: str) -> Path:
    """Return the path of a file of a data set; raise `OSError` if it is not a regular file in the folder."""
    if Path(name).name != name or not (folder / name).is_file():
        raise OSError(f"it has no file {name!r}")
    return folder / name


def _as_stored(rows: Any, image: str) -> Any:
    """Return a data set that yields stored bytes and numbers of classes, instead of decoded pictures or tensors."""
    from datasets import Image

    if not hasattr(rows, "cast_column"):
        return rows
    formatting = getattr(rows, "_formatting", None)
    kind = rows.format["type"] if hasattr(rows, "format") else formatting and formatting.format_type
    if kind not in (None, "custom"):  # a custom one may change the pictures, and is left to fail
        rows = rows.with_format(None)
    if isinstance((rows.features or {}).get(image), Image):
        rows = rows.cast_column(image, Image(decode=False))
    return rows


def _encoded(picture: PIL.Image.Image) -> bytes:
    """Return a decoded picture as the bytes of a file that loses nothing."""
    content = io.BytesIO()
    form = "PNG" if picture.mode in {"1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"} else "TIFF"
    PIL.ImageOps.exif_transpose(picture).save(content, form)
    return content.getvalue()


def _scalar(value: Any) -> Any:
    """Return the Python number in a tensor or array of one number; any other value as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _mapped(path: Path) -> tuple[pyarrow.Table, pyarrow.Buffer, Path]:
    """Map an Arrow file; the values of the table lie in the mapped buffer unless the file is compressed."""
    with reading(path, SAVED):
        whole = pyarrow.memory_map(os.fspath(path)).read_buffer()
        table = pyarrow.ipc.open_stream(pyarrow.BufferReader(whole)).read_all()
        return _checked(table), whole, path


def _checked(table: pyarrow.Table) -> pyarrow.Table:
    """Return a table whose offsets lie within its values, and whose text and names are UTF-8, or raise `ValueError`."""
    table.validate(full=True)
    table.schema.names  # noqa: B018  (decodes them)
    return table


def _numbered(
    tables: Sequence[tuple[pyarrow.Table, pyarrow.Buffer, Path]],
) -> Iterator[tuple[pyarrow.Table, int, tuple[pyarrow.Buffer, Path]]]:
    """Yield each table with the number of its first row and its mapped file."""
    start = 0
    for table, whole, path in tables:
        yield table, start, (whole, path)
        start += len(table)


def _list_table(
    table: pyarrow.Table, where: Path, number_from: int, mapped: tuple[pyarrow.Buffer, Path] | None
) -> Listing:
    """List the pictures of a table, each named by the number of its row."""
    images = [field.name for field in table.schema if is_image(field.type)]
    if len(images) != 1:
        raise InputError(f"'{where}' needs one column of pictures, got {', '.join(images) or 'none'}.")
    names = _class_names(_features(table.schema))
    label = next((name for name in LABELS if name in table.column_names), None)
    told = [] if label is None else [label_name(value, names.get(label)) for value in table[label].to_pylist()]
    unlabelled = [number_from + row for row, name in enumerate(told) if name == ""]
    _check_labelled(unlabelled, len(table) - len(unlabelled), f"'{where}'")
    ids: list[str] = []
    sources: list[Source] = []
    for number, value in enumerate(_bytes(table[images[0]])):
        if value is None:
            raise InputError(
                f"'{where}': row {number_from + number} holds a path but no picture: save the data set with its files."
            )
        content = _part(value, mapped)
        name = f"{number_from + number:08d}{suffix_of(value[:16].to_pybytes())}"
        ids.append(item_id(None if label is None else told[number], name, where))
        sources.append(content)
    attributes = {
        field.name: [
            "" if field.name in names and value == -1 else _text(value) for value in table[field.name].to_pylist()
        ]
        for field in table.schema
        if field.name not in (images[0], label) and not pyarrow.types.is_nested(field.type)
    }
    return Listing(ids, columnar(sources), attributes)


def _bytes(column: pyarrow.ChunkedArray) -> Iterator[pyarrow.Buffer | None]:
    """Yield the bytes of each picture of a column without copying them; None where they are missing."""
    for chunk in column.chunks:
        values = chunk.field("bytes")
        _, ends, data = values.buffers()  # reading a scalar instead would copy it
        wide = pyarrow.types.is_large_binary(values.type)
        kind = np.dtype(np.int64 if wide else np.int32)
        place = np.frombuffer(ends, kind, len(values) + 1 if len(values) else 0, values.offset * kind.itemsize)
        for row, there in enumerate(values.is_valid().to_pylist()):
            yield data.slice(int(place[row]), int(place[row + 1] - place[row])) if there and data is not None else None


def _part(value: pyarrow.Buffer, mapped: tuple[pyarrow.Buffer, Path] | None) -> Source:
    """Return the place of a value in the mapped file, or its bytes if it does not lie there."""
    if mapped is not None:
        whole, path = mapped
        offset = value.address - whole.address
        if 0 <= offset <= whole.size - value.size:
            return Part(path, offset, value.size)
    return value.to_pybytes()


def is_image(kind: pyarrow.DataType) -> bool:
    """Return whether a column type is that of Hugging Face's `Image` feature."""
    if not pyarrow.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    return pyarrow.types.is_binary(kind.field("bytes").type) or pyarrow.types.is_large_binary(kind.field("bytes").type)


def _features(schema: pyarrow.Schema) -> Mapping[str, Any]:
    """Read Hugging Face's description of the columns from a schema; empty if it is missing or malformed."""
    try:
        note = json.loads((schema.metadata or {})[b"huggingface"])
        return dict(note["info"]["features"])
    except (KeyError, TypeError, ValueError):
        return {}


def _class_names(features: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """Map each column of classes to the names of its classes."""
    names = {
        column: feature.get("names") if isinstance(feature, Mapping) else getattr(feature, "names", None)
        for column, feature in features.items()
    }
    return {column: told for column, told in names.items() if isinstance(told, list)}


def _check_labelled(unlabelled: Sequence[int], others: int, where: str) -> None:
    """Raise `InputError` if rows have no label."""
    if unlabelled:
        raise InputError(
            f"{where} has no label in {len(unlabelled)} of {len(unlabelled) + others} rows, such as row "
            f"{unlabelled[0]}: leave these rows out, or label them."
        )


def _text(value: Any) -> str:
    """Return a value of an attribute as text, empty if it is missing."""
    return "" if is_missing(value) else str(value)


def _is_plain(value: Any) -> bool:
    """Return whether a value is text or a number, so it can be an attribute."""
    return isinstance(value, str | int | float)
