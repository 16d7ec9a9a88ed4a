"""Compute the nodes of an ONNX graph that do not depend on the picture, by onnxruntime at the opset of the file.

What an operator means depends on the opset (the default axis of Softmax, attributes that became inputs), so nothing is
computed by a table of ours.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rsft.errors import InputError
from rsft.face.networks.onnx.file import short
from rsft.face.networks.onnx.operation import UnsupportedError
from rsft.face.networks.onnx.runtime import session

MAX_VALUES = 2**25  # that a node computes; 128 MiB in float32, more than twice the largest matrix of a face network
MAX_WEIGHTS = 2**27  # of one initialiser
MAX_COMPUTED = 2**28  # of all that is computed once
IR_VERSION = 10  # of the small graphs that are computed
SMALL = 1024  # values up to which a constant can be a shape, which the size of an output may depend on


class Constants:
    """The constants of a graph by name: its initialisers and what is computed from them.

    Args:
        tensors: Initialisers (`onnx.TensorProto`).
        opsets: Domain -> version of its operators, as the file states them.

    Raises:
        InputError: An initialiser is not what it says.
    """

    def __init__(self, tensors: Sequence[Any], opsets: Mapping[str, int], source: str) -> None:
        self._tensors: dict[str, Any] = {}
        self._arrays: dict[str, np.ndarray] = {}
        self._opsets = dict(opsets)
        self._source, self._computed = source, 0
        for tensor in tensors:
            self.add(tensor)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors or name in self._arrays

    def __setitem__(self, name: str, value: np.ndarray) -> None:
        self._arrays[name] = value

    def add(self, tensor: Any) -> None:
        """Add an initialiser."""
        if min(tensor.dims, default=0) < 0 or math.prod(tensor.dims) > MAX_WEIGHTS:
            raise InputError(f"'{self._source}': weight '{tensor.name}' of shape {list(tensor.dims)} cannot be.")
        self._tensors[tensor.name] = tensor

    def array(self, name: str) -> np.ndarray:
        """Return a constant.

        Raises:
            UnsupportedError: Its values do not fit its shape, or are of a type that is not supported.
        """
        import onnx

        if name not in self._arrays:
            try:
                found = onnx.numpy_helper.to_array(self._tensors[name])
            except (ValueError, TypeError, KeyError) as error:
                raise UnsupportedError(f"its input '{name}' is damaged: {short(error)}") from error
            self._arrays[name] = found
        return self._arrays[name]

    def fold(self, node: Any) -> None:
        """Compute a node whose inputs are all constants, and add its outputs.

        Raises:
            UnsupportedError: It cannot be computed, or its output would be too large.
        """
        import onnx
        from onnx import helper

        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].HasField("t"):
            tensor = onnx.TensorProto()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            self.add(tensor)
            return
        if node.op_type == "Identity" and node.input[0] in self._tensors:
            self._tensors[node.output[0]] = self._tensors[node.input[0]]
            return
        names = sorted({name for name in node.input if name})
        outputs = [name for name in node.output if name]
        try:
            graph = helper.make_graph(
                [node],
                "constant",
                [],
                [helper.make_empty_tensor_value_info(name) for name in outputs],
                [self._tensor(name) for name in names],
            )
            model = helper.make_model(
                graph,
                opset_imports=[helper.make_opsetid(*entry) for entry in self._opsets.items()],
                ir_version=IR_VERSION,
            )
            check_sizes(output_shapes(model))
            found = session(model.SerializeToString()).run(outputs, {})
        except (UnsupportedError, InputError):
            raise
        except Exception as error:  # errors of the C++ libraries have no common base
            raise UnsupportedError(f"it cannot be computed: {short(error)}") from error
        for name, value in zip(outputs, found, strict=True):
            if not isinstance(value, np.ndarray):
                raise UnsupportedError(f"it gives a {type(value).__name__}, not numbers")
            self._arrays[name] = value
            self._computed += value.size
        if self._computed > MAX_COMPUTED:
            raise UnsupportedError(f"what the graph computes of constants is more than {MAX_COMPUTED} numbers")

    def live_shapes(self, node: Any, shapes: Mapping[str, Sequence[int]]) -> list[list[int]]:
        """Return the shapes of a node's outputs that can be told, given those of its inputs that are not constants."""
        from onnx import TensorProto, helper

        small = [name for name in node.input if name in self and self.array(name).size <= SMALL]
        known = {name: shapes[name] if name in shapes else self.array(name).shape for name in node.input if name}
        graph = helper.make_graph(
            [node],
            "live",
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in known.items()
                if name not in small
            ],
            [helper.make_empty_tensor_value_info(name) for name in node.output],
            [self._tensor(name) for name in sorted(set(small))],
        )
        opsets = [helper.make_opsetid(*entry) for entry in self._opsets.items()]
        return output_shapes(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION))

    def _tensor(self, name: str) -> Any:
        """Return a constant as a tensor of ONNX."""
        import onnx

        if name in self._tensors:
            tensor = onnx.TensorProto()
            tensor.CopyFrom(self._tensors[name])
            tensor.name = name
            return tensor
        return onnx.numpy_helper.from_array(np.array(self._arrays[name], order="C"), name)


def output_shapes(model: Any) -> list[list[int]]:
    """Return the shapes of a model's outputs that ONNX can infer."""
    import onnx

    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # not every operator can be inferred: the computation itself says what is wrong
        return []
    shapes = [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inferred.graph.output]
    return [shape for shape in shapes if all(shape)]


def check_sizes(shapes: Sequence[Sequence[int]]) -> None:
    """Raise an error if a value of one of these shapes would take too much memory."""
    for shape in shapes:
        if math.prod(shape) > MAX_VALUES:
            raise UnsupportedError(f"its output of shape {list(shape)} would be too large")
