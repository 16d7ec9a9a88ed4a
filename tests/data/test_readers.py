"""All storage forms pass the same tests, and each kind of damage gives a one-line error."""

import json
import struct
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from forms import (
    FORMS,
    LIGHT,
    MAGIC,
    PICTURES,
    add,
    as_csv,
    as_rec,
    as_rec_with_header,
    as_rec_with_split_records,
    as_shards,
    picture,
    record,
    write_bin,
    write_rec,
)

from rsft.data.images import ImageSet, decode, find_images
from rsft.errors import InputError, UnreadableImageError


def contents(images: ImageSet) -> list[tuple[str, bytes]]:
    return sorted((person, images.read_bytes(row)) for row, person in enumerate(images.identities))


EXPECTED = sorted((item.split("/")[0], content) for item, content in PICTURES.items())


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pictures_and_identities(form: str, tmp_path: Path) -> None:
    images = find_images(FORMS[form](tmp_path), labelled=True)
    assert contents(images) == EXPECTED
    assert list(images.ids) == sorted(images.ids)
    assert images.identities == [item.split("/")[0] for item in images.ids]
    by_content = {content: decode(content) for content in PICTURES.values()}
    for row in range(len(images)):
        np.testing.assert_array_equal(images.read(row), by_content[images.read_bytes(row)])


@pytest.mark.parametrize("form", FORMS)
def test_ids_do_not_depend_on_the_folder_of_the_pool(form: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b with é").mkdir()
    first, second = (find_images(FORMS[form](tmp_path / name)) for name in ("a", "b with é"))
    assert list(first.ids) == list(second.ids)


@pytest.mark.parametrize("form", FORMS)
def test_a_subset_keeps_ids_contents_and_attributes_aligned_and_is_thread_safe(form: str, tmp_path: Path) -> None:
    images = find_images(FORMS[form](tmp_path))
    rows = [3, 0, 2]
    part = images.subset(rows)
    assert list(part.ids) == [images.ids[row] for row in rows]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(part.read_bytes, [0, 1, 2] * 20)) == [images.read_bytes(row) for row in rows] * 20
    assert all(values == [images.attributes[name][row] for row in rows] for name, values in part.attributes.items())


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_attributes_stay_aligned_with_their_pictures(form: str, tmp_path: Path) -> None:
    images = find_images(FORMS[form](tmp_path))
    light = {content: LIGHT[item] for item, content in PICTURES.items()}
    assert list(images.attributes) == ["light"]
    assert images.attributes["light"] == [light[images.read_bytes(row)] for row in range(len(images))]


def test_a_sample_without_an_attribute_has_an_empty_one(tmp_path: Path) -> None:
    images = find_images(as_shards(tmp_path))
    told = {images.read_bytes(row): light for row, light in enumerate(images.attributes["light"])}
    assert [told[content] for content in PICTURES.values()] == ["day", "night", "", ""]


def test_a_manifest_without_identities_takes_them_from_the_folders(tmp_path: Path) -> None:
    as_csv(tmp_path)
    (tmp_path / "faces" / "list.csv").write_text("path\n9/a.png\n./10//a.png\n", encoding="utf-8-sig")
    images = find_images(tmp_path / "faces" / "list.csv", labelled=True)
    assert list(images.ids) == ["10/a.png", "9/a.png"]


def test_split_records_are_joined(tmp_path: Path) -> None:
    """The magic number occurs at multiples of 4, once in the middle of a picture and twice in a row."""
    item = "10/a.png"
    magic = struct.pack("<I", MAGIC)
    content = PICTURES[item] + bytes(-len(PICTURES[item]) % 4)
    tricky = {item: content + magic + b"1234" + magic + magic + b"end", "9/a.png": PICTURES["9/a.png"]}
    images = find_images(as_rec_with_split_records(tmp_path, tricky))
    assert contents(images) == sorted((name.split("/")[0], content) for name, content in tricky.items())


