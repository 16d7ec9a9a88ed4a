from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsft.errors import InputError
from rsft.face.protocol import read_protocol


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    for name in ("ann/1.png", "ann/2.png", "bob/1.png", "loose1.png", "loose2.png", "loose3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / name)
    return tmp_path


def pairs(folder: Path, *lines: str) -> Path:
    path = folder / "pairs.csv"
    path.write_text("\n".join(lines))
    return path


def test_pairs(faces: Path) -> None:
    protocol = read_protocol(pairs(faces, "a,b,same,fold", "ann/1.png,ann/2.png,1,1", "ann/2.png,bob/1.png,0,2"))
    assert protocol.images.ids == ["ann/1.png", "ann/2.png", "bob/1.png"]
    assert protocol.comparisons.genuine.tolist() == [True, False]
    assert protocol.comparisons.fold is not None
    assert protocol.comparisons.fold.tolist() == [1, 2]
    comparisons, left_out = protocol.restricted_to(["ann/2.png", "bob/1.png"])
    assert left_out == 1
    assert (comparisons.a.tolist(), comparisons.b.tolist(), comparisons.genuine.tolist()) == ([0], [1], [False])


def test_pictures_without_folders_are_linked_by_their_pairs(faces: Path) -> None:
    lines = ("a,b,same", "loose1.png,loose2.png,1", "loose2.png,loose3.png,0")
    assert read_protocol(pairs(faces, *lines)).comparisons.genuine.tolist() == [True, False]


def test_a_folder_is_everybody_against_everybody(faces: Path) -> None:
    for loose in faces.glob("loose*"):
        loose.unlink()
    comparisons = read_protocol(faces).comparisons
    assert (len(comparisons.a), comparisons.genuine.sum()) == (3, 1)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("a,b", "ann/1.png,ann/2.png"), "lacks same"),
        (("a,b,same",), "lists no pairs"),
        (("a,b,same", "ann/1.png,ann/9.png,1"), "1 pictures that are not in .* --eval-root"),
        (("a,b,same", "ann/1.png,ann/2.png,maybe"), "line 2: same needs 1 or 0, got 'maybe'"),
        (("a,b,same", "ann/1.png,ann/2.png,0"), "line 2 contradicts itself"),
        (("a,b,same,fold", "ann/1.png,ann/2.png,1,x"), "fold needs a whole number"),
    ],
)
def test_bad_pairs_are_refused(faces: Path, lines: tuple[str, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_protocol(pairs(faces, *lines))
