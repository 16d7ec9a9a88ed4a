"""Listing a pool: the order and the numbers of pictures, the fingerprint, the search for files, and the memory."""

import datetime
import os
import sys
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from forms import FORMS, add, picture

from rsft.data import folder as folder_module
from rsft.data.columns import Strings
from rsft.data.folder import FEW_ENTRIES, MOST_ENTRIES, absent_files
from rsft.data.images import ImageSet, find_images
from rsft.data.manifest import read_attributes
from rsft.data.table import read_table
from rsft.errors import InputError
from rsft.face.evaluation.pairs import AllPairs
from rsft.face.evaluation.protocol import Protocol, read_protocol, without_overlap

# sorted differently by code point than by UTF-16, by locale, by folder first, or without regard to case
NAMES = [
    "a/x.png", "a-b/x.png", "a.b/x.png", "A/x.png", "ab/x.png", "a b/x.png", "é/x.png", "e/x.png", "z/x.png",
    "\uffee/x.png", "😀/x.png", "10/x.png", "9/x.png", "a/x/y.png", "a/x-y.png", "a/X.PNG", "a/é.jpeg", "a/b..png",
]  # fmt: skip


def write(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def write_manifest(file: Path, **columns: object) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file


def in_memory(ids: list[str]) -> ImageSet:
    return ImageSet(Path("memory"), ids, [item.encode() for item in ids])  # type: ignore[arg-type]


def test_ids_are_sorted_as_python_sorts_them(tmp_path: Path) -> None:
    root = write(tmp_path / "faces", NAMES)
    manifest = write_manifest(root / "list.parquet", path=NAMES)
    for images in (find_images(root, labelled=True), find_images(manifest, labelled=True)):
        assert images.ids == sorted(NAMES)
        assert list(images.sources) == [root / item for item in sorted(NAMES)]


def test_people_are_runs_numbered_from_zero(tmp_path: Path) -> None:
    images = find_images(write(tmp_path / "faces", NAMES))
    steps = np.diff(images.people)
    assert images.people[0] == 0
    assert set(steps.tolist()) == {0, 1}
    assert [images.people_names[number] for number in images.people] == [item.split("/")[0] for item in images.ids]
    assert images.identities == [item.split("/")[0] for item in images.ids]
    # in order of the ids, which is not that of the names: "-" sorts before "/"
    assert images.people_names.index("a-b") < images.people_names.index("a")


def test_people_of_any_order_are_numbered_as_they_occur() -> None:
    images = in_memory(["b/1", "a", "b/2", "a/1", "a"])
    assert images.people_names == ["b", "a"]
    assert images.people.tolist() == [0, 1, 0, 1, 1]


@pytest.mark.parametrize("form", FORMS)
def test_a_subset_takes_any_kind_of_whole_numbers(form: str, tmp_path: Path) -> None:
    images = find_images(FORMS[form](tmp_path))
    for rows in ([2, 0, 2], np.array([2, 0, 2], np.int32), np.array([2, 0, 2], np.uint64), [-2, 0, -2]):
        part = images.subset(rows)
        assert list(part.ids) == [images.ids[row] for row in (2, 0, 2)]
        assert part.people_names == list(dict.fromkeys(part.identities))
        assert [part.read_bytes(row) for row in range(3)] == [images.read_bytes(row) for row in (2, 0, 2)]
    assert len(images.subset([])) == 0
    assert images.subset(range(1, 3)).subset([1]).ids == [images.ids[2]]


def test_a_set_made_by_hand_is_one_of_columns() -> None:
    images = in_memory(["b/1", "a/1"])
    assert isinstance(images.ids, Strings)
    assert images.subset([1]).read_bytes(0) == b"a/1"
    with pytest.raises(InputError, match=r"'memory' holds 'a\\udcff', a name that is not valid UTF-8"):
        ImageSet(Path("memory"), ["a\udcff"], [b""])  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMS)
