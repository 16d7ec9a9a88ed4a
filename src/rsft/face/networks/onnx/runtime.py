"""Run ONNX graphs with onnxruntime, as the reference for a converted or exported network."""

from typing import Any

import numpy as np

from rsft.errors import InputError, how_to_install
from rsft.face.networks.onnx.file import keep_output, short

FATAL_ONLY = 4  # onnxruntime's log level: what goes wrong is raised as well


class NotRunError(InputError):
    """Raised if onnxruntime cannot run a graph."""


def session(graph: bytes) -> Any:
    """Return an `onnxruntime.InferenceSession` on the CPU with one thread.

    Raises:
        InputError: `onnxruntime` is not installed.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise InputError(f"reading this ONNX graph needs onnxruntime: {how_to_install('onnx')}.") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL_ONLY
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"], enable_fallback=0)


def run_onnx(graph: bytes, pictures: np.ndarray, output: str | None = None) -> np.ndarray:
    """Compute one output of a graph, one picture at a time because a graph may accept only a batch of one.

    Args:
        graph: Content of an ONNX file.
        pictures: (B, 3, size, size) inputs; they get the type and the layout that the graph takes.
        output: Name of the output; by default the first.

    Returns:
        (B, D) float32 outputs.

    Raises:
        NotRunError: onnxruntime cannot run the graph, or is not installed.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401  asked for here, so that the message says what it is for
    except ModuleNotFoundError as error:
        raise NotRunError(f"comparing with ONNX needs the package '{error.name}': {how_to_install('onnx')}.") from error
    model = onnx.load_model_from_string(graph)
    output = output or model.graph.output[0].name
    model = onnx.load_model_from_string(keep_output(graph, output))
    given = model.graph.input[0]
    if [dim.dim_value for dim in given.type.tensor_type.shape.dim][-1:] == [3]:
        pictures = pictures.transpose(0, 2, 3, 1)
    pictures = pictures.astype(onnx.helper.tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type))
    try:
        running = session(model.SerializeToString())
        rows = [running.run([output], {given.name: picture[None]})[0] for picture in pictures]
    except InputError:
        raise
    except Exception as error:  # errors of the C++ library have no common base
        raise NotRunError(f"onnxruntime cannot run the graph: {short(error)}.") from error
    return np.concatenate([row.reshape(1, -1) for row in rows]).astype(np.float32)
