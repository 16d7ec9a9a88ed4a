"""The files in a `.tar` archive, read from its headers alone where all of them are plain.

`tarfile` reads 16 fields of each header, which takes most of the time of listing an archive. Here the headers are
checked in blocks. An archive with any other header is left to `tarfile`.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
import pyarrow

from rsft.data.columns import Strings, join_strings, rows_like
from rsft.data.regular import open_regular
from rsft.data.sources import Parts

BLOCK = 512  # bytes of a header, and what the content of a file is padded to a multiple of
ZEROS = 1 << 20  # bytes that are read at a time to look for what follows the end of an archive
HEADERS = 4096  # number of headers that are checked at a time
# Places of the fields of a header; see POSIX.1-1988, section 10.1.1.
NAME, SIZE, KIND, PREFIX = slice(0, 100), slice(124, 135), 156, 345
FILE, FOLDER = ord("0"), ord("5")  # values of KIND
NUMBERS = np.r_[100:156, 329:345]  # bytes of the fields that are numbers: mode, owner, group, size, time, ...
FIRST = np.isin(NUMBERS, (100, 108, 116, 124, 136, 148, 329, 337))  # whether a byte of these is the first of a field
CHECKSUM = np.isin(NUMBERS, range(148, 154))
ENDS = np.isin(NUMBERS, (135, 154, 155))  # bytes after the digits of the size, and of the checksum
UNUSUAL = r"//|(^|/)\.(/|$)|/$|^$"  # names that may not be in their plain spelling, as a regular expression of RE2


class _OddArchiveError(Exception):
    """An archive has a header that is not plain, or no end."""


def plain_files(path: Path) -> tuple[Strings, Parts] | None:
    """List the files in an uncompressed archive, or in several joined end to end, whose headers are all plain.

    Args:
        path: The archive.

    Returns:
        (N,) names and places of the regular files, equal to those that `tarfile` finds. None if the archive has any
        other member than files and folders, a name of more than 100 bytes or not in UTF-8, a number that is not octal
        digits, a wrong checksum, or no end-of-archive mark.
    """
    names, places = [Strings.of([])], [np.empty((2, 0), np.int64)]
    try:
        with open_regular(path, buffering=0) as archive:
            members = _members(archive)
            while block := list(islice(members, HEADERS)):
                of_block, place = _files(block)
                names.append(of_block)
                places.append(place)
    except _OddArchiveError:
        return None
    offset, size = np.concatenate(places, 1)
    told = join_strings(names)
    unusual = rows_like(told, UNUSUAL)
    told = told.replaced(unusual, (str(PurePosixPath(name)) for name in told.take(unusual)))
    return told, Parts([path], np.zeros(len(offset), np.int32), offset, size)


def _members(archive: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield the header of each member, and the offset and size of its content, of all archives in a file."""
    offset = 0
    while True:
        archive.seek(offset)
        header = archive.read(BLOCK)
        if len(header) < BLOCK:
            raise _OddArchiveError
        if header.count(0) == BLOCK:
            following = next_archive(archive, offset)
            if following is None:
                return
            offset = following
            continue
        size = _size(header)
        offset += BLOCK
        yield header, offset, size
        offset += -(-size // BLOCK) * BLOCK


def next_archive(file: BinaryIO, end: int) -> int | None:
    """Return the offset of the first block with a byte other than zero.

    Args:
        file: The archive.
        end: Where to begin, in bytes; a multiple of `BLOCK` from the start of an archive.

    Returns:
        The offset, a multiple of `BLOCK` from `end`; None if only zeros follow.
    """
    file.seek(end)
    while blocks := file.read(ZEROS):
        zeros = len(blocks) - len(blocks.lstrip(b"\0"))
        if zeros < len(blocks):
            return end + zeros // BLOCK * BLOCK
        end += len(blocks)
    return None


def _size(header: bytes) -> int:
    """Return the size of the content that follows a header, in bytes."""
    if header[KIND] == FOLDER:
        return 0  # as in `tarfile`, whatever the header says
    digits = header[SIZE]
    if header[KIND] != FILE or not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise _OddArchiveError
    return int(digits, 8)


def _files(members: list[tuple[bytes, int, int]]) -> tuple[Strings, np.ndarray]:
    """Check headers; return the names (n,) of those of files, and their offsets and sizes (2, n) int64."""
    headers, offsets, sizes = zip(*members, strict=True)
    table = np.frombuffer(b"".join(headers), np.uint8).reshape(-1, BLOCK)
    if not _are_plain(table):
        raise _OddArchiveError
    files = table[:, KIND] == FILE
    names = [header[NAME].partition(b"\0")[0] for header in headers if header[KIND] == FILE]
    try:
        told = Strings(pyarrow.array(names, pyarrow.large_binary()).cast(pyarrow.large_string()))
    except pyarrow.ArrowInvalid as error:
        raise _OddArchiveError from error
    return told, np.array([offsets, sizes], np.int64)[:, files]


def _are_plain(table: np.ndarray) -> bool:
    """Return whether headers (n, 512) uint8 have right checksums, digits for numbers, and no prefix of the name."""
    numbers = table[:, NUMBERS]
    digits = (numbers >= ord("0")) & (numbers <= ord("7"))
    filled = digits | (numbers == 0) | (numbers == ord(" "))
    late = digits[:, 1:] & ~digits[:, :-1] & ~FIRST[1:]  # digits after the end of a number
    told = (numbers[:, CHECKSUM].astype(np.int64) - ord("0")) @ 8 ** np.arange(CHECKSUM.sum())[::-1]
    total = table.sum(1, np.int64) - table[:, 148:156].sum(1, np.int64) + 8 * ord(" ")
    return bool(
        filled.all()
        and not late.any()
        and digits[:, CHECKSUM].all()
        and not digits[:, ENDS].any()
        and (told == total).all()
        and not table[:, PREFIX].any()
    )
