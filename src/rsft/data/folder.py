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
from rsft.data.formats import picture_suffixes
from rsft.data.listing import Listing, invalid_name, is_valid
from rsft.data.passed_over import CLOSED, HIDDEN_NAME, NAMED_AGAIN, NO_FILE, SYSTEM, SYSTEM_FOLDER, Tally
from rsft.data.remote import RemotePath
from rsft.data.remote_folder import absent_remote_files, list_remote_folder
from rsft.data.sources import Files

DOT = ord(".")
SYSTEM_NAMES = frozenset(os.fsencode(name) for name in SYSTEM)
BLOB_BYTES = 1 << 24
BATCH_ROWS = 1 << 20
FEW_ENTRIES = 1000
MOST_ENTRIES = 4  # times as many as rows: a folder with more is not listed, but asked for each row


def list_folder(root: Path) -> Listing:
    """List the pictures of a folder.

    Links are followed. A folder with several names is listed once, by its own name if possible. Where nothing is linked
    and no folder holds both pictures and folders, ids come sorted. What is neither a file nor a folder, what is hidden,
    what lies in folders of the system, and files without the suffix of a picture are passed over.

    Args:
        root: The folder.

    Raises:
        InputError: The name of a picture is not valid UTF-8.
    """
    if isinstance(root, RemotePath):
        return list_remote_folder(root)
    walk = _Walk(root)
    found = _joined(walk.pictures())
    try:
        ids = Strings(found)  # checks UTF-8
    except pyarrow.ArrowInvalid as error:
        raise invalid_name(_not_text(found), root) from error
    folders = map(_shown, walk.without_picture)
    return Listing(ids, Files(root, ids), passed_over=walk.tally.told(folders))


def absent_files(root: Path, paths: Strings) -> np.ndarray:
    """Return the rows of paths at which there is no file, in rising order.

    Each folder is listed once instead of asking for every file, unless it holds far more than is asked for.

    Args:
        root: The folder that the paths are relative to.
        paths: (N,) paths with "/" between the parts.
    """
    if isinstance(root, RemotePath):
        return absent_remote_files(root, paths)
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


class _Walk:
    """A walk through the folders below a root.

    Attributes:
        tally: Counts what is passed over.
        without_picture: First folders below the root in which no picture was found.
    """

    def __init__(self, root: Path):
        self.top = os.fsencode(root)
        self.tally = Tally()
        self.without_picture: set[bytes] = set()
        self._endings = frozenset(suffix.encode() for suffix in picture_suffixes())
        # the last four bytes of most names of pictures, which are quicker to look up than a suffix is to find
        self._short = frozenset(spelt for end in self._endings if len(end) == 4 for spelt in (end, end.upper()))

    def pictures(self) -> Iterator[bytes]:
        """Yield the pictures of each folder, as a blob of paths relative to the root."""
        seen: set[bytes] = set()
        tops = [(b"", os.path.realpath(self.top))]
        for entrance in tops:  # grows within the loop
            waiting = [entrance]
            while waiting:
                below, real = waiting.pop()
                if real in seen:
                    self.tally.add(NAMED_AGAIN, _shown(below[:-1]))
                    self.without_picture.discard(below[:-1])
                    continue
                seen.add(real)
                pictures, folders, links = self._entries(below)
                if below == b"":
                    self.without_picture.update(name[:-1] for name in folders + links)
                elif pictures:
                    self.without_picture.discard(below[: below.index(b"/")])
                yield _blob(below, pictures)
                waiting += [(below + name, os.path.join(real, name[:-1])) for name in reversed(folders)]
                tops += [(below + name, os.path.realpath(os.path.join(self.top, below, name))) for name in links]

    def _entries(self, below: bytes) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """List the pictures of a folder, its folders and its links to folders, each sorted; folders end in "/"."""
        pictures: list[bytes] = []
        folders: list[bytes] = []
        links: list[bytes] = []
        short = self._short
        try:
            with os.scandir(os.path.join(self.top, below)) as entries:
                for entry in entries:
                    name = entry.name
                    if entry.is_file(follow_symlinks=False):
                        if name[0] != DOT and (name[-4:] in short or self._is_picture(name)):
                            pictures.append(name)
                        else:
                            self._pass_over(below, name)
                    elif _is_folder(entry):
                        if name[0] == DOT or name.lower() in SYSTEM_NAMES:
                            self._pass_over(below, name)
                        else:
                            (links if entry.is_symlink() else folders).append(name + b"/")
                    elif not entry.is_symlink() or _leads_elsewhere(entry):
                        self.tally.add(NO_FILE, _shown(below + name))
                    elif name[0] != DOT and self._is_picture(name):
                        pictures.append(name)
                    else:
                        self._pass_over(below, name)
        except OSError:
            self.tally.add(CLOSED, _shown(below[:-1]))
            return [], [], []
        return sorted(pictures), sorted(folders), sorted(links)

    def _pass_over(self, below: bytes, name: bytes) -> None:
        """Count a file or folder that is not to be listed."""
        path = _shown(below + name)
        if name[0] == DOT:
            self.tally.add(HIDDEN_NAME, path)
        elif name.lower() in SYSTEM_NAMES:
            self.tally.add(SYSTEM_FOLDER, path)
        else:
            self.tally.add_file(path)

    def _is_picture(self, name: bytes) -> bool:
        """Return whether the suffix of a name is that of a picture."""
        return b"." + name.rpartition(b".")[2].lower() in self._endings and b"." in name


def _is_folder(entry: "os.DirEntry[bytes]") -> bool:
    """Return whether an entry is a folder or a link to one; a link in a circle is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _leads_elsewhere(link: "os.DirEntry[bytes]") -> bool:
    """Return whether a link leads to something other than a file; one that leads nowhere is a picture that is lost."""
    try:
        return not link.is_file() and os.path.exists(link.path)
    except OSError:
        return False


def _shown(name: bytes) -> str:
    """Return a path as text, with escapes for bytes that are none."""
    return name.decode("utf-8", "backslashreplace")


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
