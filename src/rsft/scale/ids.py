"""Whether each item of a pool stands exactly once in a table."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rsft.errors import InputError
from rsft.sampling.stream import number_of_name

IN_MEMORY = 1 << 24  # names of more items are compared in a temporary file
ADVICE = "score the pool again, or leave out what a failed job has left behind"

# the ids of the table, part by part, each with its file
Parts = Iterable[tuple[Path, pa.Array]]


def check_numbers(parts: Parts, items: int, rows: int) -> None:
    """Raise an InputError unless the numbers are 0 to N - 1, each once. This takes N / 8 bytes.

    Args:
        parts: (n,) int64 numbers of each part.
        items: N.
        rows: Number of rows of the table.
    """
    seen = np.zeros(-(-items // 8), np.uint8)
    for path, ids in parts:
        numbers = np.sort(ids.to_numpy())
        wrong = numbers[(numbers < 0) | (numbers >= items)]
        if len(wrong):
            raise InputError(
                f"'{path}' has id {wrong[0]}, which is none of the {items} items of the pool ({rows} rows in the "
                "table): items are missing, or the ids are not the numbers of the items from 0."
            )
        place, bit = numbers >> 3, (1 << (numbers & 7)).astype(np.uint8)
        twice = (seen[place] & bit) > 0
        twice[1:] |= numbers[1:] == numbers[:-1]
        if twice.any():
            raise InputError(f"'{path}' has id {numbers[twice][0]}, which the table has already: {ADVICE}.")
        np.bitwise_or.at(seen, place, bit)
    if rows < items:
        byte = int(np.flatnonzero(seen < 255)[0])
        first = byte * 8 + int(np.flatnonzero(~seen[byte] >> np.arange(8, dtype=np.uint8) & 1)[0])
        raise InputError(_missing(items, rows, f"item {first} is the first"))


def check_names(parts: Callable[[], Parts], items: int, rows: int) -> None:
    """Raise an InputError unless there are N different names. This takes 8 N bytes, in a file if there are many.

    Args:
        parts: Function that begins to read the (n,) texts of each part.
        items: N.
        rows: Number of rows of the table.
    """
    with nullcontext() if rows <= IN_MEMORY else tempfile.TemporaryFile() as file:
        numbers: np.ndarray = (
            np.empty(rows, np.uint64) if file is None else np.memmap(file, np.uint64, "w+", shape=(rows,))
        )
        end = 0
        for _, ids in parts():
            numbers[end : end + len(ids)] = [number_of_name(name) for name in ids.to_pylist()]
            end += len(ids)
        numbers.sort()
        alike = {int(number) for number in numbers[1:][numbers[1:] == numbers[:-1]]}
    found = Counter[Any]()  # different names may have one number
    for path, ids in parts() if alike else ():
        found.update(name for name in ids.to_pylist() if number_of_name(name) in alike)
        twice = next((name for name, count in found.items() if count > 1), None)
        if twice is not None:
            raise InputError(f"'{path}' has id '{twice}', which the table has already: {ADVICE}.")
    if rows < items:
        raise InputError(_missing(items, rows, "their names are not known"))
    if rows > items:
        raise InputError(f"the table has {rows} items, and the pool that the plan was made for {items}: {ADVICE}.")


def _missing(items: int, rows: int, which: str) -> str:
    return f"the table lacks {items - rows} of {items} items ({which}): did the job end, and are all of its files here?"