def test_an_lst_beside_a_rec_names_its_pictures_if_it_matches(tmp_path: Path) -> None:
    path = FORMS["rec with list"](tmp_path)
    assert list(find_images(path).ids) == sorted(PICTURES)
    numbers = [f"{item.split('/')[0]}/{key:08d}{Path(item).suffix}" for key, item in enumerate(PICTURES, 3)]
    text = (tmp_path / "train.lst").read_text()
    for other in (
        text.replace("\t10/", "\tphotos/10/").replace("\t9/", "\tphotos/9/"),  # one folder for two labels
        text.replace("\t10/a", "\t11/a"),  # two folders for one label
        "0\t/images/ann/1.jpg\t4\n",  # insightface's format: aligned, path, label
        "no list",
    ):
        (tmp_path / "train.lst").write_text(other)
        assert list(find_images(path).ids) == sorted(numbers)
    for other in (text.replace("10.0", "8.0"), text.splitlines()[0]):
        (tmp_path / "train.lst").write_text(other)
        with pytest.raises(InputError, match=r"does not fit its .rec"):
            find_images(path)
    (tmp_path / "train.lst").write_text(text.replace("\t10/", "\t../10/").replace("\t9/", "\tx/9/"))
    with pytest.raises(InputError, match="must not lead out"):
        find_images(path)


def test_the_recordio_fixture_is_read(development_data: Path) -> None:
    images = find_images(development_data / "recordio-fixture" / "train.rec", labelled=True)
    assert images.identities == ["0"] * 4 + ["1"] * 4
    assert list(images.ids)[:2] == ["0/00000000.jpg", "0/00000001.jpg"]
    assert all(images.read(row).shape[2] == 3 for row in range(8))


@pytest.mark.parametrize("keep", [1, 10, 100, 200, -1])
def test_a_truncated_rec_is_reported_as_truncated(keep: int, tmp_path: Path) -> None:
    path = as_rec(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"train.rec' is truncated.*record"):
        find_images(path)


def edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    path.write_text("\n".join(change(path.read_text().splitlines())))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: lines[:-1], "the index has no record at byte"),
        (lambda lines: lines[1:], "the index has no record at byte 0"),
        (lambda lines: [line.replace("\t0", "\t4") for line in lines], "at byte 4 there is no record 3"),
        (lambda lines: [*lines[:-1], lines[-1] + "0000"], "truncated: record 6 lies beyond"),
        (lambda lines: [*lines, lines[0]], "keys that occur once"),
        (lambda lines: [*lines, "x"], "lines of a key, a tab and an offset"),
        (lambda lines: [], "is empty"),
    ],
)
def test_an_index_that_does_not_match_is_rejected(
    change: Callable[[list[str]], list[str]], words: str, tmp_path: Path
) -> None:
    path = as_rec(tmp_path)
    edit(path.with_suffix(".idx"), change)
    with pytest.raises(InputError, match=words):
        find_images(path)


def test_records_not_in_the_format_of_insightface_are_rejected(tmp_path: Path) -> None:
    good = record(0, 1, picture(0))
    header = record(2, 0, b"", (4, 5))
    for records, words in (
        ({0: good, 1: record(0, 0.5, picture(1))}, "record 1 needs a whole number as label, got 0.5"),
        ({0: good, 1: record(0, float("nan"), picture(1))}, "whole number"),
        ({0: good, 1: record(0, 1, b"")}, "record 1 holds no picture"),
        ({0: good, 1: record(4_000_000_000, 1, b"")}, "promises 4000000000 labels"),
        ({0: struct.pack("<II", MAGIC, 3) + b"abc\0"}, "too short"),
        ({0: struct.pack("<II", MAGIC, 2 << 29 | 4) + b"abcd"}, "there is no record 0"),
        ({0: header, 1: good, 2: good}, "promises 3 pictures, but record 3 is missing"),
        ({0: record(2, 0, b"", (1e30, 5)), 1: good}, "promises .* pictures, but record 2 is missing"),
        ({0: record(2, 0, b"", (float("inf"), 5)), 1: good}, "record 0 needs a whole number"),
        ({0: record(2, 0, b"", (1, 5)), 1: good}, "holds no picture"),
    ):
        with pytest.raises(InputError, match=words):
            find_images(write_rec(tmp_path / "x.rec", records))
    path = as_rec_with_header(tmp_path)
    path.with_suffix(".idx").unlink()
    with pytest.raises(InputError, match="needs its index beside it"):
        find_images(path)


