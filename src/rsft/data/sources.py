"""Places of the bytes of pictures."""

import errno
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from rsft.data.columns import Column, Strings
from rsft.data.fetched import FETCHED
from rsft.data.regular import open_regular
from rsft.data.remote import RemotePath
from rsft.data.retrying import retried
from rsft.errors import DiskGoneError, InputError

MAX_BYTES = 1 << 28  # most bytes of the file of a picture


class Part(NamedTuple):
    """A picture inside a larger file.

    Attributes:
        path: Path of the larger file.
        offset: Offset of the picture in the file, in bytes.
        size: Size of the picture, in bytes.
        digest: What `digest_of` gives of its bytes, if an index tells it.
    """

    path: Path
    offset: int
    size: int
    digest: int | None = None


class RowTable(ABC):
    """A table that gives the pictures of single rows, and is equal to another of the same rows.

    Attributes:
        name: What messages call it.
        version: Its version, which changes whenever a row may have.
        modified: When that version was made, in ns.
    """

    name: str
    version: int
    modified: int

    @abstractmethod
    def read(self, number: int) -> bytes:
        """Return the bytes of the picture in a row; `OSError` if it cannot be read."""


class Row(NamedTuple):
    """A picture in a row of a table.

    Attributes:
        table: The table.
        number: Number of the row, from 0.
    """

    table: RowTable
    number: int


# A picture as a file, as part of a file, as a row of a table, or as its bytes.
Source = Path | Part | Row | bytes


class Files(Column[Path]):
    """Files below a folder.

    Attributes:
        root: The folder.
        paths: (N,) paths below it, with "/" between the parts.
    """

    def __init__(self, root: Path, paths: Strings):
        self.root, self.paths = root, paths

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: np.ndarray) -> Self:
        return type(self)(self.root, self.paths.take(rows))

    def block(self, start: int, stop: int) -> list[Path]:
        return [self.root / path for path in self.paths.block(start, stop)]


class Parts(Column[Part]):
    """Parts of larger files.

    Attributes:
        files: The F larger files.
        file: (N,) int32 number of the file of each part, 0 to F - 1.
        offset: (N,) int64 offset of each part in its file, in bytes.
        size: (N,) int64 size of each part, in bytes.
        digest: (N,) uint64 digest of each part as in `Part`; None if no index tells them.
    """

    def __init__(
        self,
        files: Sequence[Path],
        file: np.ndarray,
        offset: np.ndarray,
        size: np.ndarray,
        digest: np.ndarray | None = None,
    ):
        self.files, self.file, self.offset, self.size, self.digest = files, file, offset, size, digest

    @classmethod
    def of(cls, parts: Iterable[Part]) -> Self:
        """Copy parts into a column."""
        number: dict[Path, int] = {}
        parts = list(parts)
        rows = [(number.setdefault(part.path, len(number)), part.offset, part.size) for part in parts]
        file, offset, size = np.array(rows, np.int64).reshape(-1, 3).T.copy()
        told = [part.digest for part in parts]
        digest = None if None in told else np.array(told, np.uint64)
        return cls(list(number), file.astype(np.int32), offset, size, digest)

    def __len__(self) -> int:
        return len(self.file)

    def take(self, rows: np.ndarray) -> Self:
        digest = None if self.digest is None else self.digest[rows]
        return type(self)(self.files, self.file[rows], self.offset[rows], self.size[rows], digest)

    def block(self, start: int, stop: int) -> list[Part]:
        columns = [column[start:stop].tolist() for column in (self.file, self.offset, self.size)]
        digest = [None] * len(columns[0]) if self.digest is None else self.digest[start:stop].tolist()
        return [Part(self.files[file], *place) for file, *place in zip(*columns, digest, strict=True)]


class Rows(Column[Row]):
    """Rows of a table.

    Attributes:
        table: The table.
        numbers: (N,) int64 numbers of the rows.
    """

    def __init__(self, table: RowTable, numbers: np.ndarray):
        self.table, self.numbers = table, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: np.ndarray) -> Self:
        return type(self)(self.table, self.numbers[rows])

    def block(self, start: int, stop: int) -> list[Row]:
        return [Row(self.table, number) for number in self.numbers[start:stop].tolist()]


def columnar(sources: Sequence[Source]) -> Sequence[Source]:
    """Return sources as a column if all are parts of files; otherwise as they are."""
    if isinstance(sources, Column):
        return sources
    parts = [source for source in sources if isinstance(source, Part)]
    return Parts.of(parts) if parts and len(parts) == len(sources) else sources


