"""Face networks: weights, and all that travels with them."""

from rsft.face.networks.bundle import ChangedModelError, FaceModel, face_model, fuse
from rsft.face.networks.chip_points import ARCFACE, DLIB, Template, scaled, similarity_transform
from rsft.face.networks.load import KNOWN, ModelLike, load_model
from rsft.face.networks.parity import Parity, drawn_chips
from rsft.face.networks.preprocess import Preprocess
from rsft.face.networks.saved import load_bundle
from rsft.face.networks.stages import in_stages

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
