"""Whether the five points of faces come in the order that is asked for.

Seen in the picture, whose y grows downwards, the way from the left eye to the right one crosses the way from the eyes
to the mouth clockwise, and the mouth lies along the eyes. If left and right are exchanged, or x and y, or y grows
upwards, the face is mirrored: no similarity maps it onto a template, and a warp shrinks it to a fifth of the chip. In a
profile both cross products fall to 0, and a little below where the far eye is guessed.
"""

import warnings
from collections.abc import Callable

import numpy as np

from rsft.errors import InputError, InputWarning
from rsft.face.networks.chip_points import ARCFACE

# In units of the distance from eyes to mouth. Of 10,760 real faces, 891 of them from cameras all around the head, the
# least sum is -.64 and the largest deviation .46. Mirrored, 99.8 % of LFW's faces have a sum below -.8; with eyes or
# mouth alone exchanged, all have a deviation above .7.
LEAST_SUM = -0.8
MOST_DEVIATION = 0.7
EYES_OVER_MOUTH = (ARCFACE[1][0] - ARCFACE[0][0]) / (ARCFACE[4][0] - ARCFACE[3][0])  # their widths in the template
FEW = 0.01  # share of the rows up to which faces in another order are single mistakes, and are warned of only


def check_order(points: np.ndarray, place: Callable[[int], str]) -> None:
    """Refuse points in another order than left eye, right eye, nose, left and right mouth corner, as seen.

    Args:
        points: (N, 5, 2) finite points in pixels of the upright picture, eyes and mouth apart.
        place: Returns the file and the line of a row.

    Raises:
        InputError: More than `FEW` of the faces have another order.

    Warns:
        InputWarning: Fewer have, or faces stand upside down.
    """
    eyes, mouth, down = _ways(points)
    mirrored = np.flatnonzero(_crossed(eyes, down) + _crossed(mouth, down) < LEAST_SUM)
    apart = np.flatnonzero(np.hypot(*(eyes - EYES_OVER_MOUTH * mouth).T) > MOST_DEVIATION)
    for rows, what in (
        (mirrored, "a mirrored face: left and right are exchanged, x and y are, or y grows upwards"),
        (apart, "eyes and mouth that do not lie along each other: left and right are exchanged in one, or points are"),
    ):
        if len(rows):
            message = (
                f"{place(int(rows[0]))} has {what}; {len(rows)} of {len(points)} rows. They need left eye, right eye, "
                "nose, left and right mouth corner, as seen in the upright picture."
            )
            if len(rows) > FEW * len(points):
                raise InputError(message)
            warnings.warn(message, InputWarning, stacklevel=2)
    over = np.flatnonzero(points[:, 3:, 1].mean(1) < points[:, :2, 1].mean(1))
    if len(over):
        warnings.warn(
            f"{place(int(over[0]))} has a mouth above its eyes; {len(over)} of {len(points)} rows. Are these points of "
            "the pictures as EXIF turns them?",
            InputWarning,
            stacklevel=2,
        )


def _ways(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ways (N, 2) along the eyes, along the mouth and from eyes to mouth, by the length of the last."""
    points = points.astype(float)
    down = points[:, 3:].mean(1) - points[:, :2].mean(1)
    length = np.hypot(*down.T)[:, None]
    return (points[:, 1] - points[:, 0]) / length, (points[:, 4] - points[:, 3]) / length, down / length


def _crossed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cross product (N,) of ways (N, 2)."""
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
