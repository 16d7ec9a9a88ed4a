"""Convert the ONNX graph of a face network to a trainable PyTorch module."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.fx
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node

from rsft.errors import InputError
from rsft.face.networks.onnx.operators import FIXED, OPERATORS, PARAMETERS, UnsupportedError

ALIASES = ("Identity", "Dropout")  # operators without effect at inference
# A graph that begins with one of these operators normalises its input itself; insightface uses the same rule.
NORMALISING = ("Sub", "Mul", "Div", "Add", "BatchNormalization")
USUAL_SIZE = 112  # pixels, if the graph does not state the size
MAX_MIXING = 1e-3  # largest change of an embedding by its batch, relative to the largest value


@dataclass(frozen=True)
class Converted:
    """A network converted from an ONNX graph.

    Attributes:
        network: Module (B, 3, size, size) -> (B, embedding_size), in evaluation mode.
        size: Side of the input in pixels.
        embedding_size: Width of the output.
        normalises: Whether the graph begins with a normalisation of its own.
        folded: Operator and name of each node that was computed once or dropped.
        constants: Names of the initialisers that the network uses but does not train.
    """

    network: GraphModule
    size: int
    embedding_size: int
    normalises: bool
    folded: tuple[str, ...]
    constants: tuple[str, ...]


def read_onnx(graph: bytes, source: str | Path) -> Converted:
    """Convert an ONNX graph to a trainable network.

    Weights become parameters. Single numbers, shapes and running statistics become constants. Nodes that do not depend
    on the input are computed once, so quantised weights become float32.

    Args:
        graph: Content of the ONNX file.
        source: Name of the file, used in error messages.

    Returns:
        The network and a description of the conversion.

    Raises:
        InputError: `onnx` is not installed; the file is damaged or keeps weights in another file; the graph's one input
            is not a batch of pictures, or its first output is not one embedding per picture; or a node cannot be
            converted, in which case the message names it.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise InputError("reading ONNX needs the package 'onnx': pip install 'rsft[onnx]'.") from error
    try:
        proto = onnx.load_model_from_string(graph).graph
    except Exception as error:  # protobuf's errors have no common base
        raise InputError(f"'{source}' is not an ONNX file, or is truncated.") from error
    if not proto.node or not proto.output:
        raise InputError(f"'{source}' is not an ONNX file, or is truncated.")
    for tensor in proto.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise InputError(
                f"'{source}' keeps initialiser '{tensor.name}' in another file, which is not read: save it as one file."
            )
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.initializer}
    name, size = _input(proto, arrays, source)
    conversion = _Conversion(arrays, name, torch.zeros(1, 3, size, size), str(source))
    needed = _needed(proto.node, proto.output[0].name)
    for node in proto.node:
        if needed & set(node.output):
            conversion.add(node)
    network = conversion.finish(proto.output[0].name)
    first = next(node for node in proto.node if name in node.input)
    return Converted(
        network,
        size,
        _embedding_size(network, size, source),
        first.op_type in NORMALISING,
        tuple(conversion.folded),
        tuple(conversion.constants),
    )


def _input(graph: Any, arrays: dict[str, np.ndarray], source: str | Path) -> tuple[str, int]:
    """Return the name of the graph's input and its side in pixels."""
    used = {name for node in graph.node for name in node.input}  # quantised graphs still list inputs they replaced
    inputs = [value for value in graph.input if value.name in used - arrays.keys()]
    shapes = [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inputs]
    if len(inputs) != 1 or len(shapes[0]) != 4 or shapes[0][1] not in (0, 3) or shapes[0][2] != shapes[0][3]:
        told = ", ".join(f"'{value.name}' {shape}" for value, shape in zip(inputs, shapes, strict=True))
        raise InputError(f"'{source}' needs one input (batch, 3, size, size), but has {told or 'none'}.")
    return inputs[0].name, shapes[0][2] or USUAL_SIZE


def _needed(nodes: Any, output: str) -> set[str]:
    """Return the names that the output depends on."""
    makers = {name: node for node in nodes for name in node.output}
    found: set[str] = set()
    waiting = [output]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += makers[name].input if name in makers else []
    return found


def _embedding_size(network: GraphModule, size: int, source: str | Path) -> int:
    """Return the width of the output, after checking that the items of a batch do not affect each other."""
    pictures = torch.linspace(-1, 1, 2 * 3 * size * size).reshape(2, 3, size, size)
    try:
        with torch.inference_mode():
            together, alone = network(pictures), network(pictures[1:])
    except RuntimeError as error:
        raise InputError(f"'{source}' does not accept batches: {_short(error)}.") from error
    if together.ndim != 2 or len(together) != 2:
        raise InputError(f"'{source}' needs an output (batch, embedding), for two it gives {tuple(together.shape)}.")
    if (together[1] - alone[0]).abs().max() > MAX_MIXING * alone.abs().max():
        raise InputError(f"'{source}' mixes the items of a batch: its embeddings depend on each other.")
    return together.shape[1]