def join_sources(pieces: Sequence[Sequence[Source]]) -> Sequence[Source]:
    """Concatenate sources: as a column if all pieces are parts of files, otherwise as a list."""
    columns = [piece for piece in pieces if isinstance(piece, Parts)]
    if not columns or len(columns) < len(pieces):
        return [source for piece in pieces for source in piece]
    starts = np.cumsum([0, *(len(piece.files) for piece in columns)])
    digests = [piece.digest for piece in columns if piece.digest is not None]
    return Parts(
        [path for piece in columns for path in piece.files],
        np.concatenate([piece.file + np.int32(start) for piece, start in zip(columns, starts[:-1], strict=True)]),
        np.concatenate([piece.offset for piece in columns]),
        np.concatenate([piece.size for piece in columns]),
        np.concatenate(digests) if len(digests) == len(columns) else None,
    )


def read_source(source: Source) -> bytes:
    """Read the bytes of a picture.

    Args:
        source: A file, a part of a file, a row of a table, or the bytes themselves.

    Raises:
        OSError: The file is missing, is not a regular file, has more than `MAX_BYTES` bytes, or is shorter than it was
            when the picture was listed. What may be over in a moment is tried again first; see `retried`.
        DiskGoneError: So many files in a row could not be read that the disk has failed; or the store of a remote file
            refuses it, as it does once credentials are out of date.
        InputError: The bytes are not those of which an index tells.
    """
    if isinstance(source, bytes):
        return source
    kept = FETCHED.get(source)
    if kept is not None:
        return kept
    path = source.path if isinstance(source, Part) else source
    try:
        content = retried(lambda: _read(source), path.table.name if isinstance(path, Row) else str(path))
    except OSError as error:
        if isinstance(path, RemotePath) and error.errno == errno.EACCES:
            raise DiskGoneError(f"'{path}' cannot be read: {error.strerror}, and run again.") from None
        raise
    if not isinstance(path, Path) or isinstance(path, RemotePath):
        FETCHED.add(source, content)
    return content


def digest_of(content: bytes) -> int:
    """Return 64 bits of a hash of bytes."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


def stat_of(source: Path | Part) -> os.stat_result:
    """Return what the system tells of the file that a picture is, or lies in; errors as of `read_source`."""
    if isinstance(source, Part) and isinstance(source.path, RemotePath):
        return stat_of_archive(source.path)
    path = source.path if isinstance(source, Part) else source
    return retried(path.stat, str(path), counts=False)


@lru_cache(maxsize=1 << 16)
def stat_of_archive(path: RemotePath) -> os.stat_result:
    """Return what a store tells of an archive, asked once for all of its members until `cache_clear` is called."""
    return retried(path.stat, str(path), counts=False)


def _read(source: Path | Part | Row) -> bytes:
    """Read the bytes of a picture once."""
    if isinstance(source, Row):
        content = source.table.read(source.number)
        _check_bytes(len(content))
        return content
    if isinstance(source, RemotePath):
        content = source.read_range(0, MAX_BYTES + 1)
        _check_bytes(len(content))
        return content
    if isinstance(source, Path):
        with open_regular(source, buffering=0) as file:
            _check_bytes(os.fstat(file.fileno()).st_size)
            return file.read()
    _check_bytes(source.size)
    try:
        content = _read_part(source)
    except OSError as error:
        if source.digest is None or error.errno not in (errno.EINVAL, errno.ENOENT):
            raise
        content = b""  # the file ends before, or is gone
    if source.digest is not None and digest_of(content) != source.digest:
        raise InputError(
            f"'{source.path}' is not what its index was made of: of the {source.size} bytes from {source.offset} on, "
            f"{len(content)} came, and they are others. Make the index again: rsft data index '{source.path}'"
        )
    if len(content) < source.size:
        raise OSError(f"'{source.path.name}' ends within the picture")
    return content


def _read_part(source: Part) -> bytes:
    """Read the bytes at a place in a file, or fewer if it ends before."""
    if isinstance(source.path, RemotePath):
        return source.path.read_range(source.offset, source.offset + source.size)
    with open_regular(source.path) as file:
        file.seek(source.offset)
        return file.read(source.size)


def _check_bytes(size: int) -> None:
    """Raise `OSError` if the file of a picture is too large to be read."""
    if size > MAX_BYTES:
        raise OSError(f"its file has more than {MAX_BYTES >> 20} MiB")
