"""Links, joined archives and odd members of `.tar` archives are read as their bytes in the archive, or counted."""

import io
import tarfile
from pathlib import Path

import pytest
from forms import add, picture

from rsft.data.images import ImageSet, find_images
from rsft.errors import InputError

HARD, SOFT = tarfile.LNKTYPE, tarfile.SYMTYPE


def link(archive: tarfile.TarFile, name: str, target: str, kind: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    archive.addfile(member)


def listed(path: Path, members: list[tuple[str, bytes | tuple[str, bytes]]]) -> ImageSet:
    """Write an archive of files (name, content) and links (name, (target, kind)), and list it."""
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            if isinstance(content, bytes):
                add(archive, name, content)
            else:
                link(archive, name, *content)
    return find_images(path)


def test_links_are_other_names_of_the_same_bytes(tmp_path: Path) -> None:
    first, second = picture(0), picture(1)
    images = listed(
        tmp_path / "x.tar",
        [
            ("ann/before.png", ("0.png", SOFT)),  # a link may come before what it names
            ("ann/0.png", first),
            ("./store/0f3a", second),  # a store of contents, whose names have no suffix
            ("ann/hard.png", ("ann/0.png", HARD)),
            ("bob/up.png", ("../ann/0.png", SOFT)),
            ("bob/again.png", ("./up.png", SOFT)),
            ("bob/hard of a link.png", ("bob/again.png", HARD)),
            ("bob/stored.png", ("../store/0f3a", SOFT)),
            ("bob/as.txt", ("../ann/0.png", SOFT)),  # no picture by its name
        ],
    )
    expected = dict.fromkeys(("ann/0.png", "ann/before.png", "ann/hard.png", "bob/again.png", "bob/up.png"), first)
    expected |= {"bob/hard of a link.png": first, "bob/stored.png": second}
    assert {item: images.read_bytes(row) for row, item in enumerate(images.ids)} == expected
    assert images.passed_over.counts == {"of suffix .txt": 1, "without a suffix": 1}
    assert images.passed_over.folders == ("store",)


def test_a_hard_link_is_of_the_file_that_stood_before_it(tmp_path: Path) -> None:
    old, new = picture(0), picture(1)
    images = listed(
        tmp_path / "x.tar",
        [
            ("a/0.png", old),
            ("a/hard.png", ("a/0.png", HARD)),
            ("a/soft.png", ("0.png", SOFT)),
            ("a/0.png", new),
            ("b/early.png", ("b/late.png", HARD)),
            ("b/late.png", new),
        ],
    )
    assert images.ids == ["a/0.png", "a/hard.png", "a/soft.png", "b/late.png"]
    assert [images.read_bytes(row) for row in range(3)] == [new, old, new]
    assert images.passed_over.counts == {
        "a link to what the archive does not hold": 1,
        "replaced by a later member of the same name": 1,
    }


def test_links_that_lead_nowhere_are_counted_and_nothing_outside_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture(5))
    outside = [
        str(tmp_path / "secret.png"),
        "../../secret.png",
        "none.png",
        "ring.png",
        "/etc/passwd",
        "../../../a/0.png",
    ]
    images = listed(
        tmp_path / "x.tar",
        [
            ("a/0.png", picture(0)),
            *((f"a/soft{number}.png", (target, SOFT)) for number, target in enumerate(outside)),
            *((f"a/hard{number}.png", (target, HARD)) for number, target in enumerate(outside)),
            ("a/ring.png", ("ring.png", SOFT)),
            ("a/p.png", ("q.png", SOFT)),
            ("a/q.png", ("p.png", SOFT)),
            ("b", ("a", SOFT)),
            ("c.png", ("a", SOFT)),
        ],
    )
    assert images.ids == ["a/0.png"]
    assert images.passed_over.counts == {
        "a link to what the archive does not hold": 2 * len(outside) + 3,
        "a link to a folder of the archive": 2,
    }


