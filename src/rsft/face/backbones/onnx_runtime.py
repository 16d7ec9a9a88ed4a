"""An ONNX graph as onnxruntime runs it: what a converted or exported network is compared with."""

import numpy as np

from rsft.errors import InputError

ERRORS_ONLY = 3


def run_onnx(graph: bytes, pictures: np.ndarray) -> np.ndarray:
    """The first output for each picture by itself, as a graph may be made for a batch of one.

    Args:
        graph: bytes of an ONNX file.
        pictures: (B, 3, size, size) float32.

    Returns:
        (B, D) float32.

    Raises:
        InputError: `onnxruntime` is not installed.
    """
    try:
        import onnx
        import onnxruntime
    except ModuleNotFoundError as error:
        raise InputError(f"comparing with ONNX needs the package '{error.name}': pip install 'rsft[onnx]'.") from error
    model = onnx.load_model_from_string(graph)
    # what is listed as input and used by no node, or has a value, is none
    used = {name for node in model.graph.node for name in node.input}
    inputs = [value for value in model.graph.input if value.name in used - {t.name for t in model.graph.initializer}]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: picture[None]})[0] for picture in pictures])
