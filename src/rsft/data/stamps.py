"""Stamps of pictures, by which a later run notices that one has changed."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rsft.data.sources import Part, Row, Source, read_source, stat_of


class Stamp(NamedTuple):
    """What is noted of a picture when it is read.

    Attributes:
        size: Size in bytes; -1 if it could not be read.
        modified: Time of the last change of the content of its file, in ns; 0 for bytes in memory.
        changed: Time of the last change of its file in any way, in ns. Programs cannot set it.
        digest: 16 hexadecimal digits of a hash of the bytes.
    """

    size: int
    modified: int
    changed: int
    digest: str


def times_of(source: Source) -> tuple[int, int, int]:
    """Return the size of a picture and the times of its file, as in `Stamp`; (-1, 0, 0) if it is missing."""
    try:
        return _times(source)
    except OSError:
        return -1, 0, 0


def stamp_of(source: Source) -> Stamp:
    """Read a picture and return its stamp. Take it before the picture is used, so that no later change is missed."""
    try:
        return Stamp(*_times(source), _digest(source))
    except OSError:
        return Stamp(-1, 0, 0, "")


def is_same(stamp: Stamp, source: Source) -> bool:
    """Return whether a picture still has the content of its stamp.

    It is read only if its size or one of its times differs, as after a copy, or if it lies in memory.
    """
    try:
        if not isinstance(source, bytes) and _times(source) == stamp[:3]:
            return True
        return _digest(source) == stamp.digest
    except OSError:
        return stamp.size == -1


def first_changed(stamps: Iterable[Sequence[object]], sources: Iterable[Source]) -> int | None:
    """Return the index of the first picture whose content is not that of its stamp, as JSON has it; None if all are."""
    pairs = zip(stamps, sources, strict=True)
    return next((row for row, (stamp, source) in enumerate(pairs) if not is_same(Stamp(*stamp), source)), None)  # type: ignore[arg-type]


def _times(source: Source) -> tuple[int, int, int]:
    if isinstance(source, bytes):
        return len(source), 0, 0
    if isinstance(source, Row):
        return 0, source.table.modified, source.table.version
    told = stat_of(source)
    return source.size if isinstance(source, Part) else told.st_size, told.st_mtime_ns, told.st_ctime_ns


def _digest(source: Source) -> str:
    return hashlib.blake2b(read_source(source), digest_size=8).hexdigest()
