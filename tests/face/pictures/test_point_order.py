"""Points in another order than the template's are told, and profiles are not taken for them."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from rsft.errors import InputError, InputWarning
from rsft.face.networks.chip_points import ARCFACE, DLIB
from rsft.face.pictures.landmarks import COLUMNS, read_landmarks
from rsft.face.pictures.point_order import FEW, check_order

FACE = np.array(ARCFACE) * 2 + 10
DEPTH = np.array([0.0, 0.0, 45.0, 8.0, 8.0])  # of the points towards the camera, in pixels of `FACE`; rough
ORDERS = {
    "left and right exchanged": FACE[[1, 0, 2, 4, 3]],
    "eyes exchanged": FACE[[1, 0, 2, 3, 4]],
    "mouth exchanged": FACE[[0, 1, 2, 4, 3]],
    "y before x": FACE[:, ::-1],
    "y upwards": np.array([0, 300]) + FACE * [1, -1],
    "nose first": FACE[[2, 0, 1, 3, 4]],
    "nose last": FACE[[0, 1, 3, 4, 2]],
    "mouth first": FACE[[3, 4, 2, 0, 1]],
    "all x before all y": np.concatenate([FACE[:, 0], FACE[:, 1]]).reshape(5, 2),
}


def turned(yaw: float, roll: float = 0.0, pitch: float = 0.0) -> np.ndarray:
    """Return the points of a face that is turned, by angles in degrees."""
    yaw, roll, pitch = np.radians([yaw, roll, pitch])
    middle = FACE.mean(0)
    x, y = (FACE - middle).T
    x, depth = x * np.cos(yaw) + DEPTH * np.sin(yaw), DEPTH * np.cos(yaw) - x * np.sin(yaw)
    y = y * np.cos(pitch) + depth * np.sin(pitch)
    return middle + np.stack([x * np.cos(roll) - y * np.sin(roll), x * np.sin(roll) + y * np.cos(roll)], 1)


def write(path: Path, faces: list[np.ndarray]) -> Path:
    rows = [",".join(["path", *COLUMNS])]
    rows += [f"ann/{row}.jpg," + ",".join(map(str, face.ravel())) for row, face in enumerate(faces)]
    path.write_text("\n".join(rows))
    return path


@pytest.mark.parametrize("order", ORDERS)
def test_another_order_is_refused_with_its_line(order: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"l\.csv' line 3 has .*; 1 of 2 rows\. They need left eye, right eye, nose"):
        read_landmarks(write(tmp_path / "l.csv", [FACE, ORDERS[order]]))


def test_a_single_mistake_among_many_is_warned_of(tmp_path: Path) -> None:
    count = round(1 / FEW)
    faces = [FACE] * (count - 1) + [ORDERS["left and right exchanged"]]
    with pytest.warns(InputWarning, match=rf"line {count + 1} has a mirrored face.*; 1 of {count} rows"):
        assert len(read_landmarks(write(tmp_path / "l.csv", faces))) == count
    with pytest.raises(InputError, match="mirrored"):
        read_landmarks(write(tmp_path / "l.csv", faces[1:]))


def test_a_face_upside_down_is_warned_of(tmp_path: Path) -> None:
    with pytest.warns(InputWarning, match=r"line 3 has a mouth above its eyes; 1 of 2 rows"):
        read_landmarks(write(tmp_path / "l.csv", [FACE, turned(0, roll=180)]))


def test_faces_in_all_poses_pass_without_a_word() -> None:
    """Up to a little more than a profile, where the far eye lies beyond the near one."""
    poses = [
        (yaw, roll, pitch) for yaw in range(-95, 96, 5) for roll in (-80, -30, 0, 45, 80) for pitch in (-35, 0, 35)
    ]
    faces = [turned(*pose) for pose in poses] + [np.array(DLIB)] * 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_order(np.array(faces, np.float32), str)
    wide = np.array([turned(yaw) for yaw in range(-45, 46, 5)])
    with pytest.raises(InputError, match=r"0 has a mirrored face.* 19 of 19 rows"):
        check_order(wide[:, [1, 0, 2, 4, 3]], str)
