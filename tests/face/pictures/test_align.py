"""Faces are found in photographs and warped onto the template."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rsft.errors import NoFaceError
from rsft.face.networks.chip_points import DLIB, similarity_transform
from rsft.face.networks.load import load_model
from rsft.face.networks.packages import package_file
from rsft.face.pictures.align import FaceAligner
from rsft.face.pictures.embedding import YUNET_FILE, YUNET_PACKAGE, YUNET_SHA256, chip_reader
from rsft.face.pictures.orl import orl_faces


@given(st.floats(-3, 3), st.floats(0.1, 10), st.floats(-50, 50), st.floats(-50, 50))
def test_a_similarity_is_recovered(angle: float, scale: float, x: float, y: float) -> None:
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    source = np.array(DLIB)
    found = similarity_transform(source, source @ matrix.T + [x, y])
    np.testing.assert_allclose(found, np.column_stack([matrix, [x, y]]), atol=1e-6)


def test_points_follow_the_face() -> None:
    """In an enlarged copy with margins, the points move with the face, within a fifth of its eye distance."""
    detector = package_file(YUNET_PACKAGE, YUNET_FILE, YUNET_SHA256)
    align = FaceAligner(np.array(DLIB), 150, detector)
    photographs = orl_faces()
    for index in (0, 100, 200):
        photograph = photographs.read(index)
        face = align(photograph)
        large = np.asarray(Image.fromarray(photograph).resize((184, 224), Image.Resampling.BICUBIC))
        moved = align(np.pad(large, ((60, 20), (30, 90), (0, 0)), mode="edge"))
        assert face.points is not None
        assert moved.points is not None
        eyes = np.linalg.norm(face.points[0] - face.points[1])
        assert np.abs(moved.points - (2 * face.points + [30, 60])).max() < 2 * eyes / 5
        warped = face.points @ similarity_transform(face.points, align.template)[:, :2].T
        assert face.chip.shape == (150, 150, 3)
        assert np.linalg.norm(warped[0] - warped[1]) == pytest.approx(59, abs=6)  # the template's eyes are 59 px apart


def test_a_picture_without_a_face_raises_an_error() -> None:
    with pytest.raises(NoFaceError):
        chip_reader(load_model("dlib"))(np.zeros((100, 100, 3), np.uint8))


def test_aligned_chips_are_only_scaled() -> None:
    to_chip = chip_reader(load_model("dlib"), aligned=True)
    chip = np.random.default_rng(0).integers(0, 255, (150, 150, 3), np.uint8)
    assert to_chip(chip) is chip
    assert to_chip(np.zeros((300, 300, 3), np.uint8)).shape == (150, 150, 3)
