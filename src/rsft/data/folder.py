"""Folders of pictures: listing one, and looking for the files that a manifest names.

Names are bytes in one blob per folder, parted by the zero byte that no file name has, until they are an Arrow array.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.compute as pc

from rsft.data.columns import BLOCK, Strings, folder_part
from rsft.data.listing import SUFFIXES, Listing, invalid_name, is_valid
from rsft.data.sources import Files

ENDINGS = frozenset(suffix.encode() for suffix in SUFFIXES)
# the last four bytes of most names of pictures, which are quicker to look up than a suffix is to find
SHORT_ENDINGS = frozenset(spelt for ending in ENDINGS if len(ending) == 4 for spelt in (ending, ending.upper()))
BLOB_BYTES = 1 << 24
BATCH_ROWS = 1 << 20
FEW_ENTRIES = 1000
MOST_ENTRIES = 4  # times as many as rows: a folder with more is not listed, but asked for each row


def list_folder(root: Path) -> Listing:
    """List the pictures of a folder.

    Links are followed. A folder with several names is listed once, by its own name if possible. Where nothing is linked
    and no folder holds both pictures and folders, ids come sorted.

    Args:
        root: The folder.

    Raises:
        InputError: The name of a picture is not valid UTF-8.
    """
    found = _joined(_pictures(root))
    try:
        ids = Strings(found)  # checks UTF-8
    except pyarrow.ArrowInvalid as error:
        raise invalid_name(_not_text(found), root) from error
    return Listing(ids, Files(root, ids))


def absent_files(root: Path, paths: Strings) -> np.ndarray:
    """Return the rows of paths at which there is no file, in rising order.

    Each folder is listed once instead of asking for every file, unless it holds far more than is asked for.

    Args:
        root: The folder that the paths are relative to.
        paths: (N,) paths with "/" between the parts.
    """
    folders = paths.coded(folder_part)
    order = np.argsort(folders.codes, kind="stable")
    ends = np.cumsum(np.bincount(folders.codes, minlength=len(folders.names)))
    names, top, start, first = paths.array.cast(pyarrow.large_binary()), os.fsencode(root), 0, 0
    unknown = []
    while start < len(paths):
        last = max(first + 1, int(np.searchsorted(ends, start + BATCH_ROWS, "right")))
        rows = order[start : ends[last - 1]]
        counts = np.diff(ends[first:last], prepend=start)
        inside = (_files(top, folder, count) for folder, count in zip(folders.names[first:last], counts, strict=True))
        known = pc.is_in(names.take(pyarrow.array(rows)), value_set=_joined(inside))
        unknown.append(rows[~known.to_numpy(zero_copy_only=False)])
        start, first = int(ends[last - 1]), last
    rows = np.sort(np.concatenate([np.zeros(0, np.int64), *unknown]))
    there = [os.path.isfile(root / path) for path in paths.take(rows)]
    return rows[~np.array(there, bool)]


def _not_text(names: pyarrow.Array) -> str:
    """Return the first of some names that is not valid UTF-8, with half surrogate pairs for the bytes at fault."""
    texts = (
        os.fsdecode(name) for start in range(0, len(names), BLOCK) for name in names.slice(start, BLOCK).to_pylist()
    )
    return next(text for text in texts if not is_valid(text))


def _pictures(root: Path) -> Iterator[bytes]:
    """Yield the pictures of each folder below a root, as a blob of paths relative to it."""
    top = os.fsencode(root)
    seen: set[bytes] = set()
    tops = [(b"", os.path.realpath(top))]
    for entrance in tops:  # grows within the loop
        waiting = [entrance]
        while waiting:
            below, real = waiting.pop()
            if real in seen:
                continue
            seen.add(real)
            pictures, folders, links = _entries(os.path.join(top, below))
            yield _blob(below, pictures)
            waiting += [(below + name, os.path.join(real, name[:-1])) for name in reversed(folders)]
            tops += [(below + name, os.path.realpath(os.path.join(top, below, name))) for name in links]


def _entries(folder: bytes) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """List the pictures of a folder, its folders and its links to folders, each sorted; folders end in "/"."""
    pictures: list[bytes] = []
    folders: list[bytes] = []
    links: list[bytes] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if _is_folder(entry):
                    (links if entry.is_symlink() else folders).append(name + b"/")
                elif (name[-4:] in SHORT_ENDINGS and len(name) > 4) or _is_picture(name):
                    pictures.append(name)
    except OSError:  # a folder that may not be read has no pictures, as for os.walk
        return [], [], []
    return sorted(pictures), sorted(folders), sorted(links)


def _is_folder(entry: "os.DirEntry[bytes]") -> bool:
    """Return whether an entry is a folder or a link to one; a link in a circle is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_picture(name: bytes) -> bool:
    """Return whether the suffix of a name is that of a picture; a name that is all suffix has none."""
    stem, _, ending = name.rpartition(b".")
    return bool(stem) and b"." + ending.lower() in ENDINGS


def _files(top: bytes, folder: str, wanted: int) -> bytes:
    """Return the paths of the files in a folder as a blob; of none if there are far more than `wanted`."""
    below = f"{folder}/".encode() if folder else b""
    found = []
    try:
        with os.scandir(os.path.join(top, below)) as entries:
            for entry in entries:
                if entry.is_file():
                    found.append(entry.name)
                    if len(found) > FEW_ENTRIES + MOST_ENTRIES * wanted:
                        return b""
    except OSError:
        return b""
    return _blob(below, found)


def _blob(below: bytes, names: list[bytes]) -> bytes:
    """Join the names in a folder to a blob of paths, without making each of them; empty without names."""
    return below + (b"\0" + below).join(names) if names else b""


def _joined(blobs: Iterable[bytes]) -> pyarrow.Array:
    """Join blobs of paths to an Arrow array of large binaries."""
    arrays, waiting, size = [pyarrow.array([], pyarrow.large_binary())], [], 0
    for blob in blobs:
        if blob:
            waiting.append(blob)
            size += len(blob)
        if size > BLOB_BYTES:
            arrays.append(_parted(b"\0".join(waiting)))
            waiting, size = [], 0
    if waiting:
        arrays.append(_parted(b"\0".join(waiting)))
    return pyarrow.concat_arrays(arrays)


def _parted(blob: bytes) -> pyarrow.Array:
    """Part a blob into an Arrow array of large binaries."""
    letters = np.frombuffer(blob, np.uint8)
    kept = letters[letters != 0]
    ends = np.flatnonzero(letters == 0)
    offsets = np.concatenate([[0], ends - np.arange(len(ends)), [len(kept)]]).astype(np.int64)
    buffers = [None, pyarrow.py_buffer(offsets), pyarrow.py_buffer(kept)]
    return pyarrow.Array.from_buffers(pyarrow.large_binary(), len(offsets) - 1, buffers)
