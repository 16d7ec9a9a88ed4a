"""A listing reads every picture that Pillow decodes, and counts what it passes over, with the reason."""

import json
import logging
import os
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import rsft
from forms import add, picture
from PIL import Image, ImageFile

from rsft.data.convert import convert
from rsft.data.formats import picture_formats, picture_suffixes
from rsft.data.images import find_images
from rsft.data.passed_over import PassedOver
from rsft.errors import InputError, UnreadableImageError

# what systems and tools leave beside the pictures of ann and bob, and the reason that it is passed over with
LEFT = {
    ".ipynb_checkpoints/0-checkpoint.png": "hidden",
    ".git/objects/ab.png": "hidden",
    ".git/objects/cd.png": "hidden",
    "ann/._0.png": "hidden",
    "ann/.DS_Store": "hidden",
    "dora/._0.png": "hidden",
    "__MACOSX/ann/0.png": "in a folder of the system",
    "bob/@eaDir/0.png/SYNOPHOTO_THUMB.png": "in a folder of the system",
    "#Recycle/0.png": "in a folder of the system",
    "lost+found/0.png": "in a folder of the system",
    "bob/Thumbs.db": "of suffix .db",
    "carl/0.HEIC": "of suffix .heic",
    "carl/1.heic": "of suffix .heic",
    "bob/README": "without a suffix",
    "bob/a.not a suffix at all": "of another suffix",
}
COUNTS = {"hidden": 5, "in a folder of the system": 4, "of suffix .heic": 2} | dict.fromkeys(
    ["of suffix .db", "without a suffix", "of another suffix"], 1
)


def write(root: Path, names: list[str]) -> Path:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(number))
    return root


def as_folder(root: Path, names: list[str]) -> Path:
    return write(root / "faces", names)


def as_tar(root: Path, names: list[str]) -> Path:
    with tarfile.open(root / "x.tar", "w") as archive:
        archive.add(as_folder(root, names), ".")
    return root / "x.tar"


FORMS = [as_folder, as_tar]


@pytest.mark.parametrize("form", FORMS)
def test_what_systems_and_tools_leave_is_counted(
    form: Callable[[Path, list[str]], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = find_images(form(tmp_path, ["ann/0.png", "bob/0.png", *LEFT]), labelled=True)
    assert images.ids == ["ann/0.png", "bob/0.png"]
    assert images.passed_over.counts == COUNTS
    assert images.passed_over.folders == ("carl", "dora")
    assert images.passed_over.examples["of suffix .heic"] == "carl/0.HEIC"
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "2 of suffix .heic ('carl/0.HEIC')" in line
    assert "2 folders without a picture ('carl', 'dora')" in line
    assert images.subset([0]).passed_over is images.passed_over


def test_nothing_is_said_of_pictures_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = find_images(write(tmp_path, ["ann/0.png", "ann/deep/er/1.png", "bob/x/y.png"]))
    assert images.passed_over == PassedOver()
    assert not caplog.records


@pytest.mark.parametrize("form", FORMS)
def test_every_suffix_that_pillow_decodes_is_listed(form: Callable[[Path, list[str]], Path], tmp_path: Path) -> None:
    suffixes = [".jfif", ".jpe", ".JFIF", ".gif", ".webp", ".jp2", ".apng", ".pbm", ".tga", ".avif"]
    names = [f"ann/{number}{suffix}" for number, suffix in enumerate(suffixes) if suffix.lower() in picture_suffixes()]
    assert len(names) > 7
    images = find_images(form(tmp_path, names))
    assert images.ids == sorted(names)
    assert not images.passed_over


def test_a_manifest_and_a_shard_name_pictures_of_any_suffix(tmp_path: Path) -> None:
    write(tmp_path, ["a/1.jfif", "a/2.gif"])
    (tmp_path / "list.csv").write_text("path\na/1.jfif\na/2.gif\n")
    assert len(find_images(tmp_path / "list.csv")) == 2
    with tarfile.open(tmp_path / "s-0.tar", "w") as archive:
        for name in ("0.jfif", "0.cls", "._0.jfif", "1.heic", "1.cls", "__MACOSX/2.png"):
            add(archive, name, b"ann" if name.endswith("cls") else picture(0))
    images = find_images(tmp_path / "s-{0..0}.tar")
    assert images.ids == ["ann/0.jfif"]
    assert images.passed_over.counts == {
        "a sample without a picture": 1,
        "hidden": 1,
        "in a folder of the system": 1,
    }
    assert find_images(tmp_path / "s-0.tar").passed_over == images.passed_over


def test_a_reader_that_is_registered_later_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of pillow-heif; a stub and Ghostscript's EPS are never among the formats."""
    assert not {".heic", ".eps", ".ps", ".h5", ".mpg"} & picture_suffixes()
    assert not {"EPS", "HDF5", "WMF"} & set(picture_formats())
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    monkeypatch.setattr(Image, "EXTENSION", dict(Image.EXTENSION))
    Image.register_open("HEIF", ImageFile.ImageFile)
    Image.register_extension("HEIF", ".heic")
    assert ".heic" in picture_suffixes()


def test_a_folder_of_many_suffixes_has_a_short_record(tmp_path: Path) -> None:
    found = find_images(write(tmp_path, ["ann/0.png", *(f"ann/{number}.x{number}" for number in range(100))]))
    assert sum(found.passed_over.counts.values()) == 100
    assert len(found.passed_over.counts) < 30


def test_what_is_no_file_is_passed_over_and_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "faces", ["ann/0.png"])
    os.mkfifo(root / "ann" / "pipe.jpg")
    (root / "ann" / "link.jpg").symlink_to("pipe.jpg")
    (root / "ann" / "zeros.jpg").symlink_to("/dev/zero")
    monkeypatch.chdir(root / "ann")  # a socket's name is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.jpg")
        images = find_images(root)
    assert images.ids == ["ann/0.png"]
    assert images.passed_over.counts == {"neither a file nor a folder": 4}
    (root / "ann" / "0.png").unlink()
    with pytest.raises(InputError, match="holds no picture: passed over 4 neither a file nor a folder"):
        find_images(root)


def test_a_picture_that_becomes_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    images = find_images(write(tmp_path, ["ann/0.png"]))
    (tmp_path / "ann" / "0.png").unlink()
    os.mkfifo(tmp_path / "ann" / "0.png")
    with pytest.raises(UnreadableImageError, match="not a regular file"):
        images.read(0)
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        add(archive, "ann/0.png", picture(0))
    archived = find_images(tmp_path / "x.tar")
    (tmp_path / "x.tar").unlink()
    os.mkfifo(tmp_path / "x.tar")
    with pytest.raises(UnreadableImageError, match="not a regular file"):
        archived.read(0)


@pytest.mark.parametrize("name", ["x.tar", "x.rec", "x.csv", "x.parquet", "x.bin", "s-0.tar"])
def test_a_pipe_in_place_of_a_data_set_is_refused_at_once(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=r"neither a folder nor|does not exist"):
        find_images(tmp_path / ("s-{0..0}.tar" if name == "s-0.tar" else name))


def test_pipes_beside_a_rec_do_not_block(tmp_path: Path) -> None:
    write(tmp_path / "faces", ["ann/0.png", "bob/0.png"])
    convert(tmp_path / "faces", tmp_path / "x.rec")
    os.mkfifo(tmp_path / "property")
    (tmp_path / "x.lst").unlink()
    os.mkfifo(tmp_path / "x.lst")
    assert len(find_images(tmp_path / "x.rec")) == 2
    (tmp_path / "x.idx").unlink()
    os.mkfifo(tmp_path / "x.idx")
    with pytest.raises(InputError, match="not a regular file"):
        find_images(tmp_path / "x.rec")


def test_a_folder_that_cannot_be_opened_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, ["ann/0.png", "bob/0.png"])
    scan = os.scandir

    def closed(folder: bytes) -> object:
        if folder.rstrip(b"/").endswith(b"bob"):
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", closed)
    found = find_images(tmp_path).passed_over
    assert found.counts == {"a folder that cannot be opened": 1}
    assert (found.examples["a folder that cannot be opened"], found.folders) == ("bob", ("bob",))


