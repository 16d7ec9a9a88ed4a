"""Sequences whose values lie in arrays, so that a row costs no Python object until it is looked at."""

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, Self, TypeVar, overload

import numpy as np
import pyarrow
import pyarrow.compute as pc

T = TypeVar("T")
BLOCK = 1 << 16  # number of rows that are turned into Python objects at a time
UNUSUAL = r"\\|//|(^|/)\.(/|$)|/$|^$"  # a regular expression of RE2: paths that may not be in their plain spelling


class Column(Sequence[T], ABC):
    """A sequence that makes its values from arrays on access.

    It is equal to a list, a tuple or a column of the same values.
    """

    @abstractmethod
    def take(self, rows: np.ndarray) -> Self:
        """Return the values at `rows`, in this order.

        Args:
            rows: (n,) integer rows from 0.

        Raises:
            IndexError: A row does not exist.
        """

    @abstractmethod
    def block(self, start: int, stop: int) -> list[T]:
        """Return the values from row `start` up to, but not including, row `stop`; both lie in 0 to N."""

    @overload
    def __getitem__(self, row: int) -> T: ...
    @overload
    def __getitem__(self, row: slice) -> Self: ...
    def __getitem__(self, row: int | slice) -> T | Self:
        if isinstance(row, slice):
            return self.take(np.arange(len(self))[row])
        place = operator.index(row)
        if not -len(self) <= place < len(self):
            raise IndexError(f"row {place} of {len(self)}")
        place %= len(self)
        return self.block(place, place + 1)[0]

    def __iter__(self) -> Iterator[T]:
        for start in range(0, len(self), BLOCK):
            yield from self.block(start, min(start + BLOCK, len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Column | list | tuple):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(repr(value) for value in self.block(0, min(3, len(self))))
        return f"{type(self).__name__}({shown}{', ...' if len(self) > 3 else ''}; {len(self)} rows)"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(list(self), dtype)


class Strings(Column[str]):
    """Text, in an Arrow array.

    >>> names = Strings.of(["b", "a", "ü"])
    >>> names[2], names[:2] == ["b", "a"], names.take(np.array([1, 1])) == ["a", "a"]
    ('ü', True, True)
    """

    def __init__(self, values: pyarrow.Array | pyarrow.ChunkedArray):
        """Wrap text without copying it, if it is in one piece.

        Args:
            values: (N,) Arrow strings or large strings, none of them missing.
        """
        wide = values.cast(pyarrow.large_string())
        self.array = wide.combine_chunks() if isinstance(wide, pyarrow.ChunkedArray) else wide

    @classmethod
    def of(cls, values: Iterable[str]) -> Self:
        """Copy text into a column.

        Raises:
            UnicodeEncodeError: A value holds half of a surrogate pair, which UTF-8 cannot store.
        """
        rest = iter(values)
        blocks = iter(lambda: list(islice(rest, BLOCK)), [])
        arrays = [pyarrow.array(block, pyarrow.large_string()) for block in blocks]
        return cls(pyarrow.chunked_array(arrays, pyarrow.large_string()))

    @classmethod
    def shown(cls, values: Sequence[str]) -> Self:
        r"""Copy text into a column, with half of a surrogate pair as its escape.

        >>> print(Strings.shown(["a\ud800"])[0])
        a\ud800
        """
        try:
            return values if isinstance(values, cls) else cls.of(values)
        except UnicodeEncodeError:
            return cls.of(value.encode("utf-8", "backslashreplace").decode() for value in values)

    def __len__(self) -> int:
        return len(self.array)

    def take(self, rows: np.ndarray) -> Self:
        return type(self)(self.array.take(pyarrow.array(rows)))

    def block(self, start: int, stop: int) -> list[str]:
        return self.array.slice(start, stop - start).to_pylist()

    def __arrow_array__(self, type: pyarrow.DataType | None = None) -> pyarrow.Array:
        return self.array if type is None else self.array.cast(type)

    def replaced(self, rows: np.ndarray, values: Iterable[str]) -> Self:
        """Return the text with other values at some rows.

        Args:
            rows: (n,) integer rows, rising.
            values: (n,) the other values.
        """
        if not len(rows):
            return self
        mask = np.zeros(len(self), bool)
        mask[rows] = True
        return type(self)(pc.replace_with_mask(self.array, pyarrow.array(mask), type(self).of(values).array))

    def coded(self, part: Callable[[pyarrow.Array], pyarrow.Array]) -> "Coded":
        """Return a part of each value, with equal parts stored once and numbered as they first occur.

        Args:
            part: Maps Arrow strings (n,) to those of their parts (n,). It is called on a block of rows at a time.
        """
        rows = range(0, len(self), 4 * BLOCK)
        blocks = [part(self.array.slice(start, 4 * BLOCK)).dictionary_encode() for start in rows]
        if not blocks:
            return Coded(self, np.zeros(0, np.int64))
        chunks = pyarrow.chunked_array(blocks).unify_dictionaries().chunks
        return Coded(
            Strings(chunks[0].dictionary),
            np.concatenate([chunk.indices.to_numpy() for chunk in chunks]).astype(np.int64),
        )


class Coded(Column[str]):
    """Text with few different values: each is stored once, and a row is the number of its value.

    Attributes:
        names: (C,) different values.
        codes: (N,) int64 number of the value of each row, 0 to C - 1.
    """

    def __init__(self, names: Strings, codes: np.ndarray):
        self.names, self.codes = names, codes

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: np.ndarray) -> Self:
        return type(self)(self.names, self.codes[rows])

    def block(self, start: int, stop: int) -> list[str]:
        return self.names.take(self.codes[start:stop]).block(0, stop - start)

    def __arrow_array__(self, type: pyarrow.DataType | None = None) -> pyarrow.Array:
        return self.names.take(self.codes).__arrow_array__(type)


