"""Columns are the lists that they stand for."""

import pickle
from pathlib import Path

import numpy as np
import pyarrow
import pytest

from rsft.data.columns import (
    BLOCK,
    Coded,
    Column,
    Strings,
    checked_rows,
    first_part,
    folder_part,
    join_strings,
    rows_like,
)
from rsft.data.sources import Files, Part, Parts, columnar, join_sources

WORDS = ["b", "", "ü/x", "b", "😀", "a/b/c", "\uffff"]
PARTS = [Part(Path("x.tar"), 5, 1), Part(Path("y.tar"), 0, 1 << 40), Part(Path("x.tar"), 1 << 41, 0)]
COLUMNS: list[tuple[Column, list]] = [
    (Strings.of(WORDS), WORDS),
    (Strings(pyarrow.array(["x", *WORDS, "y"]).slice(1, len(WORDS))), WORDS),
    (Strings(pyarrow.chunked_array([WORDS[:2], [], WORDS[2:]], pyarrow.string())), WORDS),
    (Coded(Strings.of(["b", "a"]), np.array([1, 0, 0, 1])), ["a", "b", "b", "a"]),
    (Files(Path("faces"), Strings.of(["a/1.png", "ü.png"])), [Path("faces/a/1.png"), Path("faces/ü.png")]),
    (Parts.of(PARTS), PARTS),
    (Strings.of([]), []),
]


@pytest.mark.parametrize(("column", "values"), COLUMNS)
def test_a_column_behaves_like_its_list(column: Column, values: list) -> None:
    assert list(column) == values
    assert len(column) == len(values)
    assert column == values == column
    assert column == column[:]
    assert column != [*values, values]
    assert column != "text"
    assert [column[row] for row in range(-len(values), len(values))] == values * 2
    for part in (slice(1, None), slice(None, None, -1), slice(-1, None), slice(5, 2)):
        assert column[part] == values[part]
    for row in (len(values), -len(values) - 1):
        with pytest.raises(IndexError):
            column[row]
    rows = np.array([0, 0, len(values) - 1][: len(values)], np.int64)
    assert column.take(rows) == [values[row] for row in rows]
    assert pickle.loads(pickle.dumps(column)) == values
    assert all(value in column for value in values)


@pytest.mark.parametrize("count", [BLOCK - 1, BLOCK, BLOCK + 1, 9 * BLOCK // 2])
def test_values_do_not_depend_on_blocks(count: int) -> None:
    words = [f"p{number % 1000}/{number}" for number in range(count)]
    column = Strings.of(iter(words))
    assert list(column) == words
    people = column.coded(first_part)
    assert list(people) == [word.split("/")[0] for word in words]
    assert list(people.names) == [f"p{number}" for number in range(1000)]


def test_parts_of_names_are_those_of_python() -> None:
    names = ["a/b/c", "a", "", "/a", "a/", "ü/😀/x", "a//b"]
    array = Strings.of(names).array
    assert first_part(array).to_pylist() == [name.partition("/")[0] for name in names]
    assert folder_part(array).to_pylist() == [name.rpartition("/")[0] for name in names]


def test_columns_are_joined_in_order() -> None:
    assert join_strings([["a"], Strings.of(["b", "c"]), []]) == ["a", "b", "c"]
    assert join_sources([Parts.of(PARTS), Parts.of(PARTS[1:])]) == PARTS + PARTS[1:]
    mixed = join_sources([Parts.of(PARTS), [b"x"]])
    assert mixed == [*PARTS, b"x"]
    assert columnar(mixed) is mixed
    assert isinstance(columnar(PARTS), Parts)


def test_other_values_replace_those_of_some_rows() -> None:
    column = Strings.of(WORDS)
    assert column.replaced(np.array([1, 5]), ["é", "longer than before"])[:6] == [
        "b",
        "é",
        "ü/x",
        "b",
        "😀",
        "longer than before",
    ]
    assert column.replaced(np.array([], np.int64), []) is column
    assert rows_like(column, "b$").tolist() == [0, 3]


def test_half_a_surrogate_pair_is_shown_or_refused() -> None:
    assert Strings.shown(["a", "b\udcff"]) == ["a", "b\\udcff"]
    with pytest.raises(UnicodeEncodeError):
        Strings.of(["b\udcff"])


def test_a_column_becomes_a_numpy_and_an_arrow_array() -> None:
    for column, values in COLUMNS[:4]:
        assert np.asarray(column).tolist() == values
        assert pyarrow.table({"x": column})["x"].to_pylist() == values


def test_rows_are_whole_numbers_in_range() -> None:
    assert checked_rows(range(2), 3).tolist() == [0, 1]
    assert checked_rows([-1, 0], 3).tolist() == [2, 0]
    assert checked_rows(np.array([2], np.uint64), 3).tolist() == [2]
    assert checked_rows([], 3).tolist() == []
    for wrong in ([3], [-4]):
        with pytest.raises(IndexError, match=r"there are 3 rows, got the index"):
            checked_rows(wrong, 3)
    for mask in (np.array([True, False, True]), [0.5]):
        with pytest.raises(TypeError, match=r"np\.flatnonzero"):
            checked_rows(mask, 3)  # type: ignore[arg-type]
