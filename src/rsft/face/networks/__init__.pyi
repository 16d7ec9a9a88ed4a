"""The public names of the package and where each is defined; read at run time by `lazy_loader`."""

from .bundle import ChangedModelError, FaceModel, face_model, fuse
from .chip_points import ARCFACE, DLIB, Template, scaled, similarity_transform
from .load import ModelLike, load_model
from .names import KNOWN
from .parity import Parity, drawn_chips
from .preprocess import Preprocess
from .saved import load_bundle
from .stages import in_stages

__all__ = [
    "ARCFACE",
    "DLIB",
    "KNOWN",
    "ChangedModelError",
    "FaceModel",
    "ModelLike",
    "Parity",
    "Preprocess",
    "Template",
    "drawn_chips",
    "face_model",
    "fuse",
    "in_stages",
    "load_bundle",
    "load_model",
    "scaled",
    "similarity_transform",
]
