"""Pictures in data sets of Hugging Face: what `save_to_disk` wrote, Parquet files of theirs, and streams.

A picture is a column of `bytes` and `path`, as their `Image` feature stores it. Nothing of the library is needed to
read files: they are Arrow, and a note in their schema names the labels.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from rsft.data.listing import Listing, Part, Source, item_id, suffix_of
from rsft.errors import InputError

STATE_FILE, SPLITS_FILE = "state.json", "dataset_dict.json"
LABELS = ("identity", "label", "labels", "cls")


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote this folder."""
    return (folder / STATE_FILE).is_file() or (folder / SPLITS_FILE).is_file()


def list_saved(folder: Path) -> Listing:
    """The pictures of one split that `save_to_disk` wrote; their bytes stay on disk.

    Raises:
        InputError: it has several splits, is not whole, or holds no pictures as bytes.
    """
    try:
        if (folder / SPLITS_FILE).is_file():
            splits = json.loads((folder / SPLITS_FILE).read_text())["splits"]
            raise InputError(
                f"'{folder}' has the splits {', '.join(splits)}: name one, such as '{folder / splits[0]}'."
            )
        files = [folder / entry["filename"] for entry in json.loads((folder / STATE_FILE).read_text())["_data_files"]]
        tables = [_mapped(path) for path in files]
    except (OSError, KeyError, TypeError, json.JSONDecodeError, pyarrow.ArrowException) as error:
        raise InputError(f"'{folder}' is not a whole output of `save_to_disk`: {error}.") from error
    return _join([_list_table(table, folder, number_from, place) for table, number_from, place in _numbered(tables)])


def holds_pictures(schema: pyarrow.Schema) -> bool:
    """Whether a column of a table has pictures in it."""
    return any(_is_image(field.type) for field in schema)


def list_table(path: Path) -> Listing:
    """The pictures in a Parquet file, which is compressed: all of their bytes come into memory."""
    return _list_table(pyarrow.parquet.read_table(path), path, 0, None)


def list_stream(rows: Iterable[Mapping[str, Any]], image: str = "image", label: str | None = None) -> Listing:
    """The pictures of a `datasets.Dataset` or `IterableDataset`, read once; all of their bytes come into memory.

    Args:
        rows: the data set.
        image: its column of pictures.
        label: that of identities; by default the first of `LABELS` that there is.

    Raises:
        InputError: a row has no such picture.
    """
    from datasets import Image

    features = getattr(rows, "features", None) or {}
    if isinstance(features.get(image), Image):  # the bytes as they are, in place of decoded pictures
        rows = rows.cast_column(image, Image(decode=False))  # type: ignore[attr-defined]
    names = _class_names(features)
    ids, sources, attributes = [], [], []
    for number, row in enumerate(rows):
        value = row.get(image)
        content = value.get("bytes") if isinstance(value, Mapping) else None
        if content is None and isinstance(value, Mapping) and value.get("path"):
            content = Path(value["path"]).read_bytes()
        if not isinstance(content, bytes):
            raise InputError(f"row {number} needs a picture in its column '{image}', got {type(value).__name__}.")
        column = label or next((name for name in LABELS if name in row), None)
        if label is not None and label not in row:
            raise InputError(f"row {number} has no column '{label}', but {', '.join(sorted(row))}.")
        identity = None if column is None else _name(row[column], names.get(column))
        ids.append(item_id(identity, f"{number:08d}{suffix_of(content)}", Path(image)))
        sources.append(content)
        attributes.append({name: str(told) for name, told in row.items() if name != column and _is_plain(told)})
    columns = sorted({name for told in attributes for name in told})
    return Listing(ids, sources, {name: [told.get(name, "") for told in attributes] for name in columns})


def _mapped(path: Path) -> tuple[pyarrow.Table, pyarrow.Buffer, Path]:
    """A table whose values are in the mapped file, where that is not compressed."""
    whole = pyarrow.memory_map(str(path)).read_buffer()
    return pyarrow.ipc.open_stream(pyarrow.BufferReader(whole)).read_all(), whole, path


