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
    "mouth_detail": ("mouth covered", "mouth seen clearly"),
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
        mouth_detail: log of the mean gradient of the grey level around the mouth over that around the eyes: a covered
            mouth, or one in the dark, has few edges.
        yaw: how far the nose is to the right of the middle of the eyes, in distances of the eyes.
        roll_degrees: of the line of the eyes, clockwise in the picture.
        eye_distance_pixels: in the photograph.
        detector_confidence: in [0, 1].
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
    """Over a box around two points, wider than them by a quarter of their distance and half as high as wide."""
    (left, top), (right, bottom) = pair
    margin, middle = (right - left) / 4, (top + bottom) / 2
    half = (right - left + 2 * margin) / 4
    rows = slice(max(0, round(middle - half)), round(middle + half) + 1)
    return float(image[rows, max(0, round(left - margin)) : round(right + margin) + 1].mean())