def test_the_fingerprint_does_not_depend_on_where_a_set_lies(form: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = FORMS[form](tmp_path / "a"), FORMS[form](tmp_path / "b")
    for path in [path for root in (first, second) for path in root.parent.rglob("*")]:
        os.utime(path, ns=(0, 0))
    assert find_images(first).fingerprint() == find_images(second).fingerprint()
    assert len(find_images(first).fingerprint()) == 16


def test_the_fingerprint_tells_ids_and_their_order_apart() -> None:
    sets = [
        ["a/1", "b/1"], ["b/1", "a/1"], ["a/1", "b/2"], ["a/1"], ["a/1", "b/1", "c/1"], ["a/1b", "/1"], ["a/", "1b/1"],
        ["a/1", "b/1", ""], ["", "a/1", "b/1"], ["é/1", "b/1"],
    ]  # fmt: skip
    contents = {tuple(ids): ImageSet(Path(), ids, [b"x"] * len(ids)).fingerprint() for ids in sets}  # type: ignore[arg-type]
    assert len(set(contents.values())) == len(sets)


def test_the_fingerprint_is_of_the_pictures_of_a_subset_alone() -> None:
    images = in_memory([f"{number:04d}/x" for number in range(500)])
    part = images.subset(np.arange(100, 300))
    assert part.fingerprint() == in_memory([f"{number:04d}/x" for number in range(100, 300)]).fingerprint()
    sliced = ImageSet(Path(), images.ids[100:300], images.sources[100:300])
    assert part.fingerprint() == sliced.fingerprint()


def test_the_fingerprint_looks_at_the_size_and_time_of_the_files_that_it_probes(tmp_path: Path) -> None:
    images = find_images(write(tmp_path / "faces", [f"p/{number:03d}.png" for number in range(640)]))
    told = images.fingerprint()
    assert find_images(tmp_path / "faces").fingerprint() == told

    def changed(number: int, change: Callable[[Path], object]) -> bool:
        path = tmp_path / "faces" / "p" / f"{number:03d}.png"
        state, content = path.stat(), path.read_bytes()
        change(path)
        other = images.fingerprint()
        path.write_bytes(content)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        assert images.fingerprint() == told
        return other != told

    def grow(path: Path) -> None:
        state = path.stat()
        path.write_bytes(b"longer")
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    for number in (0, 639):  # the first and the last are always among those probed
        assert changed(number, grow)
        assert changed(number, lambda path: os.utime(path, ns=(1, 1)))
        assert changed(number, Path.unlink)
    assert sum(changed(number, grow) for number in range(640)) == 64


def test_a_folder_lists_what_a_plain_walk_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    parts = ["a", "b", "a-b", "é", "c.png", ".jpg", "..png"]
    endings = ["x.png", "x.PNG", "é.JpEg", ".png", "..png", "a.b.tiff", "none", "x.txt", "png", "x.webp", "x.Tif"]
    for _ in range(400):
        path = tmp_path.joinpath(*generator.choice(parts, generator.integers(0, 4)), generator.choice(endings))
        if not path.exists() and not any(above.is_file() for above in path.parents):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    suffixes = (".png", ".jpeg", ".jpg", ".tif", ".tiff", ".webp")
    found = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    shown = [path for path in found if not any(part.startswith(".") for part in path.parts)]
    expected = sorted(path.as_posix() for path in shown if path.suffix.lower() in suffixes)
    assert len(expected) > 50
    assert find_images(tmp_path).ids == expected
    monkeypatch.setattr(folder_module, "BLOB_BYTES", 10)
    assert find_images(tmp_path).ids == expected


@pytest.mark.parametrize("batch", [1, 7, 1 << 20])
def test_files_that_are_absent_are_those_that_is_file_denies(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "BATCH_ROWS", batch)
    generator = np.random.default_rng(0)
    names = [f"{folder}{number}.png" for folder in ("", "a/", "a/b/", "c d/é/", "e/") for number in range(12)]
    write(tmp_path, [name for name in names if generator.random() < 0.6])
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "good.png").symlink_to(tmp_path / "a" / "target.txt")
    (tmp_path / "linked").symlink_to(tmp_path / "a", target_is_directory=True)
    write(tmp_path, ["a/target.txt"])
    asked = [
        *names,
        "folder.png",
        "broken.png",
        "good.png",
        "linked/0.png",
        "linked/b/1.png",
        "none/x.png",
        "a/" * 3000,
    ]
    asked = [asked[row] for row in generator.permutation(len(asked))] * 2
    absent = absent_files(tmp_path, Strings.of(asked)).tolist()
    assert absent == [row for row, name in enumerate(asked) if not os.path.isfile(tmp_path / name)]
    assert 10 < len(absent) < len(asked) - 10
    assert absent_files(tmp_path, Strings.of([])).tolist() == []


