"""The quick reading of headers finds what `tarfile` finds, or leaves an archive to it."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rsft.data.archives import list_tar
from rsft.data.columns import Strings
from rsft.data.images import find_images
from rsft.data.passed_over import Tally
from rsft.data.sources import Part, Parts
from rsft.data.tar_headers import HEADERS, plain_files
from rsft.data.tar_members import list_members, odd_members
from rsft.errors import InputError

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
CHECKSUM = slice(148, 156)


def archive(path: Path, names: list[str], form: int = tarfile.USTAR_FORMAT, **fields: object) -> bytes:
    """Write an archive of files with some bytes each, and return it."""
    with tarfile.open(path, "w", format=form) as file:
        for number, name in enumerate(names):
            member = tarfile.TarInfo(name)
            member.size = 300 * number
            for field, value in fields.items():
                setattr(member, field, value)
            file.addfile(member, io.BytesIO(b"x" * member.size))
    return path.read_bytes()


def outcome(members: Callable[[Path, Tally], tuple[Strings, Parts]], path: Path) -> list[tuple[str, Part]] | str:
    """Return the members of an archive, or the message of the error."""
    try:
        return list(zip(*members(path, Tally()), strict=True))
    except InputError as error:
        return str(error)


def same_as_tarfile(path: Path) -> bool:
    """Check that both ways of reading agree; return whether the quick one was enough."""
    quick, told = (outcome(members, path) for members in (list_members, odd_members))
    assert quick == told
    return plain_files(path) is not None


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "names",
    [
        [],
        ["a/1.png", "a/2.PNG", "ü/😀.jpg", "x"],
        ["./a/1.png", "a//2.png", "/b/./3.png", "//c/4.png", "../5.png", ".", ".hidden", "..jpg"],
        ["a/1.png", "a/1.png"],
        ["n" * 100, "a\\b.png", "line\nbreak.png"],
    ],
)
def test_plain_archives_need_no_other_reader(form: int, names: list[str], tmp_path: Path) -> None:
    archive(tmp_path / "x.tar", names, form)
    assert same_as_tarfile(tmp_path / "x.tar") or (form == tarfile.PAX_FORMAT and not "".join(names).isascii())


def test_folders_are_passed_over_and_blocks_do_not_show(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        for number in range(2 * HEADERS + 1):
            member = tarfile.TarInfo(f"p{number % 7}/{number}" + ".png" * (number % 3 > 0))
            member.type = tarfile.DIRTYPE if number % 3 == 0 else tarfile.REGTYPE
            member.size = number % 1000 if member.isfile() else 0
            file.addfile(member, io.BytesIO(bytes(member.size)))
    assert same_as_tarfile(tmp_path / "x.tar")
    assert len(find_images(tmp_path / "x.tar")) == 2 * HEADERS + 1 - len(range(0, 2 * HEADERS + 1, 3))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("d/" * 60 + "1.png", {}),
        ("e" * 99 + "/" + "f" * 90, {}),
        ("a/1.png", {"type": tarfile.AREGTYPE}),
        ("a/", {"type": tarfile.AREGTYPE}),
        ("a/1.png", {"type": tarfile.CONTTYPE}),
        ("a/1.png", {"type": tarfile.SYMTYPE, "linkname": "b"}),
        ("a/1.png", {"type": tarfile.LNKTYPE, "linkname": "b" * 90}),
        ("a/1.png", {"type": tarfile.FIFOTYPE}),
        ("a/1.png", {"type": tarfile.CHRTYPE, "devmajor": 3, "devminor": 5}),
        ("a/1.png", {"type": b"Z"}),
        ("a/1.png", {"mtime": 1.5}),
        ("a/1.png", {"mtime": -1}),
        ("a/1.png", {"mtime": 8**11 - 1, "uid": 8**7 - 1, "uname": "ü", "gname": "g"}),
        ("a/1.png", {"uid": 1 << 40}),
        ("a/1.png", {"pax_headers": {"path": "b/2.png"}}),
        ("a/1.png", {"pax_headers": {"size": "1024"}}),
        ("a/\udcff.png", {}),
    ],
)
def test_odd_members_are_left_to_tarfile(form: int, name: str, fields: dict[str, object], tmp_path: Path) -> None:
    try:
        archive(tmp_path / "x.tar", ["a/0.png", name, "a/2.png"], form, **fields)
    except ValueError:
        pytest.skip("the format has no such member")
    same_as_tarfile(tmp_path / "x.tar")


def test_sparse_global_and_compressed_archives_are_left_to_tarfile(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "all"}) as file:
        file.addfile(tarfile.TarInfo("a/1.png"))
    assert not same_as_tarfile(path)
    with tarfile.open(path, "w:gz") as file:
        file.addfile(tarfile.TarInfo("a/1.png"))
    assert not same_as_tarfile(path)
    content = bytearray(archive(path, ["a/0.png", "a/1.png"]))
    content[512 + 156] = ord("S")
    content[512 + 386 : 512 + 410] = b"%011o\0%011o\0" % (0, 300)
    content[512 + 483 : 512 + 495] = b"%011o\0" % 4096
    path.write_bytes(signed(content, 512))
    assert not same_as_tarfile(path)
    path.write_bytes(b"")
    assert not same_as_tarfile(path)


def signed(content: bytearray, start: int) -> bytes:
    """Return an archive with the right checksum in the header at `start`."""
    header = content[start : start + 512]
    header[CHECKSUM] = b" " * 8
    header[CHECKSUM] = b"%06o\0 " % sum(header)
    return bytes(content[:start] + header + content[start + 512 :])


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
def test_a_header_with_one_other_byte_is_read_as_tarfile_reads_it(form: int, tmp_path: Path) -> None:
    """Bytes of a header become others, one at a time, with a right and with a wrong checksum."""
    path = tmp_path / "x.tar"
    whole = archive(path, ["a/0.png", "b/12.png", "a/2.png"], form, mtime=1234567, mode=0o644)
    start, quick = 512, 0
    generator = np.random.default_rng(0)
    for place in [*range(0, 96, 16), *range(96, 160), 200, *range(256, 266), *range(326, 348), *range(498, 512)]:
        for value in {0, ord(" "), ord("5"), ord("9"), int(generator.integers(256))}:
            content = bytearray(whole)
            content[start + place] = value
            for changed in (bytes(content), signed(content, start)):
                path.write_bytes(changed)
                quick += same_as_tarfile(path)
    assert quick > 300  # not all are left to tarfile


def test_an_archive_cut_anywhere_is_read_as_tarfile_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    whole = archive(path, ["a/0.png", "a/1.png", "a/2.png"])
    for end in range(0, len(whole), 128):
        path.write_bytes(whole[:end])
        same_as_tarfile(path)
    for start in (0, 512, 512 * 3):  # before each header: a block of zeros among the members ends an archive
        path.write_bytes(whole[:start] + bytes(512) + whole[start:])
        assert same_as_tarfile(path)


def test_suffixes_are_those_of_pathlib(tmp_path: Path) -> None:
    names = ["a/.png", ".png", "a/b.png", "a.png/b", "a/b.", "b.tar.JPG", "a/..png", "png", "a/.b.png", "a/b.png.txt"]
    archive(tmp_path / "x.tar", names)
    assert list_tar(tmp_path / "x.tar").ids == ["a/b.png", "b.tar.JPG"]  # the others are hidden