def test_random_damage_to_a_rec_never_raises_an_unexpected_error(tmp_path: Path) -> None:
    path = as_rec(tmp_path)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[int(generator.integers(len(whole)))] = int(generator.integers(256))
        path.write_bytes(damaged)
        try:
            images = find_images(path)
            for row in range(len(images)):
                images.read(row)
        except (InputError, UnreadableImageError):
            refused += 1
    assert refused > 20


def test_malformed_manifests_and_paths_outside_the_folder_are_rejected(tmp_path: Path) -> None:
    as_csv(tmp_path)
    (tmp_path.parent / "outside.png").write_bytes(picture(0))
    path = tmp_path / "bad.csv"
    for text, words in (
        ("path\n../outside.png\n", "must lie below the folder"),
        (f"path\n{tmp_path.parent / 'outside.png'}\n", "must lie below the folder"),
        ("path\nfaces/../../outside.png\n", "must lie below"),
        ("path\n..\\outside.png\n", "must lie below"),
        ('path\n""\n', "must lie below"),
        ("path\nfaces/9/a.png\nfaces/9/none.png\n", "names 1 pictures that do not exist, such as 'faces/9/none.png'"),
        ("path\nfaces/9/a.png\nfaces/9/a.png\n", "2 pictures named 'faces/9/a.png'"),
        ("path,identity\nfaces/9/a.png,\n", "an identity that can name a folder"),
        ("path,identity\nfaces/9/a.png,..\n", "an identity that can name a folder"),
        ("path,identity\nfaces/9/a.png,a/b\n", "an identity that can name a folder"),
        ("path,identity\nfaces/9/a.png\n", "needs 2 columns .* a row has 1"),
        ("path,path\nfaces/9/a.png,b\n", "a name occurs twice"),
        ("file\nfaces/9/a.png\n", "needs a column 'path', got file"),
        ("path\n" + "x" * 200_000 + "\n", "cannot read"),
        ("", "needs a column 'path', got none"),
        ("path\n", "holds no picture"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            find_images(path)
    path.write_bytes(b"path\n\xff\xfe.png\n")
    with pytest.raises(InputError, match="cannot read"):
        find_images(path)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(InputError, match="cannot read"):
        find_images(tmp_path / "bad.parquet")
    pyarrow.parquet.write_table(
        pyarrow.table({"path": ["faces/9/a.png"], "identity": [None]}), tmp_path / "bad.parquet"
    )
    with pytest.raises(InputError, match="an identity that can name a folder"):
        find_images(tmp_path / "bad.parquet")


def shard(root: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(root / "s-0.tar", "w") as archive:
        for name, content in members.items():
            add(archive, name, content)
    return root / "s-{0..0}.tar"


def test_malformed_shards_are_rejected(tmp_path: Path) -> None:
    face = picture(0)
    for members, words in (
        ({"1.png": face, "1.jpg": face}, "'1' needs one picture, got 2"),
        ({"1.png": face, "1.json": b"{"}, "the label of '1' cannot be read"),
        ({"1.png": face, "1.json": b"[" * 100_000}, "the label of '1' cannot be read"),
        ({"1.png": face, "1.json": b"[1]"}, "needs an object"),
        ({"1.png": face, "1.cls": b"\xff"}, "the label of '1' cannot be read"),
        ({"1.png": face, "1.cls": b"1" * 2_000_000}, "2000000 bytes, more than a label may have"),
        ({"1.png": face, "1.cls": b".."}, "an identity that can name a folder"),
        ({"1.png": face, "1.json": json.dumps({"identity": "..", "path": "../x.png"}).encode()}, "must not lead out"),
        ({"1.png": face, "1.json": json.dumps({"path": "/etc/x.png"}).encode()}, "must not lead out"),
        ({"1.txt": b"x"}, "holds no picture"),
    ):
        with pytest.raises(InputError, match=words):
            find_images(shard(tmp_path, members))
    with pytest.raises(InputError, match=r"the shard '.*s-1.tar' does not exist: the pattern names 2 shards"):
        find_images(tmp_path / "s-{0..1}.tar")
    with pytest.raises(InputError, match="needs a range"):
        find_images(tmp_path / "s-{5..1}.tar")
    with pytest.raises(InputError, match="needs a range"):
        find_images(tmp_path / "s-{0..99999999999}.tar")


def test_two_samples_of_the_same_name_are_rejected(tmp_path: Path) -> None:
    shard(tmp_path, {"1.png": picture(0), "1.cls": b"a"})
    (tmp_path / "s-1.tar").write_bytes((tmp_path / "s-0.tar").read_bytes())
    with pytest.raises(InputError, match=r"2 pictures named 'a/1.png'"):
        find_images(tmp_path / "s-{0..1}.tar")


@pytest.mark.parametrize("name", ["../escape.png", "a/../../escape.png", "/etc/escape.png"])
def test_archive_members_outside_the_archive_are_rejected_and_nothing_is_extracted(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in" / "x.tar", "w") as archive:
        add(archive, name, picture(0))
    with pytest.raises(InputError, match="must not lead out"):
        find_images(tmp_path / "in" / "x.tar")
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "x.tar"]


def test_links_and_devices_in_an_archive_are_ignored(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(f"a/{kind.decode()}.png")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        add(archive, "a/good.png", picture(0))
    assert find_images(tmp_path / "x.tar").ids == ["a/good.png"]


def test_a_truncated_archive_is_reported_as_truncated(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for number in range(3):
            add(archive, f"a/{number}.png", picture(number))
    whole = (tmp_path / "x.tar").read_bytes()
    with tarfile.open(tmp_path / "x.tar") as archive:
        last = archive.getmembers()[-1]
    # cut inside a header, inside a picture, and exactly at the start of the last member
    for keep, words in ((700, "unexpected end"), (last.offset_data + 1, "unexpected end"), (last.offset, "truncated")):
        (tmp_path / "x.tar").write_bytes(whole[:keep])
        with pytest.raises(InputError, match=words):
            find_images(tmp_path / "x.tar")


def test_a_file_that_shrinks_after_listing_is_reported(tmp_path: Path) -> None:
    path = as_rec(tmp_path)
    images = find_images(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UnreadableImageError, match="ends within the picture"):
        images.read(len(images) - 1)


def test_a_bin_lists_pictures_without_identities(tmp_path: Path) -> None:
    path = write_bin(tmp_path / "x.bin", [picture(0), picture(1, "JPEG")], [True])
    images = find_images(path)
    assert images.ids == ["00000000.png", "00000001.jpg"]
    assert images.read_bytes(1) == picture(1, "JPEG")
    with pytest.raises(InputError, match="needs one folder per identity"):
        find_images(path, labelled=True)


def test_a_sample_without_a_label_is_refused_and_not_one_person(tmp_path: Path) -> None:
    for row in ({"label": -1}, {"label": float("nan")}, {"identity": "NA"}):
        with tarfile.open(tmp_path / "s-0.tar", "w") as archive:
            add(archive, "0.png", picture(0))
            add(archive, "0.json", json.dumps(row).encode())
        with pytest.raises(InputError, match="needs an identity that can name a folder"):
            find_images(tmp_path / "s-{0..0}.tar")
    with tarfile.open(tmp_path / "s-0.tar", "w") as archive:
        add(archive, "0.png", picture(0))
        add(archive, "0.json", json.dumps({"label": 1.0, "age": float("nan")}).encode())
    images = find_images(tmp_path / "s-{0..0}.tar")
    assert (images.people_names, images.attributes) == (["1"], {"age": [""]})