def test_a_few_files_of_a_large_folder_are_found(tmp_path: Path) -> None:
    write(tmp_path, [f"p/{number}.png" for number in range(FEW_ENTRIES + 2 * MOST_ENTRIES + 10)])
    assert absent_files(tmp_path, Strings.of(["p/7.png", "p/x.png"])).tolist() == [1]


def test_paths_of_a_manifest_are_spelled_plainly(tmp_path: Path) -> None:
    told = ["./a/1.png", "a\\2.png", "a//3.png", "a/./4.png", "a/5.png/", "a/6.png", "a/..7.png"]
    ids = ["a/..7.png", *(f"a/{number}.png" for number in range(1, 7))]
    write(tmp_path, ids)
    images = find_images(write_manifest(tmp_path / "list.parquet", path=told, number=list(range(7))))
    assert images.ids == ids
    assert images.attributes["number"] == list("6012345")


def test_an_identity_goes_before_paths_that_do_not_begin_with_it(tmp_path: Path) -> None:
    paths = ["a/1.png", "a/2.png", "a/b/3.png", "4.png", "a/5.png"]
    write(tmp_path, paths)
    manifest = write_manifest(tmp_path / "list.parquet", path=paths, identity=["a", "b", "a/b", "a", "aa"])
    images = find_images(manifest)
    assert images.ids == ["a/1.png", "a/4.png", "a/b/3.png", "aa/a/5.png", "b/a/2.png"]
    assert [str(path) for path in images.sources] == [
        str(tmp_path / path) for path in ("a/1.png", "4.png", "a/b/3.png", "a/5.png", "a/2.png")
    ]
    assert all(images.read_bytes(row) == b"x" for row in range(5))
    write_manifest(manifest, path=paths, identity=["a", "b", "a/b", "a/b", "."])
    with pytest.raises(InputError, match=r"'4.png' needs an identity that can name a folder, without '/', got 'a/b'"):
        find_images(manifest)


def test_columns_of_parquet_are_what_str_makes_of_them(tmp_path: Path) -> None:
    columns: dict[str, list] = {
        "text": ["a", None, "é"], "whole": [1, None, -3], "real": [0.1, 1e20, None], "truth": [True, None, False],
        "day": [datetime.date(2024, 1, 2), None, None], "list": [[1], None, []], "raw": [b"x", None, b""],
    }  # fmt: skip
    table = pyarrow.table(columns).append_column("kind", pyarrow.array(["x", None, "x"]).dictionary_encode())
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    expected = {name: ["" if value is None else str(value) for value in values] for name, values in columns.items()}
    read = read_table(tmp_path / "x.parquet")
    assert {name: read.text(name) for name in read.columns} == expected | {"kind": ["x", "", "x"]}


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    broken = pyarrow.Array.from_buffers(pyarrow.string(), 1, pyarrow.array([b"a\xff.png"]).buffers())
    manifest = write_manifest(tmp_path / "x.parquet", path=broken)
    with pytest.raises(InputError, match=r"cannot read .*x\.parquet"):
        find_images(manifest)


def test_the_most_frequent_of_several_names_that_are_not_unique_is_told(tmp_path: Path) -> None:
    write(tmp_path, ["a/1.png", "b/1.png", "c/1.png"])
    paths = ["c/1.png", "b/1.png", "a/1.png", "b/1.png", "a/1.png", "c/1.png", "b/1.png"]
    for extra, words in (([], "3 pictures named 'b/1.png'"), (["c/1.png"], "3 pictures named 'c/1.png'")):
        with pytest.raises(InputError, match=words):
            find_images(write_manifest(tmp_path / "list.parquet", path=paths + extra))


