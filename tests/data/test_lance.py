"""Lance data sets are pools of which only the rows that are asked for are read."""

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from forms import LIGHT, PICTURES, picture

from rsft import RejectionSampler
from rsft.data.convert import convert
from rsft.data.images import ImageSet, find_images
from rsft.data.stamps import is_same, stamp_of
from rsft.errors import InputError

TABLE = pyarrow.table(
    {
        "image": list(PICTURES.values()),
        "path": list(PICTURES),
        "identity": [item.partition("/")[0] for item in PICTURES],
        "light": list(LIGHT.values()),
    }
)


@pytest.fixture
def lance() -> Any:
    return pytest.importorskip("lance", reason="Lance is of the extra lance")


def contents(images: ImageSet) -> dict[str, bytes]:
    return {item: images.read_bytes(row) for row, item in enumerate(images.ids)}


def test_without_lance_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lance", None)
    with pytest.raises(InputError, match=r"pool.lance' needs Lance: pip install '.\[lance\]'"):
        find_images(tmp_path / "pool.lance")


def test_rows_are_pictures_with_the_ids_of_a_manifest(lance: Any, tmp_path: Path) -> None:
    lance.write_dataset(TABLE, tmp_path / "pool.lance", max_rows_per_file=2)
    images = find_images(tmp_path / "pool.lance", labelled=True)
    assert contents(images) == PICTURES
    assert dict(zip(images.ids, images.attributes["light"], strict=True)) == LIGHT
    assert contents(pickle.loads(pickle.dumps(images))) == PICTURES
    convert(images, tmp_path / "out" / "pool.csv")
    assert contents(find_images(tmp_path / "out" / "pool.csv")) == PICTURES


@pytest.mark.parametrize("column", ["bytes", "struct"])
def test_rows_without_a_path_are_named_by_their_number(lance: Any, tmp_path: Path, column: str) -> None:
    table = TABLE.drop_columns(["path", "light"])
    if column == "struct":
        kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
        rows = [{"bytes": content, "path": None} for content in PICTURES.values()]
        table = table.set_column(0, "image", pyarrow.array(rows, kind))
    lance.write_dataset(table, tmp_path / "pool.lance")
    found = contents(find_images(tmp_path / "pool.lance"))
    expected = {f"{item.partition('/')[0]}/{row:08d}": PICTURES[item] for row, item in enumerate(PICTURES)}
    assert found == expected


def test_only_accepted_rows_are_read(lance: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    big = [picture(0) + random.bytes(50_000) for _ in range(200)]
    lance.write_dataset(pyarrow.table({"image": big}), tmp_path / "pool.lance")
    images = find_images(tmp_path / "pool.lance")
    table = images.sources[0].table  # type: ignore[union-attr]
    from rsft.data.lance import _opened

    opened = _opened(table.name, table.version, __import__("os").getpid())
    opened.io_stats_incremental()
    accepted = list(RejectionSampler(np.full(200, 0.1), seed=0))
    assert [images.read_bytes(row) for row in accepted] == [big[row] for row in accepted]
    told = opened.io_stats_incremental()
    wanted = sum(len(big[row]) for row in accepted)
    assert wanted <= told.read_bytes < 1.5 * wanted < sum(map(len, big))


def test_the_version_that_was_listed_is_read(lance: Any, tmp_path: Path) -> None:
    lance.write_dataset(TABLE, tmp_path / "pool.lance")
    images = find_images(tmp_path / "pool.lance")
    stamp = stamp_of(images.sources[0])
    reversed_rows = TABLE.take(list(reversed(range(len(TABLE)))))
    lance.write_dataset(reversed_rows, tmp_path / "pool.lance", mode="overwrite")
    assert contents(images) == PICTURES
    again = find_images(tmp_path / "pool.lance")
    assert contents(again) == PICTURES  # by their paths
    assert is_same(stamp, again.sources[0])  # though its row and its version are others
    assert not is_same(stamp, again.sources[1])


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (TABLE.drop_columns(["image"]), "needs one column of pictures .*it has none"),
        (pyarrow.table({"a": [b"x"], "b": [b"y"]}), "needs one column of pictures .*it has a, b"),
        (pyarrow.table({"image": [b"x"], "label": [-1]}), r"row 1 has no label: leave such rows out"),
        (None, "cannot be read as a Lance data set: .*not found"),
    ],
)
def test_what_is_no_pool_is_refused(lance: Any, tmp_path: Path, table: Any, told: str) -> None:
    if table is not None:
        lance.write_dataset(table, tmp_path / "pool.lance")
    with pytest.raises(InputError, match=told) as error:
        find_images(tmp_path / "pool.lance")
    assert "/home/runner" not in str(error.value)
