import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsft.data.images import find_images
from rsft.errors import InputError, UnreadableImageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "faces with spaces é"
    for number, name in enumerate(("b/2.png", "a/1.png", "a/deep/3.PNG")):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 5, 3), number, np.uint8)).save(path)
    (root / "a" / "notes.txt").write_text("no picture")
    return root


def test_a_folder_and_its_tar_give_the_same_pictures(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "faces.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, ".")
    for images in (find_images(folder, labelled=True), find_images(archive, labelled=True)):
        assert images.ids == ["a/1.png", "a/deep/3.PNG", "b/2.png"]
        assert images.identities == ["a", "a", "b"]
        assert [int(images.read(i)[0, 0, 0]) for i in range(3)] == [1, 2, 0]
        assert images.subset([2]).read(0).shape == (4, 5, 3)


def test_grey_and_rotated_pictures_become_upright_rgb(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by a quarter turn
    Image.fromarray(np.zeros((4, 8), np.uint8)).save(tmp_path / "grey.jpg", exif=exif)
    assert find_images(tmp_path).read(0).shape == (8, 4, 3)


@pytest.mark.parametrize("content", [b"", b"no picture", "truncated"])
def test_a_damaged_picture_is_reported_as_unreadable(content: bytes | str, tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    if isinstance(content, str):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
        content = path.read_bytes()[:1000]
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match="unreadable"):
        find_images(tmp_path).read(0)


def test_paths_without_pictures_are_rejected(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.tar").write_bytes(b"no archive")
    (tmp_path / "notes.md").write_text("no picture")
    for path, words in {
        tmp_path / "absent": "does not exist",
        tmp_path / "empty": "holds no picture",
        tmp_path / "notes.md": "neither a folder nor a .tar",
        folder / "a" / "notes.txt": "needs a column 'path', got no picture",
        tmp_path / "broken.tar": "as an uncompressed .tar archive",
    }.items():
        with pytest.raises(InputError, match=words):
            find_images(path)
    with pytest.raises(InputError, match=r"one folder per identity, but 1 pictures lie in none, such as '1.png'"):
        find_images(folder / "a", labelled=True)


def test_the_current_folder_can_be_a_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "anna").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "anna" / "a.png")
    monkeypatch.chdir(tmp_path)
    assert find_images(".", labelled=True).ids == ["anna/a.png"]