def _numbered(
    tables: Sequence[tuple[pyarrow.Table, pyarrow.Buffer, Path]],
) -> Iterator[tuple[pyarrow.Table, int, tuple[pyarrow.Buffer, Path]]]:
    start = 0
    for table, whole, path in tables:
        yield table, start, (whole, path)
        start += len(table)


def _join(parts: Sequence[Listing]) -> Listing:
    names = sorted({name for part in parts for name in part.attributes})
    attributes = {
        name: [value for part in parts for value in part.attributes.get(name, [""] * len(part.ids))] for name in names
    }
    return Listing(
        [item for part in parts for item in part.ids], [s for part in parts for s in part.sources], attributes
    )


def _list_table(
    table: pyarrow.Table, where: Path, number_from: int, mapped: tuple[pyarrow.Buffer, Path] | None
) -> Listing:
    """The pictures of a table, named by their row."""
    images = [field.name for field in table.schema if _is_image(field.type)]
    if len(images) != 1:
        raise InputError(f"'{where}' needs one column of pictures, got {', '.join(images) or 'none'}.")
    names = _class_names(_features(table.schema))
    label = next((name for name in LABELS if name in table.column_names), None)
    labelled = [None] * len(table) if label is None else table[label].to_pylist()
    ids: list[str] = []
    sources: list[Source] = []
    for number, value in enumerate(_bytes(table[images[0]])):
        if value is None:
            raise InputError(
                f"'{where}': row {number_from + number} holds a path and no picture: save the data set with its files."
            )
        content = _part(value, mapped)
        name = f"{number_from + number:08d}{suffix_of(value[:16].to_pybytes())}"
        identity = None if label is None else _name(labelled[number], names.get(label))
        ids.append(item_id(identity, name, where))
        sources.append(content)
    attributes = {
        field.name: ["" if value is None else str(value) for value in table[field.name].to_pylist()]
        for field in table.schema
        if field.name not in (images[0], label) and not pyarrow.types.is_nested(field.type)
    }
    return Listing(ids, sources, attributes)


def _bytes(column: pyarrow.ChunkedArray) -> Iterator[pyarrow.Buffer | None]:
    for chunk in column.chunks:
        values = chunk.field("bytes")
        _, ends, data = values.buffers()  # a scalar would be a copy
        wide = pyarrow.types.is_large_binary(values.type)
        place = np.frombuffer(ends, np.int64 if wide else np.int32)[values.offset :]
        for row, there in enumerate(values.is_valid().to_pylist()):
            yield data.slice(int(place[row]), int(place[row + 1] - place[row])) if there and data is not None else None


def _part(value: pyarrow.Buffer, mapped: tuple[pyarrow.Buffer, Path] | None) -> Source:
    """Where the value lies in the mapped file; its bytes if it does not."""
    if mapped is not None:
        whole, path = mapped
        offset = value.address - whole.address
        if 0 <= offset <= whole.size - value.size:
            return Part(path, offset, value.size)
    return value.to_pybytes()


def _is_image(kind: pyarrow.DataType) -> bool:
    if not pyarrow.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    return pyarrow.types.is_binary(kind.field("bytes").type) or pyarrow.types.is_large_binary(kind.field("bytes").type)


def _features(schema: pyarrow.Schema) -> Mapping[str, Any]:
    """The library's note on the columns; none where it is missing or none of its."""
    try:
        note = json.loads((schema.metadata or {})[b"huggingface"])
        return dict(note["info"]["features"])
    except (KeyError, TypeError, ValueError):
        return {}


def _class_names(features: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """Column -> names of its classes."""
    names = {
        column: feature.get("names") if isinstance(feature, Mapping) else getattr(feature, "names", None)
        for column, feature in features.items()
    }
    return {column: told for column, told in names.items() if isinstance(told, list)}


def _name(label: Any, names: Sequence[str] | None) -> str:
    """The name of a class, or its number where it has none."""
    if names is not None and isinstance(label, int) and 0 <= label < len(names):
        return str(names[label])
    return "" if label is None else str(label)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)
