"""Harmful input, intended or not, is rejected in one line or left out and counted, in every storage form."""

import csv
import os
import struct
import tarfile
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from forms import add, picture, record, write_rec

from rsft.data.images import MAX_PIXELS, decode, find_images
from rsft.errors import InputError, UnreadableImageError
from rsft.face.check import check_pool


def png(width: int, height: int, content: bytes = b"") -> bytes:
    def chunk(name: bytes, inner: bytes) -> bytes:
        return struct.pack(">I", len(inner)) + name + inner + struct.pack(">I", zlib.crc32(name + inner))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


SIDE = int(MAX_PIXELS**0.5)
HARMFUL = {
    "a bomb": png(60_000, 60_000),
    "a small bomb": png(SIDE + 1, SIDE + 1),
    "nothing": b"",
    "half a picture": picture(0, "JPEG")[:200],
    "text": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "a page": b"%!PS-Adobe-3.0\n(/etc/passwd) run",
    "a length that is not there": b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR",
}
GOOD = {f"p{person}/{number}.png": picture(10 * person + number) for person in (1, 2) for number in (1, 2)}
ALL = GOOD | {f"p1/{name}.jpg": content for name, content in HARMFUL.items()}


def as_folder(root: Path) -> Path:
    for item, content in ALL.items():
        (root / "x" / item).parent.mkdir(parents=True, exist_ok=True)
        (root / "x" / item).write_bytes(content)
    return root / "x"


def as_tar(root: Path) -> Path:
    with tarfile.open(root / "x.tar", "w") as archive:
        for item, content in ALL.items():
            add(archive, item, content)
    return root / "x.tar"


def as_csv(root: Path) -> Path:
    as_folder(root)
    with open(root / "x.csv", "w", newline="") as file:
        csv.writer(file).writerows([["path"], *([item] for item in ALL)])
    (root / "x.csv").rename(root / "x" / "x.csv")
    return root / "x" / "x.csv"


def as_rec(root: Path) -> Path:
    some = [(item, content) for item, content in ALL.items() if content]  # a record without a picture is rejected
    records = {key: record(0, float(item[1]), content) for key, (item, content) in enumerate(some)}
    return write_rec(root / "x.rec", records)


def as_shards(root: Path) -> Path:
    with tarfile.open(root / "s-0.tar", "w") as archive:
        for number, (item, content) in enumerate(ALL.items()):
            add(archive, f"{number}{Path(item).suffix}", content)
            add(archive, f"{number}.cls", item.split("/")[0].encode())
    return root / "s-{0..0}.tar"


def as_dataset(root: Path) -> Path:
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    images = pyarrow.array([{"bytes": content, "path": None} for content in ALL.values()], kind)
    pyarrow.parquet.write_table(
        pyarrow.table({"image": images, "label": [item.split("/")[0] for item in ALL]}), root / "x.parquet"
    )
    return root / "x.parquet"


FORMS = [as_folder, as_tar, as_csv, as_rec, as_shards, as_dataset]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_harmful_pictures_are_left_out_and_counted(form: Callable[[Path], Path], tmp_path: Path) -> None:
    path = form(tmp_path)
    images = find_images(path, labelled=True)
    reasons = []
    for row in range(len(images)):
        try:
            images.read(row)
        except UnreadableImageError as error:
            reasons.append(str(error))
    assert len(reasons) == len(HARMFUL) - (form is as_rec)
    assert len(images) - len(reasons) == len(GOOD)
    assert all(reason.startswith("unreadable: ") and "\n" not in reason for reason in reasons)
    assert not any(str(tmp_path) in reason for reason in reasons)
    found = check_pool(path)
    assert sorted(reason for _, reason in found["unreadable"]) == sorted(reasons)
    assert found["single"] == []


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_size_is_checked_before_decoding() -> None:
    with pytest.raises(UnreadableImageError, match="which may be a decompression bomb"):
        decode(HARMFUL["a small bomb"])
    assert decode(png(40, 30, b"\0" * 30 * 121)).shape == (30, 40, 3)


def test_circular_links_neither_hang_nor_hide_pictures(tmp_path: Path) -> None:
    root = as_folder(tmp_path)
    expected = find_images(root).ids
    (root / "up").symlink_to(root, target_is_directory=True)
    (root / "p1" / "up").symlink_to(Path(".."), target_is_directory=True)
    (root / "p2" / "self").symlink_to(Path("."), target_is_directory=True)
    assert find_images(root).ids == expected


def test_linked_folders_are_identities_and_broken_links_are_unreadable_pictures(tmp_path: Path) -> None:
    root = as_folder(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "1.png").write_bytes(picture(99))
    (root / "p3").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (root / "p1" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (root / "p2" / "ring.png").symlink_to(root / "p2" / "ring.png")
    images = find_images(root)
    assert "p3/1.png" in images.ids
    for item in ("p1/gone.png", "p2/ring.png"):
        with pytest.raises(UnreadableImageError) as refused:
            images.read(list(images.ids).index(item))
        assert str(tmp_path) not in str(refused.value)


def test_folders_that_link_to_each_other_are_listed_once(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / "x" / name).mkdir(parents=True)
        (tmp_path / "x" / name / f"{name}.png").write_bytes(picture(0))
        (tmp_path / "x" / name / "other").symlink_to(tmp_path / "x" / other, target_is_directory=True)
    assert find_images(tmp_path / "x").ids == ["a/a.png", "b/b.png"]


def test_a_folder_is_listed_by_its_own_name_rather_than_a_link(tmp_path: Path) -> None:
    root = as_folder(tmp_path)
    expected = find_images(root).ids
    (root / "a").symlink_to(root / "p1", target_is_directory=True)
    assert find_images(root).ids == expected


@pytest.mark.parametrize(
    "name", ["Zoë", "王 小明", "ann smith", "o'hara; rm -rf", "a\nb", "-rf", "%s{}", "'quoted'", "É" * 60]
)
def test_unusual_names_are_valid_identities(name: str, tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / "x" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / name / f"{number} ü.png").write_bytes(picture(number))
    images = find_images(tmp_path / "x", labelled=True)
    assert images.identities == [name, name]
    assert images.read(0).shape == (6, 7, 3)
    assert check_pool(tmp_path / "x")["identities"] == 1


def test_names_that_differ_only_in_case_are_reported(tmp_path: Path) -> None:
    for name in ("ann", "Ann", "zoë", unicodedata.normalize("NFD", "Zoë")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(picture(hash(name) % 1000))
    if len(list(tmp_path.iterdir())) < 4:
        pytest.skip("the file system treats these names as equal")
    assert check_pool(tmp_path)["case_collisions"] == [["Ann", "ann"], ["Zoë", "zoë"]]


def test_a_name_that_is_not_text_is_rejected(tmp_path: Path) -> None:
    try:
        os.makedirs(os.fsencode(tmp_path) + b"/x/\xff\xfe")
    except OSError:
        pytest.skip("the file system allows only text as names")
    with open(os.fsencode(tmp_path) + b"/x/\xff\xfe/1.png", "wb") as file:
        file.write(picture(0))
    with pytest.raises(InputError, match="a name that is not valid UTF-8: rename it"):
        find_images(tmp_path / "x")
