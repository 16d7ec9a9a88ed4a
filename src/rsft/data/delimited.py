"""Delimited text: a header, and rows whose cells are parted by commas, semicolons or tabs.

The `csv` module reads it and not `pyarrow.csv`, since only it tells the line of a row whose quoted cells hold line
ends, and so of what is wrong.
"""

import csv
import re
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, TextIO

import pyarrow.compute as pc

from rsft.data.columns import BLOCK, Strings, join_strings
from rsft.data.text import LINE_END, text_file
from rsft.errors import InputError

DELIMITERS = ",;\t"
UTF8 = ("utf-8", "utf-8-sig")
START = 1 << 16  # number of characters from which the delimiter is told


def read_delimited(path: Path) -> tuple[dict[str, Strings], "array[int]"]:
    """Read delimited text.

    Returns:
        Name of the column -> values (N,), without blanks around them; and the line (N,) at which each row begins.

    Raises:
        InputError: The file cannot be read, a row has more or fewer cells than the header, or two columns have the same
            name or one has none.
    """
    lines = array("q")
    with text_file(path) as file:
        blocks = _blocks(file, path)
        header = next(blocks, ([1], [[]]))[1][0]
        columns: list[list[Strings]] = [[] for _ in header]
        for starts, rows in blocks:
            if set(map(len, rows)) != {len(header)}:
                line, row = next((line, row) for line, row in zip(starts, rows, strict=True) if len(row) != len(header))
                raise InputError(
                    f"'{path}' line {line} needs {len(header)} columns as its header has, but a row has {len(row)}: "
                    f"{','.join(row)[:80]}"
                )
            lines.extend(starts)
            for column, values in zip(columns, zip(*rows, strict=True), strict=True):
                column.append(Strings(pc.utf8_trim_whitespace(Strings.of(values).array)))
    return _named([name.strip() for name in header], [join_strings(told or [[]]) for told in columns], path), lines


def delimited_header(file: TextIO, path: Path) -> list[str]:
    """Return the names of the columns of delimited text, as they are written; `path` is for messages."""
    return next(_blocks(file, path), ([1], [[]]))[1][0]


def _blocks(file: TextIO, path: Path) -> Iterator[tuple[Sequence[int], list[list[str]]]]:
    """Yield the lines at which rows of delimited text begin, and their cells: the header alone, then blocks of rows.

    Rows without a value are left out. A single empty cell is a value that is missing if it is quoted, and none if not.
    """
    start = file.read(START)
    file.seek(0)
    delimiter, skipped = _delimiter(start, path)
    if file.encoding not in UTF8 and delimiter not in "\t;" and delimiter in start:
        raise InputError(
            f"cannot read '{path}': of tables in {file.encoding.upper()} only those that tabs or semicolons part are "
            "taken, such as Excel's Unicode text. Save it as UTF-8."
        )
    form: dict[str, Any] = {"delimiter": delimiter, "skipinitialspace": delimiter != "\t", "strict": True}
    reader, size = csv.reader(file, **form), 1
    try:
        list(islice(reader, skipped))
        while True:
            before = reader.line_num
            block = list(islice(reader, size))
            if not block:
                return
            starts: Sequence[int] = range(before + 1, before + 1 + len(block))
            if reader.line_num > before + len(block):  # cells hold line ends
                heights = (1 + sum(len(LINE_END.findall(cell)) for cell in row) for row in block)
                starts = list(accumulate(heights, initial=before + 1))[:-1]
            rows = [row for row in block if any(row) or len(row) == 1]
            if len(rows) < len(block):
                starts = [line for line, row in zip(starts, block, strict=True) if any(row) or len(row) == 1]
            if rows:
                yield starts, rows
                size = BLOCK
    except csv.Error as error:
        raise InputError(f"cannot read '{path}' line {_last_start(file, form)}: {error}.") from error


def _last_start(file: TextIO, form: dict[str, Any]) -> int:
    """Return the line at which the row begins that cannot be read."""
    file.seek(0)
    reader = csv.reader(file, **form)
    line = 1
    with suppress(csv.Error):
        for _ in reader:
            line = reader.line_num + 1
    return line


def _delimiter(start: str, path: Path) -> tuple[str, int]:
    """Tell what parts the cells, and how many lines stand before the header, from the start of a file."""
    every = LINE_END.split(start)
    told = re.fullmatch(r'"?sep=(.)"?', every[0])  # as Excel writes it
    if told is not None:
        return told[1], 1
    if "\0" in start:
        raise InputError(f"cannot read '{path}': it holds zero bytes, so it is no text in UTF-8. Save it as UTF-8.")
    if path.suffix.lower() == ".tsv":
        return "\t", 0
    filled = [line for line in every if line.strip()]
    found = [sign for sign in DELIMITERS if filled and sign in re.sub(r'"[^"]*"', "", filled[0])]
    if len(found) > 1:  # such as "path;height, cm": the rows tell
        counts = {sign: {len(row) for row in csv.reader(filled[:2], delimiter=sign)} for sign in found}
        even = [sign for sign in found if len(counts[sign]) == 1 and len(filled) > 1]
        if len(even) != 1:
            raise InputError(f"'{path}' has {' and '.join(map(repr, found))} in its header: quote names that hold one.")
        found = even
    return (found[0] if found else ","), 0


def _named(names: list[str], values: list[Strings], path: Path) -> dict[str, Strings]:
    """Name columns; those without a name are left out if they are empty or count the rows, as an index of pandas."""
    columns = {}
    for place, (name, told) in enumerate(zip(names, values, strict=True)):
        if name == "" and (not any(told) or told == [str(row) for row in range(len(told))]):
            continue
        if name == "":
            raise InputError(f"'{path}' has no name for column {place + 1}: name it, or remove it.")
        if name in columns:
            raise InputError(f"'{path}' needs columns with unique names, but a name occurs twice: '{name}'.")
        columns[name] = told
    return columns
