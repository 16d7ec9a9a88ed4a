"""Conversion keeps pictures, ids and attributes, and never overwrites anything."""

import struct
from pathlib import Path

import pytest
from forms import FORMS, LIGHT, MAGIC, PICTURES, as_csv, as_folder, as_rec, picture, record, write_rec

from rsft.data.convert import convert
from rsft.data.images import ImageSet, find_images
from rsft.errors import InputError, UnreadableImageError

DESTINATIONS = ["out", "out.tar", "out.rec", "out/list.csv", "out/list.parquet", "out-{0..2}.tar"]


def contents(images: ImageSet) -> list[tuple[str, bytes]]:
    return [(person, images.read_bytes(row)) for row, person in enumerate(images.identities)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("destination", DESTINATIONS)
def test_every_form_converts_to_every_other(form: str, destination: str, tmp_path: Path) -> None:
    source = find_images(FORMS[form](tmp_path))
    result = convert(FORMS[form](tmp_path), tmp_path / "new" / destination)
    images = find_images(tmp_path / "new" / destination, labelled=True)
    assert (result["pictures"], result["identities"]) == (4, 2)
    assert contents(images) == contents(source)
    assert list(images.ids) == list(source.ids)
    kept = destination.endswith(("csv", "parquet")) or "{" in destination
    assert images.attributes == (source.attributes if kept else {})
    assert result["lost"] == ([] if kept else list(source.attributes))


def test_a_chain_of_conversions_keeps_ids_and_contents(tmp_path: Path) -> None:
    """A folder is converted through every form in turn."""
    source, last = find_images(as_folder(tmp_path)), as_folder(tmp_path)
    for number, destination in enumerate(DESTINATIONS):
        convert(last, tmp_path / str(number) / destination)
        last = tmp_path / str(number) / destination
    images = find_images(last)
    assert list(images.ids) == list(source.ids)
    assert contents(images) == contents(source)


def test_the_lst_beside_a_rec_maps_its_labels_to_names(tmp_path: Path) -> None:
    convert(as_folder(tmp_path), tmp_path / "out.rec")
    lines = [line.split("\t") for line in (tmp_path / "out.lst").read_text().splitlines()]
    assert lines == [[str(key), "0" if key < 4 else "1", item] for key, item in enumerate(sorted(PICTURES), 1)]
    (tmp_path / "out.lst").unlink()
    assert find_images(tmp_path / "out.rec").identities == ["0", "0", "0", "1"]


@pytest.mark.parametrize(("limit", "words"), [("MAX_SIZE", "'10/a.png' is larger"), ("MAX_PICTURES", "use shards")])
def test_pictures_that_exceed_the_limits_of_a_rec_are_rejected(
    limit: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"rsft.data.recordio.{limit}", {"MAX_SIZE": 100, "MAX_PICTURES": 4}[limit])
    with pytest.raises(InputError, match=words):
        convert(as_folder(tmp_path), tmp_path / "out.rec")
    assert not list(tmp_path.glob("out*"))


def test_names_with_tabs_are_rejected_for_a_rec_but_not_for_a_tar(tmp_path: Path) -> None:
    (tmp_path / "a" / "x").mkdir(parents=True)
    (tmp_path / "a" / "x" / "tab\t.png").write_bytes(picture(0))
    with pytest.raises(InputError, match="tabs or line ends"):
        convert(tmp_path / "a", tmp_path / "out.rec")
    convert(tmp_path / "a", tmp_path / "out.tar")
    assert find_images(tmp_path / "out.tar").ids == ["x/tab\t.png"]


def test_a_rec_has_the_layout_of_insightface(tmp_path: Path) -> None:
    """Record 0 holds the end of the pictures; the records after them hold the range of each identity."""
    convert(as_folder(tmp_path), tmp_path / "out.rec")
    content = (tmp_path / "out.rec").read_bytes()
    lines = [line.split("\t") for line in (tmp_path / "out.idx").read_text().splitlines()]
    offsets = {int(key): int(offset) for key, offset in lines}

    def labels(key: int) -> tuple[float, ...]:
        magic, _, flag, label = struct.unpack_from("<IIIf", content, offsets[key])
        assert magic == MAGIC
        return struct.unpack_from("<2f", content, offsets[key] + 32) if flag == 2 else (label,)

    assert [labels(key) for key in range(7)] == [(5, 7), (0,), (0,), (0,), (1,), (1, 4), (4, 5)]


@pytest.mark.parametrize("shift", range(4))
def test_pictures_that_hold_the_magic_number_are_split_and_joined(shift: int, tmp_path: Path) -> None:
    """dmlc looks for the number at multiples of 4 only, so the content must not hold it there."""
    magic = struct.pack("<I", MAGIC)
    tricky = b"\x89PNG" + bytes(shift) + magic + b"12345678" + magic + magic + bytes(shift) + magic
    (tmp_path / "faces" / "a").mkdir(parents=True)
    (tmp_path / "faces" / "a" / "1.png").write_bytes(tricky)
    convert(tmp_path / "faces", tmp_path / "out.rec")
    images = find_images(tmp_path / "out.rec")
    assert images.read_bytes(0) == tricky
    content = (tmp_path / "out.rec").read_bytes()
    found = sum(content[place : place + 4] == magic for place in range(0, len(content), 4))
    # the header, the identity, and the picture, which is split at each magic number at a multiple of 4
    pieces = sum(tricky[place : place + 4] == magic for place in range(0, len(tricky), 4)) + 1
    assert found == 2 + pieces


def test_an_attribute_named_label_is_not_used_as_the_identity(tmp_path: Path) -> None:
    as_csv(tmp_path)
    table = (tmp_path / "faces.csv").read_text().replace("light", "label")
    (tmp_path / "faces.csv").write_text(table)
    convert(tmp_path / "faces.csv", tmp_path / "out-{0..0}.tar")
    images = find_images(tmp_path / "out-{0..0}.tar")
    assert set(images.identities) == {"10", "9"}
    assert sorted(images.attributes["label"]) == sorted(LIGHT.values())


def test_pictures_without_a_suffix_get_one(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(picture(0))
    (tmp_path / "list.csv").write_text("path,identity\nx,ann\n")
    convert(tmp_path / "list.csv", tmp_path / "out")
    assert find_images(tmp_path / "out").ids == ["ann/x.png"]


@pytest.mark.parametrize("destination", DESTINATIONS)
def test_an_existing_destination_is_not_changed(destination: str, tmp_path: Path) -> None:
    source = as_rec(tmp_path)
    (tmp_path / "new").mkdir()
    convert(source, tmp_path / "new" / destination)
    before = {path: path.read_bytes() for path in (tmp_path / "new").rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"exists|not empty"):
        convert(source, tmp_path / "new" / destination)
    assert before == {path: path.read_bytes() for path in (tmp_path / "new").rglob("*") if path.is_file()}


def test_a_failed_conversion_leaves_nothing_behind(tmp_path: Path) -> None:
    source = as_rec(tmp_path)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "out.idx").write_text("mine")
    with pytest.raises(InputError, match=r"out.idx' exists"):
        convert(source, tmp_path / "new" / "out.rec")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.idx"]
    folder = as_folder(tmp_path)
    (folder / "9" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    for destination in DESTINATIONS:
        with pytest.raises(UnreadableImageError, match=r"9/gone.png"):
            convert(folder, tmp_path / "new2" / destination)
        assert not list((tmp_path / "new2").rglob("*.*"))


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        ("out.bin", "pools cannot be written as .bin"),
        ("x.png", "written as .png"),
        ("out-{0..1}.rec", "shards are .tar"),
    ],
)
def test_destinations_of_an_unknown_form_are_rejected(destination: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        convert(as_folder(tmp_path), tmp_path / destination)


def test_a_negative_label_is_a_valid_identity(tmp_path: Path) -> None:
    path = write_rec(tmp_path / "x.rec", {0: record(0, -7, PICTURES["9/a.png"])})
    convert(path, tmp_path / "out")
    assert find_images(tmp_path / "out").ids == ["-7/00000000.png"]
