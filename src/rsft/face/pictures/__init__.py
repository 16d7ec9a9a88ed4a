"""From a photograph to a chip and from chips to features."""

from rsft.face.pictures.align import AlignedFace, FaceAligner, warp
from rsft.face.pictures.covariates import covariates
from rsft.face.pictures.drawn_shifts import SHIFTS
from rsft.face.pictures.embedding import chip_reader, embed, face_finder, face_reader
from rsft.face.pictures.landmarks import Landmarks, points_of_sets, read_landmarks
from rsft.face.pictures.orl import orl_faces

__all__ = [
    "SHIFTS",
    "AlignedFace",
    "FaceAligner",
    "Landmarks",
    "chip_reader",
    "covariates",
    "embed",
    "face_finder",
    "face_reader",
    "orl_faces",
    "points_of_sets",
    "read_landmarks",
    "warp",
]
