"""ONNX graphs as PyTorch networks that can be trained."""

from rsft.face.networks.onnx.file import read_file
from rsft.face.networks.onnx.graph import read_onnx
from rsft.face.networks.onnx.runtime import run_onnx

__all__ = [
    "read_file",
    "read_onnx",
    "run_onnx",
]
