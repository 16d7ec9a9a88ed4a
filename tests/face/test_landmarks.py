"""Points from a file give the chips that the detector's own points give, and no face is looked for."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsft.data.features import load_features
from rsft.data.images import find_images
from rsft.errors import InputError
from rsft.face.align import FaceAligner
from rsft.face.commands import embed_folder
from rsft.face.embed import chip_reader, embed, face_reader
from rsft.face.landmarks import COLUMNS, points_of, read_landmarks
from rsft.face.model import load_model
from rsft.face.orl import orl_faces

HEADER = ",".join(["path", *COLUMNS])


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    faces = orl_faces()
    for number, index in enumerate((0, 40, 80)):
        (root / f"p{number}").mkdir()
        Image.fromarray(faces.read(index)).save(root / f"p{number}" / "1.png")
    return root


def test_told_points_stand_in_for_the_detectors(photographs: Path, tmp_path: Path) -> None:
    model = load_model("dlib")
    find = face_reader(model)
    images = find_images(photographs)
    lines = [HEADER]
    for row, item in enumerate(images.ids):
        points = find(images.read(row)).points
        assert points is not None
        lines.append(",".join([item, *(f"{value:.4f}" for value in points.ravel())]))
    (tmp_path / "l.csv").write_text("\n".join(lines))
    detected = embed(model, images, cut=8)
    told = embed_folder(pool=photographs, out=tmp_path / "out", landmarks=tmp_path / "l.csv")
    np.testing.assert_allclose(told.embeddings, detected.embeddings, atol=0.02)
    assert load_features(tmp_path / "out").covariates["yaw"] == pytest.approx(detected.covariates["yaw"], abs=1e-3)


def test_who_has_none_or_one_elsewhere_is_left_out(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def detect(*arguments: object) -> None:
        raise AssertionError("a face was looked for")

    monkeypatch.setattr(FaceAligner, "_detect", detect)
    good = np.array([[30, 40], [60, 40], [45, 60], [35, 80], [55, 80]], np.float32)
    points = {"p0/1.png": good, "p1/1.png": good + 500}
    features = embed(load_model("dlib"), find_images(photographs), cut=8, landmarks=points)
    assert features.ids == ["p0/1.png"]
    assert features.quarantined == [("p1/1.png", "its landmarks lie outside"), ("p2/1.png", "no landmarks")]


def test_parts_made_with_other_points_are_not_taken_for_these(photographs: Path, tmp_path: Path) -> None:
    images, model = find_images(photographs), load_model("dlib")
    good = np.array([[30, 40], [60, 40], [45, 60], [35, 80], [55, 80]], np.float32)
    first, second = (
        embed(model, images, cut=8, landmarks=dict.fromkeys(images.ids, points), folder=tmp_path / "kept")
        for points in (good, good + 3)
    )
    anew = embed(model, images, cut=8, landmarks=dict.fromkeys(images.ids, good + 3))
    np.testing.assert_array_equal(second.embeddings, anew.embeddings)
    assert not np.allclose(first.embeddings, second.embeddings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,x1\na,1\n", "it lacks y1, x2"),
        (f"{HEADER}\na,1,2,3,4,5,6,7,8,9,ten\n", "line 2 needs ten numbers"),
        (f"{HEADER}\na,1,2,3,4,5,6,7,8,9,nan\n", "line 2 has no face"),
        (f"{HEADER}\na,1,2,1,2,1,2,1,2,1,2\n", "line 2 has no face"),
        (f"{HEADER}\n" + 2 * "a,1,1,9,1,5,5,1,9,9,9\n", "names 'a' twice"),
    ],
)
def test_points_of_no_face_are_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read_landmarks(tmp_path / "l.csv")


def test_points_of_other_pictures_or_of_chips_are_refused(photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(f"{HEADER}\na,1,1,9,1,5,5,1,9,9,9\n")
    with pytest.raises(InputError, match="landmarks of none of the 3 pictures"):
        points_of(tmp_path / "l.csv", find_images(photographs), aligned=False)
    with pytest.raises(InputError, match="aligned chips have none"):
        points_of(tmp_path / "l.csv", find_images(photographs), aligned=True)


def test_of_several_faces_the_large_and_central_one_is_taken(photographs: Path) -> None:
    """A person in the middle and a smaller bystander on either side: the chip is that of the person alone."""
    person, bystander = (
        np.asarray(Image.open(photographs / f"p{number}" / "1.png").convert("RGB")) for number in (0, 1)
    )
    small = np.asarray(Image.fromarray(bystander).resize((64, 78)))
    to_chip, find = chip_reader(load_model("dlib")), face_reader(load_model("dlib"))
    canvas = np.full((150, 330, 3), 90, np.uint8)
    canvas[19:131, 119:211] = person
    for left in (10, 256):
        scene = canvas.copy()
        scene[40:118, left : left + 64] = small
        face = find(scene)
        assert face.faces == 2
        assert face.points is not None
        assert 119 < face.points.mean(0)[0] < 211
        unlike = {name: np.abs(face.chip - to_chip(one).astype(float)).mean() for name, one in
                  (("person", person), ("bystander", bystander))}  # fmt: skip
        assert unlike["person"] < 0.6 * unlike["bystander"]
