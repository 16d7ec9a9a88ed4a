"""Compare a network that was converted from an ONNX graph with the graph in onnxruntime."""

import torch

from rsft.errors import InputError
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.onnx.graph import Converted
from rsft.face.networks.onnx.runtime import run_onnx
from rsft.face.networks.parity import MAX_ERROR, drawn_chips, relative_error

MAX_HALF_ERROR = 0.03  # for graphs that compute in half precision, which the converted network does not


def compare_with_runtime(model: FaceModel, converted: Converted) -> float:
    """Return the largest relative distance between a network's outputs and those of its graph in onnxruntime.

    Both get the same chips, drawn by formula, in 0..255, through the preprocessing of the model.

    Args:
        model: Model with a graph.
        converted: What `read_onnx` found in the graph.

    Raises:
        InputError: The distance is too large, or `onnxruntime` is not installed.
        NotRunError: onnxruntime cannot run the graph.
    """
    assert model.graph is not None
    pictures = torch.from_numpy(drawn_chips(model.template, model.size)).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        given, found = model.preprocess(pictures), model.network(pictures)
    error = relative_error(found.numpy(), run_onnx(model.graph, given.numpy(), converted.output))
    if not error <= (MAX_HALF_ERROR if converted.is_half else MAX_ERROR):
        raise InputError(f"the converted network of '{model}' differs by {error:.1%} from its outputs in onnxruntime.")
    return error


def check_pixels(model: FaceModel, converted: Converted) -> None:
    """Raise an error if preprocessing and graph together do not normalise pixels in 0..255 as any network would."""
    settings = model.preprocess.settings()
    entry = converted.entry.after(settings["order"], settings["mean"], settings["std"])  # type: ignore[arg-type]
    if not entry.fits_pixels():
        raise InputError(
            f"the first layer of '{model}' would get {entry.seen()} for pixels in 0..255: the graph normalises its "
            "input, and mean and std do not fit that; correct them in the bundle beside it, or leave them out."
        )
