"""From a photograph to the chip a face network was trained on: find the face, its five points, and warp."""

import threading
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from rsft.errors import NoFaceError

# Pictures are shown to the detector with this long a side: small ones are enlarged, large ones cost no more.
DETECTION_SIDE = 320
BORDER_FRACTION = 0.25
LOG_LEVEL_LOCK = threading.Lock()


@dataclass(frozen=True)
class AlignedFace:
    """One face, warped.

    Attributes:
        chip: (size, size, 3) uint8 RGB.
        points: (5, 2) float32, in the photograph's pixels: left eye, right eye, nose, left and right mouth corner, as
            seen in the picture; None where the picture was a chip already.
        confidence: the detector's, in [0, 1].
        faces: how many faces were found.
    """

    chip: np.ndarray
    points: np.ndarray | None = None
    confidence: float = 1.0
    faces: int = 1


class FaceAligner:
    """YuNet detection (W. Wu et al., 2023) and a similarity warp onto a model's five-point template.

    Of several faces the one with the largest `area - 2 * (distance from the centre)^2` is taken, in pixels, so that a
    bystander at the edge does not win. Safe to call from several threads: each has its own detector.

    Args:
        template: (5, 2) points of the chip.
        size: side of the chip in pixels.
        detector: path of the YuNet ONNX file.
        min_confidence: detections below are ignored, in [0, 1].
    """

    def __init__(self, template: np.ndarray, size: int, detector: Path, min_confidence: float = 0.6) -> None:
        self.template = np.asarray(template, np.float32)
        self.size = size
        self._detector = detector
        self._min_confidence = min_confidence
        self._local = threading.local()

    def __call__(self, image: np.ndarray) -> AlignedFace:
        """Align the main face of an (H, W, 3) uint8 RGB picture.

        Raises:
            NoFaceError: no face was found, with and without a border around the picture.
        """
        found = self._detect(image)
        if found is None:  # a face that fills the picture is found once there is something around it
            border = int(BORDER_FRACTION * max(image.shape[:2]))
            found = self._detect(
                cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REPLICATE), border
            )
        if found is None:
            raise NoFaceError("no face found")
        points, confidence, faces = found
        return AlignedFace(warp(image, points, self.template, self.size), points, confidence, faces)

    def _detect(self, image: np.ndarray, border: int = 0) -> tuple[np.ndarray, float, int] | None:
        scale = DETECTION_SIDE / max(image.shape[:2])
        width, height = (max(1, round(side * scale)) for side in (image.shape[1], image.shape[0]))
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        detector = self._thread_detector()
        detector.setInputSize((width, height))
        _, rows = detector.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        if rows is None:
            return None
        centres = rows[:, :2] + rows[:, 2:4] / 2 - np.array([width, height]) / 2
        best = np.argmax(rows[:, 2] * rows[:, 3] - 2 * (centres**2).sum(1))
        points = rows[best, 4:14].reshape(5, 2) / np.array([width, height]) * np.array(image.shape[1::-1]) - border
        return points.astype(np.float32), float(rows[best, 14]), len(rows)

    def _thread_detector(self) -> cv2.FaceDetectorYN:
        if not hasattr(self._local, "detector"):
            with LOG_LEVEL_LOCK:  # OpenCV 5 warns of its own defaults; its log level is one for all threads
                level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
                self._local.detector = cv2.FaceDetectorYN.create(str(self._detector), "", (1, 1), self._min_confidence)
                cv2.utils.logging.setLogLevel(level)
        return self._local.detector


def warp(image: np.ndarray, points: np.ndarray, template: np.ndarray, size: int) -> np.ndarray:
    """The (size, size, 3) chip of a picture (H, W, 3) with its five points (5, 2) on those of the template."""
    matrix = similarity_transform(points, template)
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def similarity_transform(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The (2, 3) rotation, uniform scale and shift that takes `source` (n, 2) closest to `target` in least squares.

    Source: S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991,
    eq. 40-42.

    >>> square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    >>> similarity_transform(square, 3 * square + 5).round(6) + 0
    array([[3., 0., 5.],
           [0., 3., 5.]])
    """
    source, target = np.asarray(source, float), np.asarray(target, float)
    source_mean, target_mean = source.mean(0), target.mean(0)
    a, b = source - source_mean, target - target_mean
    u, singular, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * sign) @ vt
    matrix = rotation * (singular * sign).sum() / (a**2).sum()
    return np.column_stack([matrix, target_mean - matrix @ source_mean])
