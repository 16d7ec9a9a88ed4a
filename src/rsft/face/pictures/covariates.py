"""Covariates of a face picture that need no network: light, sharpness, pose, size and a covered mouth."""

import cv2
import numpy as np

from rsft.face.pictures.align import AlignedFace

MIN_SPREAD = 1e-6


def covariates(face: AlignedFace, template: np.ndarray) -> dict[str, float]:
    """Compute the covariates of one face.

    Args:
        face: The chip (aligned face picture) and, if the face was found in a photograph, its points there.
        template: (5, 2) points of the chip in pixels.

    Returns:
        Covariate -> value, for:

        - brightness: Mean grey level of the chip, in 0..255.
        - contrast: Standard deviation of the grey level.
        - sharpness: Log of the variance of the Laplacian of the chip, which is smoothed first to suppress noise.
        - noise: Mean absolute difference between the grey level and its 3 x 3 median.
        - mouth_detail: Log of the ratio of the mean grey-level gradient around the mouth to that around the eyes. A
          covered or dark mouth has few edges.

        and, only if `face.points` is not None:

        - yaw: Distance of the nose to the right of the midpoint of the eyes, in units of the eye distance.
        - roll_degrees: Angle of the line through the eyes in degrees, clockwise in the picture.
        - eye_distance_pixels: Eye distance in pixels of the photograph.
        - detector_confidence: Confidence of the face detector, in [0, 1].
    """
    grey = cv2.cvtColor(face.chip, cv2.COLOR_RGB2GRAY)
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.5)
    gradient = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    eyes, mouth = (_mean_around(gradient, points) for points in (template[:2], template[3:]))
    result = {
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "sharpness": float(np.log(cv2.Laplacian(smooth, cv2.CV_32F).var() + MIN_SPREAD)),
        "noise": float(np.abs(grey.astype(np.int16) - cv2.medianBlur(grey, 3)).mean()),
        "mouth_detail": float(np.log((mouth + MIN_SPREAD) / (eyes + MIN_SPREAD))),
    }
    if face.points is None:
        return result
    across = face.points[1] - face.points[0]
    distance = float(np.linalg.norm(across))
    nose = face.points[2] - face.points[:2].mean(0)
    return result | {
        "yaw": float(nose @ across) / max(distance, MIN_SPREAD) ** 2,
        "roll_degrees": float(np.degrees(np.arctan2(across[1], across[0]))),
        "eye_distance_pixels": distance,
        "detector_confidence": face.confidence,
    }


def _mean_around(image: np.ndarray, pair: np.ndarray) -> float:
    """Return the mean over a box around two points: wider by a quarter of their distance per side, half as high."""
    (left, top), (right, bottom) = pair
    margin, middle = (right - left) / 4, (top + bottom) / 2
    half = (right - left + 2 * margin) / 4
    rows = slice(max(0, round(middle - half)), round(middle + half) + 1)
    return float(image[rows, max(0, round(left - margin)) : round(right + margin) + 1].mean())
