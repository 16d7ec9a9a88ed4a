"""Run an ONNX graph with onnxruntime, as the reference for a converted or exported network."""

import numpy as np

from rsft.errors import InputError

ERRORS_ONLY = 3  # onnxruntime's log level


def run_onnx(graph: bytes, pictures: np.ndarray) -> np.ndarray:
    """Compute the first output of a graph, one picture at a time because a graph may accept only a batch of one.

    Args:
        graph: Content of an ONNX file.
        pictures: (B, 3, size, size) float32 inputs.

    Returns:
        (B, D) float32 outputs.

    Raises:
        InputError: `onnx` or `onnxruntime` is not installed.
    """
    try:
        import onnx
        import onnxruntime
    except ModuleNotFoundError as error:
        raise InputError(f"comparing with ONNX needs the package '{error.name}': pip install 'rsft[onnx]'.") from error
    model = onnx.load_model_from_string(graph)
    # keep only true inputs: a listed input may be unused or be an initialiser
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
