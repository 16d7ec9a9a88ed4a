"""Readers for feature matrices and labels in `.npy`, `.safetensors`, `.parquet` and `.csv` files."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch
from safetensors import safe_open
from torch import Tensor

from rsft.data.column_names import PATH, spelled
from rsft.data.reading import map_array, reading
from rsft.data.regular import for_arrow
from rsft.data.remote import RemotePath, to_path
from rsft.data.table import PARQUET, TABLES, column_names, read_table
from rsft.errors import InputError

NPY, SAFETENSORS = ".npy", ".safetensors"
NO_LABEL = -1
REAL = {
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
}


class Matrix(NamedTuple):
    """A feature matrix.

    Attributes:
        rows: (N, D) array or tensor of real numbers, memory-mapped if the format allows.
        columns: Names of the D features; None if the file does not name them.
    """

    rows: np.ndarray | Tensor
    columns: Sequence[str] | None


def is_matrix(source: str | os.PathLike[str]) -> bool:
    """Return whether a path names a feature matrix and not a set of pictures.

    The suffix decides: `.npy`, `.safetensors` and `.parquet` are matrices. A Parquet file with a column `path` is a
    manifest of pictures, unless a column is named after a colon.

    Args:
        source: The path, with an optional tensor or column name as in `pool.safetensors:embedding`.

    Raises:
        InputError: A Parquet file cannot be read.

    >>> is_matrix("pool.safetensors:embedding"), is_matrix("faces/pool")
    (True, False)
    """
    path, key = split_key(source)
    if path.suffix.lower() == PARQUET and path.is_file() and key is None:
        return PATH not in spelled(column_names(path), [PATH], path)
    return path.suffix.lower() in (NPY, SAFETENSORS, PARQUET)


def split_key(source: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """Split a source into its file and the tensor or column that is named after a colon, None if none is named.

    >>> str(split_key("pool.safetensors:embedding")[0]), split_key("pool.safetensors:embedding")[1]
    ('pool.safetensors', 'embedding')
    """
    located = to_path(source)
    if isinstance(located, RemotePath):
        name, colon, key = located.name.rpartition(":")
        return (located.with_name(name), key) if colon else (located, None)
    path, colon, key = str(source).rpartition(":")
    if colon and not Path(source).exists() and Path(path).suffix.lower() in (NPY, SAFETENSORS, *TABLES):
        return Path(path), key
    return Path(source), None


def read_matrix(source: str | os.PathLike[str]) -> Matrix:
    """Read a feature matrix from a `.npy`, `.safetensors[:KEY]` or `.parquet[:COLUMN]` file.

    NumPy arrays and safetensors are memory-mapped. A Parquet file is compressed, so it is read into memory in batches:
    either its one column of lists, or all its columns of numbers side by side.

    Args:
        source: The path. A tensor or a column of lists is named after a colon if the file has several.

    Raises:
        InputError: The file cannot be read, has no such key, or does not hold an (N, D) table of real numbers.
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
    """Read one label per row from a `.npy`, `.safetensors[:KEY]`, `.parquet[:COLUMN]` or `.csv[:COLUMN]` file.

    A row without a label, which -1 stands for too, is refused: all such rows would count as one identity or class.

    Args:
        source: The path. A tensor or column is named after a colon if the file has several.

    Returns:
        (N,) labels: integers from an array or tensor, text from a column.

    Raises:
        InputError: The file cannot be read, has several columns and none is named, holds an array that is not (N,)
            integers, or a row has no label.
    """
    path, key = split_key(source)
    if path.suffix.lower() in TABLES:
        table = read_table(path)
        if key is None and len(table.columns) == 1:
            (key,) = table.columns
        if key not in table.columns:
            raise InputError(f"'{source}' needs a column named after a colon; '{path}' has {', '.join(table.columns)}.")
        told = np.array(table.labels(key))
        _check_labelled(told == "", source, table.place)
        return told
    labels = np.asarray(_map_array(path, key))
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(f"'{source}' needs integers (N,), got {labels.dtype} of shape {labels.shape}.")
    _check_labelled(labels == NO_LABEL, source, lambda row: f"row {row}")
    return labels


def _check_labelled(lacking: np.ndarray, source: str | os.PathLike[str], place: Callable[[int], str]) -> None:
    """Raise `InputError` if rows have no label, given as a mask (N,) bool."""
    if lacking.any():
        raise InputError(
            f"'{source}' has no label for {lacking.sum()} of {len(lacking)} rows, the first in "
            f"{place(int(np.argmax(lacking)))}: leave these rows out, or give each a label."
        )


