"""Covariates respond to changes of the picture."""

import cv2
import numpy as np
import pytest

from rsft.face.adaptation.planning import WORDS
from rsft.face.networks.load import load_model
from rsft.face.pictures.align import AlignedFace
from rsft.face.pictures.covariates import covariates
from rsft.face.pictures.drawn_shifts import low_resolution, mask, night
from rsft.face.pictures.embedding import face_reader
from rsft.face.pictures.orl import orl_faces

PICTURES = range(0, 400, 20)


@pytest.fixture(scope="module")
def faces() -> tuple[list[AlignedFace], np.ndarray]:
    model, photographs = load_model("dlib"), orl_faces()
    read = face_reader(model)
    return [read(photographs.read(index)) for index in PICTURES], np.array(model.template)


@pytest.mark.parametrize(
    ("draw", "name", "sign"),
    [
        (night, "brightness", -1),
        (night, "noise", 1),
        (night, "contrast", -1),
        (low_resolution, "sharpness", -1),
        (mask, "mouth_detail", -1),
    ],
)
def test_a_drawn_shift_changes_its_covariate(faces, draw, name: str, sign: int) -> None:  # type: ignore[no-untyped-def]
    """The covariate changes in the expected direction in at least nine of ten pictures."""
    chips, template = faces
    generator = np.random.default_rng(0)
    moved = [
        covariates(AlignedFace(draw(face.chip, generator)), template)[name] - covariates(face, template)[name]
        for face in chips
    ]
    assert (sign * np.array(moved) > 0).mean() >= 0.9


def test_pose_and_size_are_measured_in_the_photograph(faces) -> None:  # type: ignore[no-untyped-def]
    """Doubling a picture doubles the eye distance; mirroring it moves the nose to the other side."""
    chips, template = faces
    for face in chips:
        assert face.points is not None
        found = covariates(face, template)
        assert set(found) == set(WORDS)
        twice = covariates(AlignedFace(face.chip, 2 * face.points, face.confidence), template)
        assert twice["eye_distance_pixels"] == pytest.approx(2 * found["eye_distance_pixels"], rel=1e-5)
        assert twice["yaw"] == pytest.approx(found["yaw"], abs=1e-5)
        mirrored = (face.points * [-1, 1])[[1, 0, 2, 4, 3]]
        other = covariates(AlignedFace(cv2.flip(face.chip, 1), mirrored, face.confidence), template)
        assert other["yaw"] == pytest.approx(-found["yaw"], abs=1e-5)
        assert other["roll_degrees"] == pytest.approx(-found["roll_degrees"], abs=1e-3)


def test_a_chip_alone_has_no_pose(faces) -> None:  # type: ignore[no-untyped-def]
    chips, template = faces
    assert "yaw" not in covariates(AlignedFace(chips[0].chip), template)
