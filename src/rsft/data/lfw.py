"""The lists that come with LFW, `pairs.txt` and `people.txt`, and lists in the same form.

Source: G. Huang et al., "Labeled faces in the wild", 2007, and the README of the data set. A list begins with its
number of folds, unless it has none, and the number of pairs of each kind (pairs) or of people (people) in each fold.
Then follow the rows of fold after fold: of pairs `name n1 n2` for one person, before `name1 n1 name2 n2` for two; of
people `name pictures`. Picture n of a person is `name/name_000n`, with any suffix.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsft.data.columns import Strings
from rsft.data.folder import absent_files
from rsft.data.formats import picture_suffixes
from rsft.data.listing import Listing
from rsft.data.regular import open_regular
from rsft.data.sources import Files
from rsft.data.text import LINE_END, read_text
from rsft.errors import InputError

PAIRS, PEOPLE = "pairs", "people"
COUNTS = re.compile(r"\s*\d{1,9}(\s+\d{1,9})?\s*")  # the first line
COUNT = re.compile(r"\d{1,9}")  # of the people of a fold
NUMBER = re.compile(r"\d{1,4}")  # of a picture, or how many a person has
USUAL = ".jpg"  # suffix of the pictures
TEXTS = (".txt", ".csv", ".tsv")


@dataclass(frozen=True)
class LfwPairs:
    """The pairs of a list.

    Attributes:
        first: (P,) first pictures, as paths without suffix.
        second: (P,) second pictures.
        same: (P,) bool, True for pictures of one person.
        fold: (P,) int fold of each pair, from 1; None if the list has none.
        lines: (P,) line of each pair, from 1.
    """

    first: list[str]
    second: list[str]
    same: np.ndarray
    fold: np.ndarray | None
    lines: list[int]


def lfw_kind(path: Path) -> str | None:
    """Return `PAIRS` or `PEOPLE` if a file begins like one of LFW's lists, otherwise None."""
    if path.suffix.lower() not in TEXTS or not path.is_file():
        return None
    with open_regular(path) as file:
        start = file.read(4096).decode("utf-8", "replace").lstrip("\ufeff")
    lines = [line for line in LINE_END.split(start) if line.strip()]
    if not lines or not COUNTS.fullmatch(lines[0]):
        return None
    cells = next((line.split() for line in lines[1:] if not COUNTS.fullmatch(line)), [])
    return {2: PEOPLE, 3: PAIRS, 4: PAIRS}.get(len(cells))


def read_pairs(path: Path) -> LfwPairs:
    """Read a list of pairs, such as `pairs.txt` or `pairsDevTest.txt`.

    Raises:
        InputError: The file cannot be read, has another number of rows than it says, or a row is malformed.
    """
    (_, first_line), *rows = _rows(path)
    head = [cell for cell in first_line if cell]
    folds, count = (int(cell) for cell in (["1", *head] if len(head) == 1 else head))
    kinds = [{3: True, 4: False}.get(len(cells)) for _, cells in rows]
    wanted = ([True] * count + [False] * count) * folds if len(rows) == 2 * folds * count else []
    if kinds != wanted or not rows:
        row = next((row for row, (told, kind) in enumerate(zip(kinds, wanted, strict=False)) if told != kind), -1)
        raise InputError(
            f"'{path}' line {rows[row][0] if rows else 1} does not fit its first line: that tells of {folds} times "
            f"{count} rows `name n1 n2` and {count} rows `name1 n1 name2 n2`, and there are {len(rows)} rows."
        )
    first, second = [], []
    for line, (name, number, *other) in rows:
        first.append(_picture(name, number, path, line))
        second.append(_picture(name if len(other) == 1 else other[0], other[-1], path, line))
    fold = np.repeat(np.arange(1, folds + 1), 2 * count) if folds > 1 else None
    return LfwPairs(first, second, np.array(kinds, bool), fold, [line for line, _ in rows])


def list_people(path: Path, root: Path | None = None) -> Listing:
    """List the pictures of the people in a list such as `people.txt`.

    A list in folds gives the pictures an attribute `fold`.

    Args:
        path: The list.
        root: The folder in which each person has one; by default that of the list.

    Raises:
        InputError: The file cannot be read, has another number of people than it says, a row is malformed, or a picture
            does not exist.
    """
    rows = _rows(path)
    folded = len(rows) > 1 and len(rows[1][1]) == 1
    wanted = int(rows[0][1][0]) if folded else 1
    place, items, folds = int(folded), list[str](), list[str]()
    for fold in range(1, wanted + 1):
        line, cells = rows[place] if place < len(rows) else (rows[-1][0], [])
        people = rows[place + 1 : place + 1 + int(cells[0])] if len(cells) == 1 and COUNT.fullmatch(cells[0]) else []
        if not people or len(people) < int(cells[0]):
            raise InputError(
                f"'{path}' line {line} needs the number of people of fold {fold}, and as many rows after it."
            )
        for line, cells in people:
            if len(cells) != 2 or not NUMBER.fullmatch(cells[1]):
                raise InputError(
                    f"'{path}' line {line} needs a name and a number of pictures, got '{' '.join(cells)}'."
                )
            told = [_picture(cells[0], str(number), path, line) for number in range(1, int(cells[1]) + 1)]
            items += told
            folds += [str(fold)] * len(told)
        place += 1 + len(people)
    if place < len(rows):
        raise InputError(f"'{path}' line {rows[place][0]} is beyond the {wanted} folds that its first line says.")
    root = path.parent if root is None else root
    paths = _with_suffix(Strings.of(items), path, root)
    return Listing(paths, Files(root, paths), {"fold": Strings.of(folds)} if folded else {})


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the line and the cells of each row that is not empty."""
    lines = enumerate(read_text(path).split("\n"), 1)
    return [(line, _cells(text)) for line, text in lines if text.strip()]


def _cells(text: str) -> list[str]:
    """Part a row at its tabs, or at its blanks if it has no tab."""
    return [cell.strip() for cell in text.strip().split("\t" if "\t" in text.strip() else None)]


def _picture(name: str, number: str, path: Path, line: int) -> str:
    """Return the path of picture `number` of a person, without suffix."""
    if not NUMBER.fullmatch(number) or not name or re.search(r"^\.|[/\0]", name):
        raise InputError(f"'{path}' line {line} needs names of people and numbers of pictures, got '{name} {number}'.")
    return f"{name}/{name}_{int(number):04d}"


def _with_suffix(items: Strings, path: Path, root: Path) -> Strings:
    """Append the suffix with which all pictures of a list lie in a folder; `InputError` if there is none."""
    suffixes = sorted(picture_suffixes(), key=lambda suffix: (suffix != USUAL, suffix))
    found = {suffix: Strings.of(item + suffix for item in items) for suffix in suffixes}
    missing = {suffix: absent_files(root, named) for suffix, named in found.items()}
    best = min(missing, key=lambda suffix: len(missing[suffix]))
    if len(missing[best]):
        raise InputError(
            f"'{path}' names {len(missing[best])} pictures that do not exist, such as "
            f"'{found[best][int(missing[best][0])]}': the folders of its people need to lie in '{root}'."
        )
    return found[best]