class _Conversion:
    """State of a conversion: each name is a constant, or a node whose value for one black picture is known.

    Args:
        arrays: Name -> constant.
        entry: Name of the input.
        example: (1, 3, size, size) input for which the values of nodes are computed.
        source: Name of the file, used in error messages.
    """

    def __init__(self, arrays: dict[str, np.ndarray], entry: str, example: Tensor, source: str) -> None:
        self._arrays, self._source = arrays, source
        self._root, self._graph = nn.Module(), Graph()
        self._nodes: dict[str, Node] = {entry: self._graph.placeholder("x")}
        self._values: dict[str, Tensor] = {entry: example}
        self.folded: list[str] = []
        self.constants: list[str] = []

    def add(self, node: Any) -> None:
        """Convert one node of the ONNX graph; its inputs must have been added before."""
        label = f"{node.op_type} '{node.name or node.output[0]}'"
        live = [name for name in node.input if name in self._nodes]
        foreign = node.domain not in ("", "ai.onnx")
        if not live and not foreign:
            self._fold(node, label)
        elif node.op_type == "Shape":
            self._arrays[node.output[0]] = np.array(self._values[live[0]].shape, np.int64)
            self.folded.append(label)
        elif node.op_type in ALIASES:
            self._nodes[node.output[0]] = self._nodes[live[0]]
            self._values[node.output[0]] = self._values[live[0]]
            self.folded.append(label)
        elif node.op_type not in OPERATORS or foreign:
            known = ", ".join(sorted({*OPERATORS, *ALIASES}))
            raise InputError(f"'{self._source}', node {label}: this operator is not supported; supported are {known}.")
        else:
            self._convert(node, label, live)

    def finish(self, output: str) -> GraphModule:
        """Return the module that computes `output`, in evaluation mode."""
        if output not in self._nodes:
            raise InputError(f"'{self._source}': its output '{output}' does not depend on the picture.")
        self._graph.output(self._nodes[output])
        return GraphModule(self._root, self._graph).eval()

    def _fold(self, node: Any, label: str) -> None:
        """Compute a node whose inputs are all constants."""
        from onnx.reference import ReferenceEvaluator

        try:
            results = ReferenceEvaluator(node).run(None, {name: self._arrays[name] for name in node.input if name})
        except Exception as error:  # numpy's errors have no common base
            raise InputError(f"'{self._source}', node {label} cannot be computed: {_short(error)}.") from error
        self._arrays |= zip(node.output, map(np.asarray, results), strict=False)
        if node.op_type != "Constant":
            self.folded.append(label)

    def _convert(self, node: Any, label: str, live: list[str]) -> None:
        """Add the PyTorch counterpart of a node; `live` are its inputs that are not constants."""
        from onnx.helper import get_attribute_value

        attributes = {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
        try:
            if any(
                index < len(node.input) and node.input[index] in self._nodes for index in FIXED.get(node.op_type, ())
            ):
                raise UnsupportedError("its weights or its shape must be constants, but they depend on the picture")
            inputs = [self._known(name) for name in node.input]
            made = OPERATORS[node.op_type](attributes, inputs)
            given = live if isinstance(made, nn.Module) else list(node.input)
            arguments = tuple(self._argument(name) for name in given)
            with torch.inference_mode():
                value = made(*(self._known(name) for name in given))
        except UnsupportedError as error:
            raise InputError(f"'{self._source}', node {label}: {error}.") from error
        except (RuntimeError, ValueError, KeyError, IndexError, TypeError) as error:
            raise InputError(f"'{self._source}', node {label} cannot be converted: {_short(error)}.") from error
        if isinstance(made, nn.Module):
            place = self._free_name(node.name or node.output[0])
            self._root.add_module(place, made)
            self._nodes[node.output[0]] = self._graph.call_module(place, arguments)
            self.constants += [
                name
                for index, name in enumerate(node.input)
                if name in self._arrays and index not in PARAMETERS.get(node.op_type, ())
            ]
        else:
            self._nodes[node.output[0]] = self._graph.call_function(made, arguments)
        self._values[node.output[0]] = value

    def _known(self, name: str) -> Tensor | None:
        """Return a constant, the value of a node for the example, or None for an absent input."""
        if name in self._nodes:
            return self._values[name]
        return torch.from_numpy(np.array(self._arrays[name])) if name else None

    def _argument(self, name: str) -> Node:
        """Return the fx node of a value or initialiser; an initialiser of several floats becomes a parameter."""
        if name in self._nodes:
            return self._nodes[name]
        place = "initialiser_" + re.sub(r"\W", "_", name)
        if not hasattr(self._root, place):
            tensor = torch.from_numpy(np.array(self._arrays[name]))
            if tensor.numel() > 1 and tensor.is_floating_point():
                self._root.register_parameter(place, nn.Parameter(tensor))
            else:
                self._root.register_buffer(place, tensor)
                self.constants.append(name)
        return self._graph.get_attr(place)

    def _free_name(self, name: str) -> str:
        """Return a valid attribute name that is not taken yet."""
        name = re.sub(r"\W", "_", name)
        name = name if name.isidentifier() and name not in ("training", "x") else f"node_{name}"
        while hasattr(self._root, name):
            name += "_"
        return name


def _short(error: Exception) -> str:
    """Return the first 200 characters of an error on one line, without a final full stop."""
    return " ".join(str(error).split())[:200].rstrip(".")