def test_the_last_of_equal_members_counts(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for number, name in enumerate(("a/1.png", "b/1.png", "./a/1.png")):
            add(archive, name, picture(number))
    images = find_images(tmp_path / "x.tar")
    assert images.ids == ["a/1.png", "b/1.png"]
    assert [images.read_bytes(row) for row in range(2)] == [picture(2), picture(1)]


def test_overlap_is_found_by_whole_names(tmp_path: Path) -> None:
    pool = find_images(write(tmp_path / "faces", NAMES))
    protocol = Protocol(in_memory(["a/1", "zz/1"]), AllPairs(np.array([0, 1])), ["a", "zz"])
    with pytest.raises(InputError, match="2 identities of the pool are also evaluated, such as 'a': "):  # and 'A'
        without_overlap(pool, {"x": protocol}, allow=False, drop=False)
    assert without_overlap(pool, {"x": protocol}, allow=True, drop=False) is pool
    left = without_overlap(pool, {"x": protocol}, allow=False, drop=True)
    assert left.ids == [item for item in pool.ids if not item.startswith(("a/", "A/"))]
    everyone = Protocol(pool, AllPairs(pool.people), pool.identities)
    with pytest.raises(InputError, match="nothing is left to train on"):
        without_overlap(pool, {"x": everyone}, allow=False, drop=True)
    own = read_protocol(tmp_path / "faces").pairs
    assert isinstance(own, AllPairs)
    np.testing.assert_array_equal(own.identity, np.unique(list(pool.identities), return_inverse=True)[1])


def test_overlap_is_found_in_other_spellings_of_a_name(tmp_path: Path) -> None:
    pool = find_images(write(tmp_path / "faces", ["Ann_Lee/1.png", "Bob/1.png", "bob/2.png", "Zoë/1.png"]))
    protocol = Protocol(in_memory(["x/1"]), AllPairs(np.array([0])), ["ann lee", "bob", "ZOË"])
    with pytest.raises(InputError, match="4 identities of the pool are also evaluated, such as 'bob': pass"):
        without_overlap(pool, {"x": protocol}, allow=False, drop=False)
    other = Protocol(in_memory(["x/1"]), AllPairs(np.array([0])), ["ann lee"])
    with pytest.raises(
        InputError, match="1 identities of the pool are also evaluated, such as 'Ann_Lee', there as 'ann"
    ):
        without_overlap(pool, {"x": other}, allow=False, drop=False)
    left = without_overlap(pool, {"x": other}, allow=False, drop=True)
    assert left.ids == ["Bob/1.png", "Zoë/1.png", "bob/2.png"]


def listed(form: str, root: Path, count: int) -> Path:
    """Write a pool of `count` empty files, 20 of a person, in a form that is to be listed in columns."""
    names = [f"p{number // 20:06d}/{number:08d}.jpg" for number in range(count)]
    if form == "tar":
        with tarfile.open(root / "x.tar", "w") as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(name))
        return root / "x.tar"
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return write_manifest(root / "list.parquet", path=names) if form == "manifest" else root


@pytest.mark.parametrize("form", ["folder", "manifest", "tar"])
def test_a_listed_picture_holds_no_python_object(form: str, tmp_path: Path) -> None:
    count = 5000
    path = listed(form, tmp_path, count)
    find_images(path)  # imports, and fills caches
    before = sys.getallocatedblocks()
    images = find_images(path, labelled=True)
    held = sys.getallocatedblocks() - before
    assert len(images) == count
    assert held < count / 10


@pytest.mark.parametrize("form", ["folder", "manifest"])
def test_the_peak_of_memory_rises_by_few_bytes_a_picture(form: str, tmp_path: Path) -> None:
    """Ids are of 20 bytes. With lists of strings and paths the rise was over 400 bytes."""

    def peak(count: int) -> int:
        (tmp_path / str(count)).mkdir()
        path = listed(form, tmp_path / str(count), count)
        find_images(path)
        arrow = pyarrow.total_allocated_bytes()
        tracemalloc.start()
        images = find_images(path, labelled=True)
        most = tracemalloc.get_traced_memory()[1] + pyarrow.total_allocated_bytes() - arrow
        tracemalloc.stop()
        assert len(images) == count
        return most

    rise = (peak(8000) - peak(2000)) / 6000
    assert rise < 250, rise


def test_attributes_come_in_the_order_of_the_items(tmp_path: Path) -> None:
    """A row may be repeated; rows for other items are left out."""
    (tmp_path / "a.csv").write_text("path,light\na,dim\nb,bright\nc,x\na,dim\n")
    assert read_attributes(tmp_path / "a.csv", ["b", "a", "b"]) == {"light": ["bright", "dim", "bright"]}
    with pytest.raises(InputError, match="no row for 2 pictures, such as 'd'"):
        read_attributes(tmp_path / "a.csv", ["a", "d", "e"])
    (tmp_path / "a.csv").write_text("path,light\n")
    with pytest.raises(InputError, match="needs a header"):
        read_attributes(tmp_path / "a.csv", ["a"])