def test_names_that_are_no_text_are_counted_where_they_name_no_picture(tmp_path: Path) -> None:
    good: list[tuple[str, bytes | tuple[str, bytes]]] = [
        ("a/0.png", picture(0)),
        ("a/\udcff.txt", b"x"),
        ("a/1.png", ("\udcff", SOFT)),
        ("a/2.png", ("\udcff", HARD)),
    ]
    images = listed(tmp_path / "x.tar", good)
    assert images.ids == ["a/0.png"]
    assert images.passed_over.counts == {"a link to what the archive does not hold": 2, "of suffix .txt": 1}
    with pytest.raises(InputError, match="a name that is not valid UTF-8: rename it"):
        listed(tmp_path / "x.tar", [*good, ("a/\udcff.png", picture(1))])


def test_a_long_chain_of_links_is_followed(tmp_path: Path) -> None:
    chain = [(f"a/{number:04d}.png", (f"{number + 1:04d}.png", SOFT)) for number in range(3000)]
    images = listed(tmp_path / "x.tar", [*chain, ("a/3000.png", picture(0))])
    assert len(images) == 3001
    assert images.read_bytes(0) == picture(0)


def test_devices_and_sparse_files_are_counted(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        add(archive, "a/0.png", picture(0))
        for kind in (tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, b"Z"):
            member = tarfile.TarInfo(f"a/{ord(kind)}.png")
            member.type = kind
            archive.addfile(member)
        member = tarfile.TarInfo("a/sparse.png")
        member.pax_headers = {"GNU.sparse.map": "0,3", "GNU.sparse.size": "4000"}
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    images = find_images(tmp_path / "x.tar")
    assert images.ids == ["a/0.png"]
    assert images.passed_over.counts == {"neither a file nor a folder": 4, "stored with holes": 1}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("gap", [0, 512, 3 << 20])
def test_joined_archives_are_read_whole(form: int, gap: int, tmp_path: Path) -> None:
    """As `cat a.tar b.tar c.tar` makes them, of plain headers and of others."""
    whole = b""
    for number in range(3):
        with tarfile.open(tmp_path / "part.tar", "w", format=form) as archive:
            add(archive, f"p{number}/{'é' if form == tarfile.PAX_FORMAT else 'e'}.png", picture(number))
            if number == 2:
                link(archive, "q/0.png", "p0/e.png" if form == tarfile.USTAR_FORMAT else "p0/é.png", HARD)
        whole += (tmp_path / "part.tar").read_bytes() + bytes(gap)
    (tmp_path / "x.tar").write_bytes(whole)
    images = find_images(tmp_path / "x.tar")
    assert list(images.identities) == ["p0", "p1", "p2", "q"]
    assert [images.read_bytes(row) for row in range(4)] == [picture(0), picture(1), picture(2), picture(0)]
    (tmp_path / "x.tar").write_bytes(whole[: len(whole) - gap - 9 * 1024])  # cut within the last archive
    with pytest.raises(InputError, match=r"truncated|cannot read"):
        find_images(tmp_path / "x.tar")


def test_joined_shards_are_read_whole(tmp_path: Path) -> None:
    whole = b""
    for number in range(2):
        with tarfile.open(tmp_path / "part.tar", "w") as archive:
            add(archive, f"{number}.png", picture(number))
            add(archive, f"{number}.cls", str(number).encode())
        whole += (tmp_path / "part.tar").read_bytes()
    (tmp_path / "s-0.tar").write_bytes(whole)
    assert find_images(tmp_path / "s-{0..0}.tar").ids == ["0/0.png", "1/1.png"]


def test_what_follows_an_archive_is_told_and_a_damaged_header_is_refused(tmp_path: Path) -> None:
    listed(tmp_path / "x.tar", [("a/0.png", b"x" * 512), ("a/1.png", b"y" * 512)])
    whole = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "x.tar").write_bytes(whole + b"a signature" * 100)
    images = find_images(tmp_path / "x.tar")
    assert len(images) == 2
    assert images.passed_over.counts == {"what follows the end of the archive": 1}
    damaged = bytearray(whole)
    damaged[1024 + 10] ^= 1  # in the name of the second member
    (tmp_path / "x.tar").write_bytes(damaged)
    with pytest.raises(InputError, match="damaged: at byte 1024 there is no header"):
        find_images(tmp_path / "x.tar")
