"""What can be told of a face picture without a network: light, sharpness, pose, size, a covered mouth."""

import cv2
import numpy as np

from rsft.face.align import AlignedFace

# Covariate -> what a low and a high value is called.
WORDS = {
    "brightness": ("dark", "bright"),
    "contrast": ("low contrast", "high contrast"),
    "sharpness": ("blurred", "sharp"),
    "noise": ("clean", "noisy"),
    "mouth_difference": ("mouth like the cheeks", "mouth covered"),
    "yaw": ("turned to the left of the picture", "turned to the right of the picture"),
    "roll_degrees": ("tilted to the left", "tilted to the right"),
    "eye_distance_pixels": ("small face", "large face"),
    "detector_confidence": ("hard to detect", "easy to detect"),
}
MIN_SPREAD = 1e-6


def covariates(face: AlignedFace, template: np.ndarray) -> dict[str, float]:
    """The covariates of one face; those of pose and size only where it was found in a photograph.

    Args:
        face: the chip, and the points in the photograph if any.
        template: (5, 2) points of the chip.

    Returns:
        brightness: mean grey level, 0 to 255.
        contrast: its standard deviation.
        sharpness: log of the variance of the Laplacian of the chip, smoothed against noise.
        noise: median absolute difference of the grey level to its 3 x 3 median.
        mouth_difference: distance in Lab between the mean colours of the mouth's and the cheeks' region.
        yaw: how far the nose is to the right of the middle of the eyes, in distances of the eyes.
        roll_degrees: of the line of the eyes, clockwise in the picture.
        eye_distance_pixels: in the photograph.
        detector_confidence: in [0, 1].
    """
    grey = cv2.cvtColor(face.chip, cv2.COLOR_RGB2GRAY)
    lab = cv2.cvtColor(face.chip.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    left_eye, right_eye, _, left_mouth, right_mouth = template
    cheeks = _mean_colour(lab, left_eye[0], right_eye[0], left_eye[1], left_mouth[1], 0.25, 0.6)
    mouth = _mean_colour(lab, left_mouth[0], right_mouth[0], left_mouth[1], 2 * left_mouth[1] - left_eye[1], -0.1, 0.4)
    result = {
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "sharpness": float(np.log(cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), 1.5), cv2.CV_32F).var() + MIN_SPREAD)),
        "noise": float(np.abs(grey.astype(np.int16) - cv2.medianBlur(grey, 3)).mean()),
        "mouth_difference": float(np.linalg.norm(mouth - cheeks)),
    }
    if face.points is None:
        return result
    eyes = face.points[1] - face.points[0]
    distance = float(np.linalg.norm(eyes))
    nose = face.points[2] - face.points[:2].mean(0)
    return result | {
        "yaw": float(nose @ eyes) / max(distance, MIN_SPREAD) ** 2,
        "roll_degrees": float(np.degrees(np.arctan2(eyes[1], eyes[0]))),
        "eye_distance_pixels": distance,
        "detector_confidence": face.confidence,
    }


def _mean_colour(
    lab: np.ndarray, left: float, right: float, top: float, bottom: float, first: float, last: float
) -> np.ndarray:
    """Over the columns from `left` to `right`, and the rows from `first` to `last` of the way from top to bottom."""
    height = bottom - top
    rows = slice(max(0, round(top + first * height)), round(top + last * height) + 1)
    return lab[rows, round(left) : round(right) + 1].mean((0, 1))
