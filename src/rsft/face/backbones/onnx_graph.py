"""An ONNX graph of a face network as a trainable module: its operators become layers, its initialisers parameters."""

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
from rsft.face.backbones.onnx_operators import FIXED, OPERATORS, PARAMETERS, UnsupportedError

ALIASES = ("Identity", "Dropout")  # nothing is left of them when a network is used
# What a graph begins with that has its own normalisation, as insightface looks for it.
NORMALISING = ("Sub", "Mul", "Div", "Add", "BatchNormalization")
USUAL_SIZE = 112  # where the graph does not say
MAX_MIXING = 1e-3


@dataclass(frozen=True)
class Converted:
    """A converted graph.

    Attributes:
        network: (B, 3, size, size) -> (B, embedding_size).
        size: side of the input in pixels.
        embedding_size: width of the output.
        normalises: whether the graph begins with a normalisation of its own.
        folded: operator and name of each node that was computed once or dropped.
        constants: names of initialisers that are used and do not train.
    """

    network: GraphModule
    size: int
    embedding_size: int
    normalises: bool
    folded: tuple[str, ...]
    constants: tuple[str, ...]


def read_onnx(graph: bytes, source: str | Path) -> Converted:
    """Convert the bytes of an ONNX file.

    Weights become parameters. Single numbers, shapes, and running statistics become constants. What depends on no input
    is computed once, so quantised weights become float32.

    Args:
        graph: of the file.
        source: its name, for messages.

    Raises:
        InputError: `onnx` is not installed; the file is damaged, keeps weights in another file, has not one picture as
            input and one embedding of it as first output, or an operator that is not known here, which is named.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise InputError("reading ONNX needs the package 'onnx': pip install 'rsft[onnx]'.") from error
    try:
        proto = onnx.load_model_from_string(graph).graph
    except Exception as error:  # protobuf's errors have no common base
        raise InputError(f"'{source}' is no ONNX file, or is truncated.") from error
    if not proto.node or not proto.output:
        raise InputError(f"'{source}' is no ONNX file, or is truncated.")
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
    used = {name for node in graph.node for name in node.input}  # quantised graphs still list what was replaced
    inputs = [value for value in graph.input if value.name in used - arrays.keys()]
    shapes = [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inputs]
    if len(inputs) != 1 or len(shapes[0]) != 4 or shapes[0][1] not in (0, 3) or shapes[0][2] != shapes[0][3]:
        told = ", ".join(f"'{value.name}' {shape}" for value, shape in zip(inputs, shapes, strict=True))
        raise InputError(f"'{source}' needs one input (batch, 3, size, size), it has {told or 'none'}.")
    return inputs[0].name, shapes[0][2] or USUAL_SIZE


def _needed(nodes: Any, output: str) -> set[str]:
    """The names that the output depends on."""
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
    """The width of the output, once it is sure that each item of a batch has its own."""
    pictures = torch.linspace(-1, 1, 2 * 3 * size * size).reshape(2, 3, size, size)
    try:
        with torch.inference_mode():
            together, alone = network(pictures), network(pictures[1:])
    except RuntimeError as error:
        raise InputError(f"'{source}' takes no batches: {_short(error)}.") from error
    if together.ndim != 2 or len(together) != 2:
        raise InputError(f"'{source}' needs an output (batch, embedding), of two it gives {tuple(together.shape)}.")
    if (together[1] - alone[0]).abs().max() > MAX_MIXING * alone.abs().max():
        raise InputError(f"'{source}' mixes the items of a batch: its embeddings depend on each other.")
    return together.shape[1]


class _Conversion:
    """A graph under conversion: each name is a constant, or a node whose value for one black picture is known."""

    def __init__(self, arrays: dict[str, np.ndarray], entry: str, example: Tensor, source: str) -> None:
        self._arrays, self._source = arrays, source
        self._root, self._graph = nn.Module(), Graph()
        self._nodes: dict[str, Node] = {entry: self._graph.placeholder("x")}
        self._values: dict[str, Tensor] = {entry: example}
        self.folded: list[str] = []
        self.constants: list[str] = []

    def add(self, node: Any) -> None:
        """One node of the ONNX graph, all of whose inputs are known."""
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
            raise InputError(f"'{self._source}', node {label}: this operator is not known here; known are {known}.")
        else:
            self._convert(node, label, live)

    def finish(self, output: str) -> GraphModule:
        """The module that gives `output`, in evaluation mode."""
        if output not in self._nodes:
            raise InputError(f"'{self._source}': its output '{output}' does not depend on the picture.")
        self._graph.output(self._nodes[output])
        return GraphModule(self._root, self._graph).eval()

    def _fold(self, node: Any, label: str) -> None:
        from onnx.reference import ReferenceEvaluator

        try:
            results = ReferenceEvaluator(node).run(None, {name: self._arrays[name] for name in node.input if name})
        except Exception as error:  # whatever numpy raises
            raise InputError(f"'{self._source}', node {label} cannot be computed: {_short(error)}.") from error
        self._arrays |= zip(node.output, map(np.asarray, results), strict=False)
        if node.op_type != "Constant":
            self.folded.append(label)

    def _convert(self, node: Any, label: str, live: list[str]) -> None:
        from onnx.helper import get_attribute_value

        attributes = {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
        try:
            if any(
                index < len(node.input) and node.input[index] in self._nodes for index in FIXED.get(node.op_type, ())
            ):
                raise UnsupportedError("what should be its weights or its shape depends on the picture")
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
        if name in self._nodes:
            return self._values[name]
        return torch.from_numpy(np.array(self._arrays[name])) if name else None

    def _argument(self, name: str) -> Node:
        """A live value, or an initialiser: a parameter, or a constant if it is a single number."""
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
        name = re.sub(r"\W", "_", name)
        name = name if name.isidentifier() and name not in ("training", "x") else f"node_{name}"
        while hasattr(self._root, name):
            name += "_"
        return name


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")