def join_strings(pieces: Sequence[Sequence[str]]) -> Strings:
    """Concatenate texts, at least one piece; see `Strings.shown`."""
    return Strings(pyarrow.chunked_array([Strings.shown(piece).array for piece in pieces]))


def take(values: Sequence[T], rows: np.ndarray) -> Sequence[T]:
    """Return the values of a sequence at `rows` (n,): as a column if it is one, otherwise as a list."""
    return values.take(rows) if isinstance(values, Column) else [values[row] for row in rows.tolist()]


def checked_rows(indices: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
    """Return indices as (n,) int64 rows from 0; negative indices count from the end.

    Args:
        indices: The indices.
        count: The number of rows that exist.

    Raises:
        TypeError: The indices are not whole numbers; a mask is none either.
        IndexError: An index is out of range.
    """
    rows = np.asarray(indices)
    if rows.size and rows.dtype.kind not in "iu":
        raise TypeError(f"rows need to be whole numbers, got {rows.dtype}: of a mask, pass `np.flatnonzero(mask)`.")
    rows = rows.astype(np.int64)
    outside = rows[(rows < -count) | (rows >= count)]
    if len(outside):
        raise IndexError(f"there are {count} rows, got the index {outside[0]}.")
    return np.where(rows < 0, rows + count, rows)


def true_rows(mask: pyarrow.Array) -> np.ndarray:
    """Return the rows (n,) at which Arrow booleans (N,) are True."""
    return np.flatnonzero(mask.to_numpy(zero_copy_only=False))


def rises(values: Strings) -> bool:
    """Return whether text is sorted, without equal values."""
    return pc.all(pc.less(values.array[:-1], values.array[1:]), min_count=0).as_py()


def rows_like(values: Strings, pattern: str) -> np.ndarray:
    """Return the rows (n,) whose text holds a match of a regular expression of RE2."""
    return true_rows(pc.match_substring_regex(values.array, pattern))


def first_rows(values: Strings) -> np.ndarray:
    """Return the first row (N,) int64 that holds the value of each row.

    >>> first_rows(Strings.of(["b", "a", "b"])).tolist()
    [0, 1, 0]
    """
    coded = values.coded(lambda part: part)
    first = np.empty(len(coded.names), np.int64)
    first[coded.codes[::-1]] = np.arange(len(values))[::-1]
    return first[coded.codes]


def plain_paths(told: Strings) -> Strings:
    r"""Return paths in their plain spelling: with "/" between the parts, and no part that is empty or ".".

    >>> list(plain_paths(Strings.of([r"ann\\1.png", "./bob//1.png"])))
    ['ann/1.png', 'bob/1.png']
    """
    rows = rows_like(told, UNUSUAL)
    return told.replaced(rows, (str(PurePosixPath(path.replace("\\", "/"))) for path in told.take(rows)))


def first_part(values: pyarrow.Array) -> pyarrow.Array:
    """Return what stands before the first "/" of Arrow strings (N,), or all of a string without one."""
    return pc.list_element(pc.split_pattern(values, "/", max_splits=1), 0)


def folder_part(values: pyarrow.Array) -> pyarrow.Array:
    """Return what stands before the last "/" of Arrow strings (N,), or nothing of a string without one."""
    before = pc.list_element(pc.split_pattern(values, "/", max_splits=1, reverse=True), 0)
    return pc.if_else(pc.match_substring(values, "/"), before, pyarrow.scalar("", values.type))
