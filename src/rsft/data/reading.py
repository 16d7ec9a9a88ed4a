"""The one place where an error of reading a file becomes an `InputError` that names the file."""

import struct
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError

from rsft.data.regular import check_regular
from rsft.errors import InputError, RsftError

T = TypeVar("T")
# What parsers raise at a file that is damaged, of another kind, or made to mislead. JSON, TOML and UTF-8 give a
# `ValueError`.
FOREIGN = (
    OSError,
    ValueError,
    LookupError,
    OverflowError,
    EOFError,
    MemoryError,  # the file claims to hold more than it does
    RecursionError,
    SyntaxError,  # this and the next two: the header of a `.npy` is a literal of Python
    TypeError,
    tokenize.TokenError,
    NotImplementedError,  # this and the next two: a `.npz` is a zip
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tarfile.TarError,
    pyarrow.ArrowException,
    SafetensorError,
)
REASON_LENGTH = 200


@contextmanager
def reading(path: Path, what: str, also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn the errors of parsing a file into `InputError`; only parsing belongs into the block.

    Args:
        path: The file.
        what: What it should be, as in "a feature matrix".
        also: Errors of this parser beside `FOREIGN`.

    Raises:
        InputError: The file is missing, not a regular file, or cannot be parsed.
    """
    with parsing(path, what, also):
        check_regular(path)  # a pipe would be waited for, a device read without end
        yield


@contextmanager
def parsing(path: Path, what: str, also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Do as `reading` for the bytes of a file that were read already."""
    try:
        yield
    except RsftError:
        raise
    except (*FOREIGN, *also) as error:
        raise InputError(f"cannot read '{path}' as {what}: {_reason(error)}.") from error


def read_json(path: Path, shape: Any, what: str) -> Any:
    """Read a JSON file of a declared shape.

    Args:
        path: The file.
        shape: A type that pydantic knows, such as `list[str]` or a model.
        what: What the file should be, for the error message.

    Raises:
        InputError: The file cannot be read, is not JSON, or has another shape.
    """
    with reading(path, what):
        return checked(path.read_bytes(), shape)


def checked(content: str | bytes, shape: Any) -> Any:
    """Parse JSON as an instance of a declared shape, without conversions such as of "1" to 1.

    Raises:
        pydantic.ValidationError: A `ValueError`: the content is not JSON, or has another shape.
    """
    return _adapter(shape).validate_json(content, strict=True)


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


def map_array(path: Path, what: str, kinds: str = "fiu") -> np.ndarray:
    """Memory-map a `.npy` file of real numbers; no object in it is unpickled.

    Args:
        path: The file.
        what: What the file should be, for the error message.
        kinds: Kinds of numbers that it may hold, as in `numpy.dtype.kind`.

    Raises:
        InputError: The file cannot be read, or holds something else.
    """
    with reading(path, what):
        array = np.lib.format.open_memmap(path, mode="r")
    plain = array.dtype.kind in kinds and array.dtype.isnative and array.dtype.itemsize <= 8
    if not plain:
        raise InputError(f"'{path}' needs real numbers in this machine's byte order, got {array.dtype}: convert it.")
    return array


def _reason(error: BaseException) -> str:
    """Return one line on an error of a parser."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        text = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
    else:
        text = (error.strerror if isinstance(error, OSError) else "") or str(error)
    return " ".join(text.split()).rstrip(".")[:REASON_LENGTH] or type(error).__name__
