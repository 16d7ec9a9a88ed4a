"""Tables of pairs `a,b,same[,fold]`, and LFW's own `pairs.txt`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsft.data.column_names import FOLD, PATH, near_miss, spelled
from rsft.data.columns import Strings, plain_paths
from rsft.data.composition import composed_names
from rsft.data.lfw import PAIRS, PEOPLE, lfw_kind, read_pairs
from rsft.data.table import TABLES, Table, column_names, read_table
from rsft.errors import InputError
from rsft.face.evaluation.pairs import PairList

COLUMNS = ("a", "b", "same")
TRUE, FALSE = {"1", "1.0", "true", "yes"}, {"0", "0.0", "false", "no"}


@dataclass(frozen=True)
class PairRows:
    """Rows of a table of pairs.

    Attributes:
        first: (P,) first items, as the table names them.
        second: (P,) second items.
        same: (P,) bool, whether both are of one person.
        fold: (P,) int fold, or None if the table has none or a single one.
        place: Returns the file and the line of a row.
        suffixes: Whether the items are named with their suffixes, as pictures are except in LFW's list.
    """

    first: Sequence[str]
    second: Sequence[str]
    same: np.ndarray
    fold: np.ndarray | None
    place: Callable[[int], str]
    suffixes: bool = True


def listed_pairs(path: Path) -> PairRows | None:
    """Return the rows of a table of pairs or of LFW's list of pairs, or None if the path is anything else.

    Raises:
        InputError: The file cannot be read, lacks a column or a value or has no rows, or a row compares an item with
            itself or two items that an earlier one compared.
    """
    if path.suffix.lower() not in TABLES:
        return None
    kind = lfw_kind(path)
    if kind == PEOPLE:
        return None
    if kind == PAIRS:
        told = read_pairs(path)
        rows = PairRows(
            told.first,
            told.second,
            told.same,
            told.fold,
            lambda row: f"'{path}' line {told.lines[row]}",
            suffixes=False,
        )
    elif _is_manifest(path):
        return None
    else:
        table = read_table(path, COLUMNS, [FOLD])
        if not len(table):
            raise InputError(f"'{path}' lists no pairs.")
        first, second = (list(_items(table, name)) for name in "ab")
        rows = PairRows(first, second, _same(table), _folds(table), table.place)
    _check_pairs(rows)
    return rows


def check_same(pairs: PairList, listed: PairRows) -> None:
    """Raise an error if the column `same` contradicts the identities of the pairs.

    Args:
        pairs: The P pairs.
        listed: Their rows.

    Raises:
        InputError: If a genuine pair has `same` = 0, or an impostor pair has `same` = 1.
    """
    wrong = np.flatnonzero(pairs.genuine != listed.same)
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"{listed.place(row)} contradicts itself: '{listed.first[row]}' and '{listed.second[row]}' have "
            f"same={int(listed.same[row])}, but their folders or other pairs say otherwise."
        )


def check_known(listed: PairRows, known: Callable[[str], bool], message: Callable[[int, str, str], str]) -> None:
    """Raise `InputError` if pairs name items that do not exist.

    Args:
        listed: The pairs.
        known: Whether an item exists.
        message: Makes the message from the number of items that do not exist, and the first of them with its place.
    """
    absent = {item for item in {*listed.first, *listed.second} if not known(item)}
    if absent:
        row = next(row for row, pair in enumerate(zip(listed.first, listed.second, strict=True)) if absent & {*pair})
        first = listed.first[row] if listed.first[row] in absent else listed.second[row]
        raise InputError(message(len(absent), first, listed.place(row)))


def _is_manifest(path: Path) -> bool:
    """Return whether a table lists pictures rather than pairs, by its header."""
    names = spelled(column_names(path), [PATH, *COLUMNS], path)
    if PATH in names or any(name in names for name in COLUMNS):
        return PATH in names and "a" not in names
    of_pairs = any(near_miss(column, names) for column in "ab")
    return near_miss(PATH, names) is not None and not of_pairs  # so that its error is that of a manifest


def _items(table: Table, column: str) -> Strings:
    """Return the items of a column, none of which may be missing."""
    items = composed_names(plain_paths(table.labels(column)))
    for row, item in enumerate(items):
        if item == ".":  # the plain spelling of nothing
            raise InputError(f"{table.place(row)} names nothing in column '{column}'.")
    return items


def _same(table: Table) -> np.ndarray:
    """Parse the column `same`: (P,) bool."""
    told = [value.lower() for value in table.text("same")]
    for row, value in enumerate(told):
        if value not in TRUE | FALSE:
            raise InputError(f"{table.place(row)}: same needs 1 or 0, got '{table.text('same')[row]}'.")
    return np.array([value in TRUE for value in told], bool)


def _folds(table: Table) -> np.ndarray | None:
    """Parse the column `fold`; return None if it does not exist or has a single value."""
    if FOLD not in table.columns:
        return None
    fold = table.numbers(FOLD)
    wrong = np.flatnonzero(~(fold == np.round(fold)) | ~(np.abs(fold) < 2**53))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(f"{table.place(row)}: fold needs a whole number in every line, got '{table.text(FOLD)[row]}'.")
    return fold.astype(int) if len(np.unique(fold)) > 1 else None


def _check_pairs(rows: PairRows) -> None:
    """Raise `InputError` if an item is compared with itself, or two items more than once, in either order."""
    seen: dict[tuple[str, str], int] = {}
    for row, (first, second) in enumerate(zip(rows.first, rows.second, strict=True)):
        if first == second:
            raise InputError(f"{rows.place(row)} compares '{first}' with itself, which tells nothing: remove the row.")
        before = seen.setdefault((min(first, second), max(first, second)), row)
        if before != row:
            agree = "again" if rows.same[row] == rows.same[before] else f"again, with same={int(rows.same[row])}"
            raise InputError(
                f"{rows.place(row)} compares '{first}' and '{second}' {agree}, after {rows.place(before)}. Keep one."
            )
