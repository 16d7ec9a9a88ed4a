"""Align faces: find the face and its five points in a photograph and warp it to the chip that a network takes."""

import threading
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from rsft.errors import NoFaceError
from rsft.face.networks.chip_points import similarity_transform

# Longer side of the picture for the detector: small pictures are enlarged, large ones cost no more.
DETECTION_SIDE = 320
BORDER_FRACTION = 0.25
LOG_LEVEL_LOCK = threading.Lock()


@dataclass(frozen=True)
class AlignedFace:
    """One aligned face.

    Attributes:
        chip: (size, size, 3) uint8 RGB picture of the face, warped to the template.
        points: (5, 2) float32 points in pixels of the photograph: left eye, right eye, nose, left and right mouth
            corner, as seen in the picture. None if the picture was a chip already.
        confidence: Confidence of the detector, in [0, 1]; 1 if no detector was used.
        faces: Number of faces found in the photograph.
    """

    chip: np.ndarray
    points: np.ndarray | None = None
    confidence: float = 1.0
    faces: int = 1


class FaceAligner:
    """Align faces with YuNet detection (W. Wu et al., 2023) and a similarity warp onto a five-point template.

    If a picture shows several faces, the one with the largest `area - 2 * (distance from the centre)^2` in pixels is
    used, so that a bystander at the edge is not chosen. Instances may be called from several threads: each thread has
    its own detector.

    Args:
        template: (5, 2) points of the chip in pixels.
        size: Side of the chip in pixels.
        detector: Path of the YuNet ONNX file.
        min_confidence: Detections with a lower confidence are ignored, in [0, 1].
    """

    def __init__(self, template: np.ndarray, size: int, detector: Path, min_confidence: float = 0.6) -> None:
        self.template = np.asarray(template, np.float32)
        self.size = size
        self._detector = detector
        self._min_confidence = min_confidence
        self._local = threading.local()

    def __call__(self, image: np.ndarray) -> AlignedFace:
        """Align the main face of a picture.

        Args:
            image: (H, W, 3) uint8 RGB picture.

        Raises:
            NoFaceError: No face was found, neither in the picture nor with a border added around it.
        """
        found = self._detect(image)
        if found is None:  # the detector finds a face that fills the picture only with a border around it
            border = int(BORDER_FRACTION * max(image.shape[:2]))
            found = self._detect(
                cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REPLICATE), border
            )
        if found is None:
            raise NoFaceError("no face found")
        points, confidence, faces = found
        return AlignedFace(warp(image, points, self.template, self.size), points, confidence, faces)

    def _detect(self, image: np.ndarray, border: int = 0) -> tuple[np.ndarray, float, int] | None:
        """Return the points (with `border` subtracted) and confidence of the main face and the number of faces."""
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
        """Return the detector of the current thread."""
        if not hasattr(self._local, "detector"):
            with LOG_LEVEL_LOCK:  # OpenCV 5 warns about its own defaults; all threads share its log level
                level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
                self._local.detector = cv2.FaceDetectorYN.create(str(self._detector), "", (1, 1), self._min_confidence)
                cv2.utils.logging.setLogLevel(level)
        return self._local.detector


def warp(image: np.ndarray, points: np.ndarray, template: np.ndarray, size: int) -> np.ndarray:
    """Warp a picture so that its five points lie on those of the template, as closely as a similarity allows.

    Args:
        image: (H, W, 3) uint8 picture.
        points: (5, 2) points of the face in pixels of the picture.
        template: (5, 2) points of the chip in pixels.
        size: Side of the chip in pixels.

    Returns:
        (size, size, 3) uint8 chip. Pixels outside the picture repeat its edge.
    """
    matrix = similarity_transform(points, template)
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
