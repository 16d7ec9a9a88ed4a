"""Opening files of users: remote ones, and regular files only of those on a disk.

So no pipe blocks, and no device is read without end.
"""

import errno
import os
import stat
from typing import Any, BinaryIO

from rsft.data.remote import RemotePath
from rsft.types import PathLike

# Without O_NONBLOCK, to open a named pipe waits for a writer. It does nothing to a regular file.
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
NOT_REGULAR = "it is not a regular file"


def open_regular(path: PathLike, buffering: int = -1) -> BinaryIO:
    """Open a file for reading. Links are followed.

    Args:
        path: The file.
        buffering: As for `open`; of a remote file, parts are asked for that are large enough.

    Raises:
        OSError: The file cannot be opened; or it is a folder, a named pipe, a socket or a device.
    """
    if isinstance(path, RemotePath):
        return path.open_binary()
    descriptor = os.open(path, FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, NOT_REGULAR, str(path))
    return open(descriptor, "rb", buffering)


def check_regular(path: PathLike) -> None:
    """Raise the errors of `open_regular` for a file that a library opens by its path."""
    told = path.stat() if isinstance(path, RemotePath) else os.stat(path)
    if not stat.S_ISREG(told.st_mode):
        raise OSError(errno.EINVAL, NOT_REGULAR, str(path))


def for_arrow(path: PathLike) -> Any:
    """Return what Arrow is given to read a file: a path, or the opened file if it is remote."""
    return path.open_binary() if isinstance(path, RemotePath) else path


def read_regular(path: PathLike) -> bytes:
    """Read the whole of a file; see `open_regular`."""
    with open_regular(path, buffering=0) as file:
        return file.read()
