"""Locks on outputs and caches: of two commands that write to one place, the second is refused.

The lock is `flock` on a file beside the output, so that the end of a process frees it however it ends.
"""

import errno
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rsft.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"  # end of the name of a lock file
HELD = (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN)
UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)

log = logging.getLogger(__name__)


class _HeldError(Exception):
    """Another process, or another part of this one, has the lock."""


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a file or folder while it is written, in the file `.NAME.lock` beside it.

    Where the file system has no locks, a warning says so and nothing is locked.

    Args:
        path: The file or folder. It need not exist, but its parent must.
        wait: Wait until the lock is free.

    Raises:
        InputError: Another process writes there. The message has its number, its host and the time when it began.
        OSError: The lock file cannot be written.
    """
    file = _lock_file(path)
    try:
        handle = open_locked(file, wait=wait)
    except _HeldError as error:
        raise InputError(
            f"'{path}' is being written by {_holder(file)}: wait until it ends, or choose another output."
        ) from error
    if handle is None:
        log.warning("'%s' is not locked, because its file system has no locks: start no other command there.", path)
        yield
        return
    try:
        os.ftruncate(handle, 0)
        told = {"process": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        os.write(handle, json.dumps(told).encode())
        yield
    finally:
        with suppress(OSError):
            file.unlink()  # before the lock is free, so that whoever gets this file afterwards knows it for an old one
        os.close(handle)


def check_free(path: Path) -> None:
    """Raise InputError if another process holds the lock of a file or folder; a lock file without a holder goes."""
    if _lock_file(path).exists():
        with locked(path):
            pass


def open_locked(file: Path, *, wait: bool = False) -> int | None:
    """Open a file for writing, create it if needed, and lock it; return its handle, or None without support for locks.

    Closing the handle frees the lock. The file is the one at `file`, even if its former holder has just removed that.
    """
    if fcntl is None:
        return None
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.path.samestat(os.fstat(handle), os.stat(file)):
                return handle
        except FileNotFoundError:
            pass  # removed by its former holder
        except OSError as error:
            os.close(handle)
            if error.errno in HELD:
                raise _HeldError from error
            if error.errno in UNSUPPORTED:
                with suppress(OSError):
                    file.unlink()
                return None
            raise
        os.close(handle)


def _lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}{LOCK}")


def _holder(file: Path) -> str:
    """Describe the process that holds a lock, as it wrote itself into the file."""
    try:
        told = json.loads(file.read_text())
        return f"process {told['process']} on {told['host']} since {told['since']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
