"""Feature matrices and labels are read or mapped from files, and malformed files are rejected."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from safetensors.numpy import save_file

from rsft.data.matrix import is_matrix, read_labels, read_matrix
from rsft.errors import InputError
from rsft.ratio.rows import Rows

ROWS = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)


def parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pa.parquet.write_table(pa.table(columns), path, **options)
    return path


def read(source: str | Path) -> np.ndarray:
    return np.asarray(Rows(read_matrix(source).rows, "test").take(np.arange(50)))


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", ROWS)
    save_file({"x": ROWS, "other": ROWS[:3]}, tmp_path / "two.safetensors")
    save_file({"x": ROWS}, tmp_path / "one.safetensors")
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(ROWS.ravel()), 4)
    parquet(tmp_path / "list.parquet", {"e": list(ROWS), "light": ["day"] * 50}, row_group_size=7)
    parquet(tmp_path / "lists.parquet", {"e": fixed, "f": fixed})
    parquet(tmp_path / "columns.parquet", {**{f"c{k}": ROWS[:, k] for k in range(4)}, "light": ["day"] * 50})
    sources = ("rows.npy", "two.safetensors:x", "one.safetensors", "list.parquet", "lists.parquet:e", "columns.parquet")
    for source in sources:
        assert is_matrix(tmp_path / source), source
        np.testing.assert_array_equal(read(tmp_path / source), ROWS, err_msg=source)
    assert read_matrix(tmp_path / "columns.parquet").columns == ["c0", "c1", "c2", "c3"]
    parquet(tmp_path / "faces.parquet", {"path": ["a.jpg"], "size": [1.0]})
    assert not is_matrix(tmp_path / "faces.parquet")


def test_large_arrays_are_memory_mapped(tmp_path: Path) -> None:
    path = tmp_path / "large.npy"
    np.lib.format.open_memmap(path, "w+", np.float16, (100_000_000, 64))  # a sparse file of 12.8 GB
    rows = read_matrix(path).rows
    assert isinstance(rows, np.memmap)
    assert rows.shape == (100_000_000, 64)
    path.unlink()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.npy", None, "cannot read"),
        ("broken.npy", b"not an array", "cannot read"),
        ("objects.npy", np.array([{}, None], dtype=object), "cannot read"),
        ("vector.npy", np.zeros(3), r"needs rows of features, an array \(N, D\), got shape \(3,\)"),
        ("empty.npy", np.zeros((0, 4)), r"got shape \(0, 4\)"),
        ("narrow.npy", np.zeros((4, 0)), r"got shape \(4, 0\)"),
        ("complex.npy", np.zeros((4, 2), complex), "real numbers"),
        ("swapped.npy", np.zeros((4, 2), ">f4"), "byte order"),
        ("broken.safetensors", b"no", "cannot read"),
        ("broken.parquet", b"no", "cannot read"),
        ("text.parquet", {"a": ["x"]}, "columns of numbers; it has a: string"),
        ("two.parquet", {"a": [[1.0]], "b": [[1.0]]}, "one column of lists"),
        ("ragged.parquet", {"a": [[1.0], [1.0], [1.0, 2.0]]}, "such as in row 2"),
        ("missing.parquet", {"a": [[1.0], None]}, "such as in row 1"),
        ("zero.parquet", {"a": pa.array([], pa.float32())}, "got shape"),
    ],
)
def test_files_without_a_matrix_of_numbers_are_rejected(name: str, content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        parquet(path, content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(InputError, match=message):
        read_matrix(path)


def test_the_error_for_a_wrong_key_lists_the_existing_keys(tmp_path: Path) -> None:
    save_file({"x": ROWS, "y": ROWS}, tmp_path / "two.safetensors")
    np.save(tmp_path / "rows.npy", ROWS)
    for source in ("two.safetensors", "two.safetensors:z"):
        with pytest.raises(InputError, match="it has x, y"):
            read_matrix(tmp_path / source)
    with pytest.raises(InputError, match="single array: remove ':x'"):
        read_matrix(f"{tmp_path}/rows.npy:x")


def test_a_missing_number_is_reported_with_its_row(tmp_path: Path) -> None:
    values: list[float | None] = [1.0] * 50
    values[7] = None
    rows = read_matrix(parquet(tmp_path / "gap.parquet", {"a": values, "b": [2] * 50})).rows
    with pytest.raises(ValueError, match="the first at row 7"):
        Rows(rows, "test").take(np.arange(50))


def test_labels_are_read_from_arrays_and_columns(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.arange(3))
    (tmp_path / "labels.csv").write_text("name,age\na,1\nb,2\na,3\n")
    assert read_labels(tmp_path / "labels.npy").tolist() == [0, 1, 2]
    assert read_labels(f"{tmp_path}/labels.csv:name").tolist() == ["a", "b", "a"]
    with pytest.raises(InputError, match="named after a colon"):
        read_labels(tmp_path / "labels.csv")
    np.save(tmp_path / "floats.npy", np.zeros(3))
    with pytest.raises(InputError, match="needs integers"):
        read_labels(tmp_path / "floats.npy")


def test_rows_without_a_label_are_refused_and_not_one_class(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.array([0, 1, -1, 1]))
    with pytest.raises(InputError, match=r"labels\.npy' has no label for 1 of 4 rows, the first in row 2"):
        read_labels(tmp_path / "labels.npy")
    for missing in ("", "nan", "-1", "NA"):
        (tmp_path / "labels.csv").write_text(f"name,age\na,1\n{missing},2\n{missing},3\n")
        with pytest.raises(InputError, match=r"csv:name' has no label for 2 of 3 rows, the first in .* line 3"):
            read_labels(f"{tmp_path}/labels.csv:name")
    parquet(tmp_path / "labels.parquet", {"name": [1.0, 2.0]})
    assert read_labels(tmp_path / "labels.parquet").tolist() == ["1", "2"]
    parquet(tmp_path / "faces.parquet", {"Path": ["a.jpg"], "size": [1.0]})
    assert not is_matrix(tmp_path / "faces.parquet")
