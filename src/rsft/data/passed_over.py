"""What a reader did not list, and why: files that are no pictures, and those that systems and tools leave.

A name that begins with a dot is hidden. The folders of `SYSTEM` are made by file systems, file managers and tools, and
what lies in them are copies, thumbnails and deleted files.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SYSTEM = frozenset(  # in lower case; names are compared without regard to it
    {
        "__macosx", "__pycache__", "@__thumb", "@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle",
        "#snapshot", "~snapshot", "lost+found", "$recycle.bin", "recycler", "system volume information",
        "network trash folder", "temporary items",
    }
)  # fmt: skip
# Regular expressions of RE2, of paths: with a hidden part, and with a folder of the system. ".." is not hidden.
HIDDEN = r"(^|/)\.([^./]|\.[^/])"
IN_SYSTEM = "(?i)(^|/)(" + "|".join(map(re.escape, sorted(SYSTEM))) + ")/"
HIDDEN_NAME, SYSTEM_FOLDER = "hidden", "in a folder of the system"
NO_FILE = "neither a file nor a folder"
CLOSED = "a folder that cannot be opened"
NAMED_AGAIN = "another name of a listed folder"
REPLACED = "replaced by a later member of the same name"
SPARSE = "stored with holes"
LINK_OUT = "a link to what the archive does not hold"
LINK_TO_FOLDER = "a link to a folder of the archive"
NO_ARCHIVE = "what follows the end of the archive"
NO_PICTURE = "a sample without a picture"
WITHOUT_PICTURE = "folders without a picture"
NO_SUFFIX, OTHER_SUFFIX = "without a suffix", "of another suffix"
MOST_SUFFIXES = 20  # suffixes that are counted one by one
LONGEST_SUFFIX = 8
SHOWN = 3  # folders that a message names


def is_hidden(name: str) -> bool:
    """Return whether one part of a path is hidden."""
    return name.startswith(".") and name not in (".", "..")


def place_passed_over(path: str) -> tuple[str, str] | None:
    """Return why a path is passed over, and the first part of it that is, with what is above; None if it is not.

    >>> place_passed_over("ann/.git/x/1.png"), place_passed_over("__MACOSX/ann/1.png"), place_passed_over("../a.png")
    (('hidden', 'ann/.git'), ('in a folder of the system', '__MACOSX'), None)
    """
    parts = path.split("/")
    for number, part in enumerate(parts):
        if is_hidden(part) or (part.lower() in SYSTEM and number < len(parts) - 1):
            return HIDDEN_NAME if is_hidden(part) else SYSTEM_FOLDER, "/".join(parts[: number + 1])
    return None


@dataclass(frozen=True)
class PassedOver:
    """Files and folders that a reader did not list.

    A folder that is passed over counts as one, whatever is in it.

    Attributes:
        counts: Reason -> number.
        examples: Reason -> the name that is first in order, below the root of the data set.
        folders: First folders below the root, which would be identities, in which no picture is listed; sorted.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)
    folders: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.counts or self.folders)

    def __str__(self) -> str:
        """Return one line for a log, such as "2 of suffix .txt ('ann/notes.txt'), 1 hidden ('.git')"."""
        told = [f"{count} {reason} ({self.examples[reason]!r})" for reason, count in self.counts.items()]
        if self.folders:
            more = f" and {len(self.folders) - SHOWN} more" if len(self.folders) > SHOWN else ""
            names = ", ".join(map(repr, self.folders[:SHOWN]))
            told.append(f"{len(self.folders)} {WITHOUT_PICTURE} ({names}{more})")
        return ", ".join(told)

    def numbers(self) -> dict[str, int]:
        """Return the counts alone, which name no file and no person, and the number of `folders` if there are any."""
        return dict(self.counts) | ({WITHOUT_PICTURE: len(self.folders)} if self.folders else {})

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary that can be written as JSON: "files" (reason -> count and example) and "folders"."""
        files = {reason: {"count": n, "example": self.examples[reason]} for reason, n in self.counts.items()}
        return {"files": files, "folders": list(self.folders)}


class Tally:
    """Counts what a reader passes over."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, str] = {}

    def add(self, reason: str, example: str, count: int = 1) -> None:
        """Count something; the example that is first in order is kept."""
        self._counts[reason] = self._counts.get(reason, 0) + count
        self._examples[reason] = min(example, self._examples.get(reason, example))

    def add_file(self, name: str) -> None:
        """Count a file that is no picture by its name: a path with "/" between the parts."""
        stem, _, ending = name[name.rfind("/") + 1 :].rpartition(".")
        reason = f"of suffix .{ending.lower()}" if stem else NO_SUFFIX
        if stem and (
            len(ending) > LONGEST_SUFFIX
            or not ending.isalnum()
            or (reason not in self._counts and len(self._counts) > MOST_SUFFIXES)
        ):
            reason = OTHER_SUFFIX
        self.add(reason, name)

    def told(self, folders: Iterable[str] = ()) -> PassedOver:
        """Return the counts, the largest first, and the folders in which no picture is listed."""
        order = sorted(self._counts, key=lambda reason: (-self._counts[reason], reason))
        counts = {reason: self._counts[reason] for reason in order}
        return PassedOver(counts, {reason: self._examples[reason] for reason in order}, tuple(sorted(folders)))


def join_passed_over(pieces: Iterable[PassedOver]) -> PassedOver:
    """Add up what several readers passed over, without their folders: another piece may have their pictures."""
    tally = Tally()
    for piece in pieces:
        for reason, count in piece.counts.items():
            tally.add(reason, piece.examples[reason], count)
    return tally.told()
