"""The regular files in a `.tar` archive, with links resolved within it, and in archives that are joined end to end.

Nothing is extracted: a link is another name of the same bytes, if the archive holds what it names.
"""

import tarfile
from array import array
from bisect import bisect_left
from collections import defaultdict
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow
import pyarrow.compute as pc

from rsft.data.columns import BLOCK, Strings, folder_part, join_strings, true_rows
from rsft.data.formats import picture_suffixes
from rsft.data.listing import is_valid, text_column
from rsft.data.passed_over import LINK_OUT, LINK_TO_FOLDER, NO_ARCHIVE, NO_FILE, SPARSE, Tally
from rsft.data.reading import reading
from rsft.data.regular import open_regular
from rsft.data.sources import Parts
from rsft.data.tar_headers import next_archive, plain_files
from rsft.errors import InputError


class _Link(NamedTuple):
    """A member that is another name of another member: the name of that one, and whether only an earlier one counts."""

    target: str
    earlier: bool


def list_members(path: Path, tally: Tally) -> tuple[Strings, Parts]:
    """List the regular files in an archive, in its order; those that links name are listed by the links' names too.

    Args:
        path: The archive.
        tally: Counts the members that are passed over.

    Returns:
        (N,) names and places.

    Raises:
        InputError: The archive is damaged, truncated or compressed, or a name is not valid UTF-8.
    """
    try:
        plain = plain_files(path)
        return odd_members(path, tally) if plain is None else plain
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror or error}.") from error


def odd_members(path: Path, tally: Tally) -> tuple[Strings, Parts]:
    """List the same of an archive with long names, links and whatever else `tarfile` knows."""
    members = _Members(path, tally)
    with open_regular(path) as file:
        start: int | None = 0
        while start is not None:
            start = members.read(file, start)
    return members.resolved()


class _Members:
    """The members that are read so far; a link has the offset -1."""

    def __init__(self, path: Path, tally: Tally):
        self.path, self.tally = path, tally
        self.blocks: list[Strings] = []
        self.names: list[str] = []
        self.offsets, self.sizes = array("q"), array("q")
        self.links: dict[int, _Link] = {}

    def read(self, file: BinaryIO, start: int) -> int | None:
        """Read the archive at an offset, and return the offset of one that is joined to it."""
        size = file.seek(0, 2)
        file.seek(start)
        before = len(self.offsets)
        with reading(self.path, "an uncompressed .tar archive"), tarfile.open(fileobj=file, mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # otherwise it keeps an object for each
                self._add(member)
            end = archive.offset
        if end >= size:
            raise InputError(f"'{self.path}' is truncated: its end-of-archive mark is missing. Copy it again.")
        following = next_archive(file, end)
        if following != end:
            return following
        if start and before == len(self.offsets):
            self.tally.add(NO_ARCHIVE, self.path.name)
            return None
        raise InputError(f"'{self.path}' is damaged: at byte {end} there is no header of a member. Copy it again.")

    def _add(self, member: tarfile.TarInfo) -> None:
        """Add a member, or count it as passed over."""
        name = str(PurePosixPath(member.name))
        if member.isdir():
            return
        if not is_valid(name) and PurePosixPath(name).suffix.lower() not in picture_suffixes():
            self.tally.add_file(name.encode("utf-8", "backslashreplace").decode())
            return
        if member.issym():
            self.links[len(self.offsets)] = _Link(normpath(f"{name}/../{member.linkname}"), False)
        elif member.islnk():
            self.links[len(self.offsets)] = _Link(str(PurePosixPath(member.linkname)), True)
        elif not member.isfile() or member.issparse():
            self.tally.add(SPARSE if member.issparse() else NO_FILE, name)
            return
        link = member.issym() or member.islnk()
        self.names.append(name)
        self.offsets.append(-1 if link else member.offset_data)
        self.sizes.append(0 if link else member.size)
        if len(self.names) == BLOCK:
            self._end_block()

    def _end_block(self) -> None:
        self.blocks.append(text_column(self.names, self.path))
        self.names = []

    def resolved(self) -> tuple[Strings, Parts]:
        """Return the names and places of all files and of the links to them."""
        self._end_block()
        names, place = join_strings(self.blocks), np.array([self.offsets, self.sizes], np.int64)
        for row, found in self._found(names).items():
            place[:, row] = place[:, found]
        kept, lost = np.flatnonzero(place[0] >= 0), np.flatnonzero(place[0] < 0)
        if len(lost):
            folders = {above for folder in names.coded(folder_part).names for above in _with_parents(folder)}
            for row in lost.tolist():
                self.tally.add(LINK_TO_FOLDER if self.links[row].target in folders else LINK_OUT, names[row])
        parts = Parts([self.path], np.zeros(len(kept), np.int32), *place[:, kept])
        return (names.take(kept) if len(lost) else names), parts

    def _found(self, names: Strings) -> dict[int, int]:
        """Return the row of the file that each link leads to; links that lead to none, or in a circle, are left out."""
        targets = pyarrow.array(
            {link.target for link in self.links.values() if is_valid(link.target)}, pyarrow.large_string()
        )
        rows: dict[str, list[int]] = defaultdict(list)
        for row in true_rows(pc.is_in(names.array, value_set=targets)).tolist():
            rows[names[row]].append(row)
        found: dict[int, int | None] = {}
        for row in self.links:
            way: list[int] = []
            end: int | None = row
            while end is not None and end in self.links and end not in found:
                found[end] = None  # should the links come back to it
                way.append(end)
                link, named = self.links[end], rows.get(self.links[end].target, [])
                until = bisect_left(named, end) if link.earlier else len(named)
                end = named[until - 1] if until else None
            found.update(dict.fromkeys(way, found.get(end, end) if end is not None else None))
        return {row: end for row, end in found.items() if end is not None}


def _with_parents(folder: str) -> list[str]:
    """Return a folder and all folders above it."""
    return [folder, *map(str, PurePosixPath(folder).parents)]