def _map_array(path: Path, key: str | None) -> np.ndarray | Tensor:
    """Memory-map a `.safetensors` tensor or a `.npy` array of real numbers."""
    if path.suffix.lower() == SAFETENSORS:
        with reading(path, f"a feature matrix ({SAFETENSORS})"), safe_open(path, "pt") as file:  # maps the file
            names = list(file.keys())
            if key is None and len(names) == 1:
                (key,) = names
            if key not in names:
                raise InputError(f"'{path}' needs a tensor named after a colon; it has {', '.join(names)}.")
            return _real(file.get_tensor(key), path)
    if key is not None:
        raise InputError(f"'{path}' holds a single array: remove ':{key}' from its name.")
    return map_array(path, f"a feature matrix ({NPY})")


def _real(tensor: Tensor, path: Path) -> Tensor:
    """Return a tensor; raise `InputError` if it does not hold real numbers."""
    if tensor.dtype not in REAL:
        raise InputError(f"'{path}' needs real numbers, got {tensor.dtype}: convert it.")
    return tensor


def _parquet(path: Path) -> pa.parquet.ParquetFile:
    """Open a Parquet file."""
    with reading(path, f"a table ({PARQUET})"):
        return pa.parquet.ParquetFile(for_arrow(path))


def _read_parquet(path: Path, key: str | None) -> tuple[np.ndarray, Sequence[str] | None]:
    """Read the rows of a Parquet file, float64 if a column needs it and float32 otherwise, and the column names."""
    file = _parquet(path)
    schema = file.schema_arrow
    lists = [field.name for field in schema if _of_lists(field.type)]
    numbers = [field.name for field in schema if _of_numbers(field.type)]
    if key is not None:
        lists = [name for name in lists if name == key]
    if len(lists) > 1 or not (lists or (numbers and key is None)):
        raise InputError(
            f"'{path}' needs one column of lists (named after a colon if there are several) or columns of numbers; "
            f"it has {', '.join(f'{field.name}: {field.type}' for field in schema)}."
        )
    taken = lists or numbers
    types = [schema.field(name).type.value_type if lists else schema.field(name).type for name in taken]
    wide = any(pa.types.is_float64(kind) or (pa.types.is_integer(kind) and kind.bit_width > 16) for kind in types)
    rows, first = np.empty((0, 0), np.float64 if wide else np.float32), 0
    with reading(path, f"a feature matrix ({PARQUET})"):
        for batch in file.iter_batches(columns=list(taken)):
            block = _unpacked(batch.column(0), path, first) if lists else np.column_stack([_plain(c) for c in batch])
            if first == 0:
                rows = np.empty((file.metadata.num_rows, block.shape[1]), rows.dtype)
            elif block.shape[1] != rows.shape[1]:
                raise InputError(
                    f"'{path}' has {block.shape[1]} features in row {first}, not {rows.shape[1]} as before."
                )
            rows[first : first + len(block)] = block
            first += len(block)
    if first < len(rows):
        raise InputError(f"'{path}' is damaged: it promises {len(rows)} rows and has {first}.")
    return rows, None if lists else taken


def _unpacked(column: pa.Array, path: Path, first: int) -> np.ndarray:
    """Convert a column of n lists of equal length D to an array (n, D)."""
    lengths = _plain(column.value_lengths())
    wrong = np.flatnonzero(lengths != lengths[0])  # a missing list has no length: NaN
    if len(wrong) or np.isnan(lengths[0]):
        row = wrong[0] if len(wrong) else 0
        raise InputError(f"'{path}' has lists of different lengths, or a missing list, such as in row {first + row}.")
    return _plain(column.flatten()).reshape(len(column), -1)


def _plain(column: pa.Array) -> np.ndarray:
    """Convert a column to a NumPy array of floats, with NaN where a value is missing."""
    return column.to_numpy(zero_copy_only=False).astype(float, copy=False)


def _of_lists(kind: pa.DataType) -> bool:
    """Return whether a column type is a list of numbers."""
    some = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return some and _of_numbers(kind.value_type)


def _of_numbers(kind: pa.DataType) -> bool:
    """Return whether a column type is an integer or floating-point number."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