def test_other_names_of_a_folder_are_told(tmp_path: Path) -> None:
    write(tmp_path, ["ann/0.png"])
    (tmp_path / "ann" / "up").symlink_to("..")
    (tmp_path / "bob").symlink_to("ann")
    found = find_images(tmp_path)
    assert found.ids == ["ann/0.png"]
    assert found.passed_over.counts == {"another name of a listed folder": 2}
    assert found.passed_over.folders == ()


def test_a_folder_with_the_suffix_of_a_picture_is_a_folder(tmp_path: Path) -> None:
    found = find_images(write(tmp_path, ["ann/x.jpg/0.png", "bob.jpg/0.png"]))
    assert found.ids == ["ann/x.jpg/0.png", "bob.jpg/0.png"]


def test_data_check_tells_what_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, ["ann/0.png", "ann/1.png", "carl/0.heic"])
    told = rsft("data", "check", tmp_path)
    assert "passed over 1 of suffix .heic ('carl/0.heic')" in told.stderr
    assert "passed over: of suffix .heic" in told.stdout
    assert "carl" in told.stdout
    assert json.loads(rsft("data", "check", tmp_path, "--json").stdout)["passed_over"] == {
        "files": {"of suffix .heic": {"count": 1, "example": "carl/0.heic"}},
        "folders": ["carl"],
    }


def test_a_conversion_hides_no_picture(tmp_path: Path) -> None:
    write(tmp_path / "in", [".x/0.png", "ann/1.png"])
    (tmp_path / "in" / "list.csv").write_text("path\n.x/0.png\nann/1.png\n")
    for name in ("out", "out.tar"):
        with pytest.raises(
            InputError, match=r"would hold 1 pictures that a listing passes over as hidden, such as '.x/0"
        ):
            convert(tmp_path / "in" / "list.csv", tmp_path / name)
    for name in ("out-{0..1}.tar", "out.rec", "out/list.csv"):
        convert(tmp_path / "in" / "list.csv", tmp_path / name)
        assert find_images(tmp_path / name).ids == [".x/0.png", "ann/1.png"]
