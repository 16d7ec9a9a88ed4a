"""Names whose letters Unicode composes in two ways find each other, and never hide one another."""

import unicodedata
from pathlib import Path

import pytest
from forms import picture

from rsft.data.images import find_images
from rsft.data.manifest import read_attributes
from rsft.errors import InputError
from rsft.face.evaluation.protocol import read_protocol
from rsft.face.forget import forget

ONE, TWO = (unicodedata.normalize(form, "Zoë/é.png") for form in ("NFC", "NFD"))


@pytest.fixture(autouse=True)
def _file_system(tmp_path: Path) -> None:
    """Skip where the file system takes the two spellings for one name."""
    (tmp_path / "é").touch()
    if (tmp_path / "e\u0301").exists():
        pytest.skip("the file system treats these names as equal")


def write(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(number))
    return root


def test_ids_are_composed_and_files_are_found_by_their_own_names(tmp_path: Path) -> None:
    images = find_images(write(tmp_path / "faces", TWO, "ann/0.png"), labelled=True)
    assert images.ids == [ONE, "ann/0.png"]
    assert images.read_bytes(0) == picture(0)


@pytest.mark.parametrize(
    ("told", "stored"), [(ONE, TWO), (TWO, ONE), (TWO, TWO), (ONE.split("/")[0] + "/e\u0301.png", TWO)]
)
def test_a_manifest_finds_files_spelt_otherwise(told: str, stored: str, tmp_path: Path) -> None:
    write(tmp_path, stored, "ann/0.png")
    for identity, expected in (("", ONE), (",Zoe\u0308", ONE), (",Zoë", ONE), (",bob", f"bob/{ONE}")):
        head = "path,identity" if identity else "path"
        other = ",ann" if identity else ""
        (tmp_path / "list.csv").write_text(f"{head}\n{told}{identity}\nann/0.png{other}\n", encoding="utf-8")
        images = find_images(tmp_path / "list.csv", labelled=True)
        assert sorted(images.ids) == sorted([expected, "ann/0.png"])
        assert images.read_bytes(images.ids.index(expected)) == picture(0)


def test_files_that_differ_in_composition_only_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "faces", ONE, TWO)
    with pytest.raises(InputError, match=r"2 pictures named 'Zoë/é.png'.*differ only in how Unicode .*'Zoe\\u0308/e"):
        find_images(tmp_path / "faces")
    (tmp_path / "faces" / "list.csv").write_text("path\nZoë/e\u0301.png\n", encoding="utf-8")
    with pytest.raises(InputError, match="2 files differ from it only in how Unicode composes"):
        find_images(tmp_path / "faces" / "list.csv")


def test_one_person_of_two_spellings_is_one_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = find_images(write(tmp_path / "faces", "Zoë/0.png", "Zoe\u0308/1.png", "ann/0.png"))
    assert images.people_names == ["Zoë", "ann"]
    assert images.ids == ["Zoë/0.png", "Zoë/1.png", "ann/0.png"]
    assert "1 identities are spelt in several ways" in caplog.text


def test_tables_find_pictures_spelt_otherwise(tmp_path: Path) -> None:
    images = find_images(write(tmp_path / "faces", TWO, "Zoe\u0308/1.png"))
    (tmp_path / "a.csv").write_text(f"path,light\n{TWO},dim\nZoë/1.png,day\n", encoding="utf-8")
    assert read_attributes(tmp_path / "a.csv", images.ids) == {"light": ["day", "dim"]}
    (tmp_path / "faces" / "pairs.csv").write_text(f"a,b,same\n{TWO},Zoë/1.png,1\n", encoding="utf-8")
    assert read_protocol(tmp_path / "faces" / "pairs.csv").images.ids == images.ids


def test_a_person_is_forgotten_in_every_spelling(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,identity\n1.png,Zoë\n2.png,Zoe\u0308\n3.png,ann\n", encoding="utf-8")
    for name in ("Zoë", "Zoe\u0308"):
        (tmp_path / "copy.csv").write_bytes((tmp_path / "list.csv").read_bytes())
        assert forget(name, [], [tmp_path / "copy.csv"])["manifests"][0]["removed"] == 2
