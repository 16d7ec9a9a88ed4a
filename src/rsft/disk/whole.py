"""Writes and removals that a crash cannot leave half done: afterwards there is the old content or the new one."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from rsft.disk.access import make_usual
from rsft.disk.durable import rename_durably, to_disk, tree_to_disk
from rsft.disk.lock import LOCK, check_free, locked, open_locked
from rsft.errors import InputError

NEW, GONE = ".new", ".gone"  # ends of the hidden names of what is being written and what is being removed


def replace_file(path: Path, content: bytes) -> None:
    """Write a file as `whole_file` does.

    Args:
        path: The file.
        content: The new content.

    Raises:
        OSError: The disk is full or cannot be written to. The old file stays.
    """
    with whole_file(path) as file:
        file.write(content)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write to, and rename it to `path` if the block succeeds; otherwise remove it.

    So `path` has either its old or its new content at any time, also after a crash. An existing file keeps its mode.
    The content goes to `.NAME.new` first, which the next write takes over if a process was killed meanwhile.

    Args:
        path: The file.

    Raises:
        OSError: The disk is full or cannot be written to. The old file stays.
    """
    new = _hidden(path, NEW)
    handle = open_locked(new, wait=True)
    if handle is None:  # without locks, two processes must not share a name
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=NEW)
        new = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.truncate()
            yield file
            file.flush()
            os.fsync(file.fileno())
            if path.exists():
                shutil.copymode(path, new)
            else:
                make_usual(new)
            os.replace(new, path)
        to_disk(path.parent)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`, and rename it to `path` if the block succeeds; otherwise remove it.

    Args:
        path: The folder to create. Its parents are created too.

    Raises:
        FileExistsError: The folder exists.
        InputError: Another process is writing it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):
        if os.path.lexists(path):
            raise FileExistsError(f"'{path}' exists")
        new = _hidden(path, NEW)
        shutil.rmtree(new, ignore_errors=True)  # left by a process that was killed
        new.mkdir()
        try:
            yield new
            tree_to_disk(new)
            rename_durably(new, path)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise


def discard(folder: Path) -> None:
    """Remove a folder such that a crash leaves it whole or absent, never without some of its files.

    Nothing happens if it does not exist.
    """
    finish_discard(folder)
    with suppress(FileNotFoundError):
        folder.rename(_hidden(folder, GONE))
    finish_discard(folder)


def finish_discard(folder: Path) -> None:
    """Remove what a `discard` of this folder has left if it was killed."""
    shutil.rmtree(_hidden(folder, GONE), ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what writes and removals that were killed have left below a folder that only this process writes."""
    for place, folders, files in os.walk(folder):
        for name in folders:
            if name.startswith(".") and name.endswith((NEW, GONE)):
                shutil.rmtree(os.path.join(place, name), ignore_errors=True)
        for name in filter(is_leftover, files):
            with suppress(OSError, InputError):  # a lock that is held stays
                if name.endswith(LOCK):
                    check_free(Path(place, name[1 : -len(LOCK)]))
                else:
                    Path(place, name).unlink()


def is_leftover(name: str) -> bool:
    """Return whether a file name is that of an unfinished write, or of a lock."""
    return name.startswith(".") and name.endswith((NEW, LOCK))


def _hidden(path: Path, end: str) -> Path:
    return path.with_name(f".{path.name}{end}")
