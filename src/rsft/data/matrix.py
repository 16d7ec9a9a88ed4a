"""Features, labels and attributes as files of plain rows: `.npy`, `.safetensors`, `.parquet`, `.csv`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from torch import Tensor

from rsft.data.manifest import PATH, read_columns
from rsft.errors import InputError

NPY, SAFETENSORS, PARQUET, CSV = ".npy", ".safetensors", ".parquet", ".csv"


class Matrix(NamedTuple):
    """Rows of features.

    Attributes:
        rows: (N, D), mapped where the file can be.
        columns: names of the D features, where the file names them.
    """

    rows: np.ndarray | Tensor
    columns: Sequence[str] | None


def is_matrix(source: str | os.PathLike[str]) -> bool:
    """Whether a path stands for rows of features, and not for pictures: a Parquet file with a column `path` is a list.

    >>> is_matrix("pool.safetensors:embedding"), is_matrix("faces/pool")
    (True, False)
    """
    path, key = split_key(source)
    if path.suffix.lower() == PARQUET and path.is_file() and key is None:
        return PATH not in _parquet(path).schema_arrow.names
    return path.suffix.lower() in (NPY, SAFETENSORS, PARQUET)


def split_key(source: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """The file, and the tensor or column in it that is named after a colon.

    >>> str(split_key("pool.safetensors:embedding")[0]), split_key("pool.safetensors:embedding")[1]
    ('pool.safetensors', 'embedding')
    """
    path, colon, key = str(source).rpartition(":")
    if colon and not Path(source).exists() and Path(path).suffix.lower() in (NPY, SAFETENSORS, PARQUET, CSV):
        return Path(path), key
    return Path(source), None


def read_matrix(source: str | os.PathLike[str]) -> Matrix:
    """Rows of features: a `.npy`, `.safetensors[:KEY]` or `.parquet[:COLUMN]` file.

    Arrays and tensors are mapped, not read. Of a Parquet file the one column of lists is taken, or all columns of
    numbers side by side; it is compressed, so it is read, block by block.

    Raises:
        InputError: it cannot be read, has no such key, or holds no (N, D) table of real numbers.
    """
    path, key = split_key(source)
    rows: np.ndarray | Tensor
    columns: Sequence[str] | None = None
    if path.suffix.lower() == PARQUET:
        rows, columns = _read_parquet(path, key)
    else:
        rows = _map_array(path, key)
    if rows.ndim != 2 or 0 in rows.shape:
        raise InputError(f"'{source}' needs rows of features, an array (N, D), got shape {tuple(rows.shape)}.")
    return Matrix(rows, columns)


def read_labels(source: str | os.PathLike[str]) -> np.ndarray:
    """One value a row: a `.npy` or `.safetensors[:KEY]` of (N,), or a column of a `.parquet` or `.csv`: (N,).

    Raises:
        InputError: it cannot be read, or has several columns and none is named.
    """
    path, key = split_key(source)
    if path.suffix.lower() in (PARQUET, CSV):
        columns = read_columns(path)
        if key is None and len(columns) == 1:
            (key,) = columns
        if key not in columns:
            raise InputError(f"'{source}' needs one column, named after a colon: '{path}' has {', '.join(columns)}.")
        return np.array(columns[key])
    labels = np.asarray(_map_array(path, key))
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(f"'{source}' needs integers (N,), got {labels.dtype} of shape {labels.shape}.")
    return labels


def _map_array(path: Path, key: str | None) -> np.ndarray | Tensor:
    from safetensors import SafetensorError, safe_open

    try:
        if path.suffix.lower() == SAFETENSORS:
            with safe_open(path, "pt") as file:  # maps the file
                names = list(file.keys())
                if key is None and len(names) == 1:
                    (key,) = names
                if key not in names:
                    raise InputError(f"'{path}' needs one tensor, named after a colon: it has {', '.join(names)}.")
                return file.get_tensor(key)
        if key is not None:
            raise InputError(f"'{path}' is one array: no key '{key}' can be named.")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, SafetensorError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read '{path}': {error}.".replace("\n", " ")) from error
    plain = array.dtype.kind in "fiu" and array.dtype.isnative and array.dtype.itemsize <= 8
    if not plain:
        raise InputError(f"'{path}' needs real numbers in this machine's byte order, got {array.dtype}: convert it.")
    return array


def _parquet(path: Path) -> pa.parquet.ParquetFile:
    try:
        return pa.parquet.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read '{path}': {error}.".replace("\n", " ")) from error


def _read_parquet(path: Path, key: str | None) -> tuple[np.ndarray, Sequence[str] | None]:
    file = _parquet(path)
    schema = file.schema_arrow
    lists = [field.name for field in schema if _of_lists(field.type)]
    numbers = [field.name for field in schema if _of_numbers(field.type)]
    if key is not None:
        lists = [name for name in lists if name == key]
    if len(lists) > 1 or not (lists or (numbers and key is None)):
        raise InputError(
            f"'{path}' needs one column of lists (named after a colon, where there are several) or columns of numbers; "
            f"it has {', '.join(f'{field.name}: {field.type}' for field in schema)}."
        )
    taken = lists or numbers
    types = [schema.field(name).type.value_type if lists else schema.field(name).type for name in taken]
    wide = any(pa.types.is_float64(kind) or (pa.types.is_integer(kind) and kind.bit_width > 16) for kind in types)
    rows, first = np.empty((0, 0), np.float64 if wide else np.float32), 0
    for batch in file.iter_batches(columns=list(taken)):
        block = _unpacked(batch.column(0), path, first) if lists else np.column_stack([_plain(c) for c in batch])
        if first == 0:
            rows = np.empty((file.metadata.num_rows, block.shape[1]), rows.dtype)
        elif block.shape[1] != rows.shape[1]:
            raise InputError(f"'{path}' has {block.shape[1]} features in row {first} and {rows.shape[1]} before it.")
        rows[first : first + len(block)] = block
        first += len(block)
    return rows, None if lists else taken


def _unpacked(column: pa.Array, path: Path, first: int) -> np.ndarray:
    """(n, D) of a column of lists."""
    lengths = _plain(column.value_lengths())
    wrong = np.flatnonzero(lengths != lengths[0])  # a missing list has no length: NaN
    if len(wrong) or np.isnan(lengths[0]):
        row = wrong[0] if len(wrong) else 0
        raise InputError(f"'{path}' has lists of different lengths, or none, such as in row {first + row}.")
    return _plain(column.flatten()).reshape(len(column), -1)


def _plain(column: pa.Array) -> np.ndarray:
    """As numpy; NaN where a value is missing."""
    return column.to_numpy(zero_copy_only=False).astype(float, copy=False)


def _of_lists(kind: pa.DataType) -> bool:
    some = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return some and _of_numbers(kind.value_type)


def _of_numbers(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
