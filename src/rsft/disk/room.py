"""Room on the disk: looked for before a large write, and told when it has run out."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rsft.errors import DiskFullError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MIB = 2**20


def free_bytes(path: Path) -> int:
    """Return the number of bytes that are free where a path lies, or would lie."""
    return shutil.disk_usage(next(place for place in (path, *path.absolute().parents) if place.exists())).free


def check_room(path: Path, wanted: int) -> None:
    """Raise an error if a disk has not enough room; call it before the work whose result would not fit.

    Args:
        path: What will be written; it need not exist.
        wanted: Its size in bytes.

    Raises:
        DiskFullError: Fewer bytes are free. The message has the path and both numbers.
    """
    if free_bytes(path) < wanted:
        raise full_disk(path, wanted)


def full_disk(path: Path, wanted: int | None = None) -> DiskFullError:
    """Return the error of a disk without room for a path.

    Args:
        path: What could not be written.
        wanted: Its size in bytes, None if that is unknown.
    """
    size = "more" if wanted is None else f"{wanted / MIB:.1f} MiB ({wanted} bytes)"
    free = free_bytes(path)
    return DiskFullError(
        f"the disk is full (No space left): '{path}' needs {size}, and {free / MIB:.1f} MiB ({free} bytes) are free. "
        "Make room or choose another output, then run again, with --resume where the command has it."
    )


@contextmanager
def telling_full(path: Path, wanted: int | None = None) -> Iterator[None]:
    """Turn the system's error of a full disk, quota or file size into a `DiskFullError` about a path."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise full_disk(path, wanted) from error


def save_array(path: Path, array: Any) -> None:
    """Write an array to a `.npy` file.

    Args:
        path: The file.
        array: The array, or what NumPy makes one of.

    Raises:
        DiskFullError: There is no room. NumPy itself would only name an element.
    """
    array = np.asarray(array)
    with telling_full(path, array.nbytes), open(path, "wb") as file:
        np.save(_Plain(file.write), array)


class _Plain:
    """A file that is only written to, so that NumPy passes it bytes and the system's errors come back whole."""

    def __init__(self, write: Any) -> None:
        self.write = write
