"""Places of the bytes of pictures."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from rsft.data.columns import Column, Strings
from rsft.data.regular import open_regular
from rsft.data.retrying import retried

MAX_BYTES = 1 << 28  # most bytes of the file of a picture


class Part(NamedTuple):
    """A picture inside a larger file.

    Attributes:
        path: Path of the larger file.
        offset: Offset of the picture in the file, in bytes.
        size: Size of the picture, in bytes.
    """

    path: Path
    offset: int
    size: int


# A picture as a file, as part of a file, or as its bytes.
Source = Path | Part | bytes


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
    """

    def __init__(self, files: Sequence[Path], file: np.ndarray, offset: np.ndarray, size: np.ndarray):
        self.files, self.file, self.offset, self.size = files, file, offset, size

    @classmethod
    def of(cls, parts: Iterable[Part]) -> Self:
        """Copy parts into a column."""
        number: dict[Path, int] = {}
        rows = [(number.setdefault(part.path, len(number)), part.offset, part.size) for part in parts]
        file, offset, size = np.array(rows, np.int64).reshape(-1, 3).T.copy()
        return cls(list(number), file.astype(np.int32), offset, size)

    def __len__(self) -> int:
        return len(self.file)

    def take(self, rows: np.ndarray) -> Self:
        return type(self)(self.files, self.file[rows], self.offset[rows], self.size[rows])

    def block(self, start: int, stop: int) -> list[Part]:
        columns = (column[start:stop].tolist() for column in (self.file, self.offset, self.size))
        return [Part(self.files[file], offset, size) for file, offset, size in zip(*columns, strict=True)]


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
    return Parts(
        [path for piece in columns for path in piece.files],
        np.concatenate([piece.file + np.int32(start) for piece, start in zip(columns, starts[:-1], strict=True)]),
        np.concatenate([piece.offset for piece in columns]),
        np.concatenate([piece.size for piece in columns]),
    )


def read_source(source: Source) -> bytes:
    """Read the bytes of a picture.

    Args:
        source: A file, a part of a file, or the bytes themselves.

    Raises:
        OSError: The file is missing, is not a regular file, has more than `MAX_BYTES` bytes, or is shorter than it was
            when the picture was listed. What may be over in a moment is tried again first; see `retried`.
        DiskGoneError: So many files in a row could not be read that the disk has failed.
    """
    if isinstance(source, bytes):
        return source
    return retried(lambda: _read(source), str(source.path if isinstance(source, Part) else source))


def stat_of(source: Path | Part) -> os.stat_result:
    """Return what the system tells of the file that a picture is, or lies in; errors as of `read_source`."""
    path = source.path if isinstance(source, Part) else source
    return retried(path.stat, str(path), counts=False)


def _read(source: Path | Part) -> bytes:
    """Read the bytes of a picture once."""
    if isinstance(source, Path):
        with open_regular(source, buffering=0) as file:
            _check_bytes(os.fstat(file.fileno()).st_size)
            return file.read()
    _check_bytes(source.size)
    with open_regular(source.path) as file:
        file.seek(source.offset)
        content = file.read(source.size)
    if len(content) < source.size:
        raise OSError(f"'{source.path.name}' ends within the picture")
    return content


def _check_bytes(size: int) -> None:
    """Raise `OSError` if the file of a picture is too large to be read."""
    if size > MAX_BYTES:
        raise OSError(f"its file has more than {MAX_BYTES >> 20} MiB")
