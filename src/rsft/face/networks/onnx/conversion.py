"""Convert the nodes of an ONNX graph, one after the other, to a PyTorch module."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.fx
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node

from rsft.errors import InputError
from rsft.face.networks.onnx.file import inner_names, needed_names, short
from rsft.face.networks.onnx.folding import Constants, check_sizes
from rsft.face.networks.onnx.operation import UnsupportedError, operation
from rsft.face.networks.onnx.operators import FIXED, OPERATORS, PARAMETERS

ALIASES = ("Identity", "Dropout", "Cast", "CastLike")  # operators without effect at inference
MAX_MIXING = 1e-3  # largest change of a value by its batch, relative to the largest value
MAX_DEPTH = 16  # of graphs within graphs
HALVES = ("float16", "bfloat16")


@dataclass(frozen=True)
class Input:
    """The input of a graph.

    Attributes:
        name: Its name.
        size: Side of the pictures in pixels.
        channels_last: Whether it is (batch, size, size, 3).
        takes_bytes: Whether it is of whole numbers in 0..255.
        is_half: Whether it is of half precision.
    """

    name: str
    size: int
    channels_last: bool
    takes_bytes: bool
    is_half: bool


class Conversion:
    """State of a conversion: each name is a constant, or a node whose values for examples are known.

    The examples are one picture, and a batch of another picture and this one: what differs in shape is the dimension of
    the pictures, and a picture whose values differ between the two depends on the other.

    Args:
        constants: The constants of the graph.
        version: Opset of the file.
        given: The input.
        source: Name of the file, used in error messages.
    """

    def __init__(self, constants: Constants, version: int, given: Input, source: str) -> None:
        self._constants, self._version, self._source = constants, version, source
        self._root, self._graph = nn.Module(), Graph()
        self._nodes: dict[str, Node] = {}
        self._values: dict[str, tuple[Tensor, Tensor]] = {}
        self._batch: dict[str, int] = {}
        self._uses: Counter[str] = Counter()
        self._needed: set[str] = set()
        self.folded: list[str] = []
        self.constants: list[str] = []
        self.is_half = given.is_half
        noise = torch.rand(2, 3, given.size, given.size, generator=torch.Generator().manual_seed(0))
        pictures = noise * torch.tensor([2.0, 255.0]).reshape(2, 1, 1, 1) - torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1)
        entry = self._graph.placeholder("x")
        if given.channels_last:
            entry = self._graph.call_function(torch.permute, (entry, (0, 2, 3, 1)))
            entry.meta["operator"] = "Transpose"
            pictures = pictures.permute(0, 2, 3, 1)
        self._keep(given.name, entry, pictures[1:], pictures)

    def add_all(self, nodes: Any, outputs: list[str], depth: int = 0) -> None:
        """Convert the nodes of a graph on which outputs depend."""
        self._needed |= needed_names(nodes, outputs)
        self._uses.update(name for node in nodes for name in (*node.input, *inner_names(node)))
        self._uses.update(outputs)
        for node in nodes:
            if self._needed & set(node.output):
                self._add(node, depth)
            for name in (*node.input, *inner_names(node)):
                self._uses[name] -= 1
                if self._uses[name] <= 0:
                    self._values.pop(name, None)

    def _add(self, node: Any, depth: int) -> None:
        """Convert one node of the ONNX graph."""
        label = f"{node.op_type} '{node.name or node.output[0]}'"
        where = f"'{self._source}', node {label}"
        missing = [name for name in node.input if name and name not in self._nodes and name not in self._constants]
        if missing:
            raise InputError(f"{where}: nothing before it makes its input '{missing[0]}', so the file is damaged.")
        if any(name in self._nodes or name in self._constants for name in node.output if name):
            raise InputError(f"{where}: its output '{node.output[0]}' is made twice, so the file is damaged.")
        live = [name for name in node.input if name in self._nodes]
        foreign = node.domain not in ("", "ai.onnx")
        try:
            if node.op_type in ("If", "Loop", "Scan") and not foreign:
                self._branch(node, depth)
            elif not live:
                self._constants.fold(node)
                if node.op_type != "Constant":
                    self.folded.append(label)
            elif node.op_type in ("Shape", "Size") and not foreign:
                self._constants[node.output[0]] = self._shape(node, live[0])
                self.folded.append(label)
            elif node.op_type == "CastLike" and node.input[0] in self._constants and not foreign:
                self._constants[node.output[0]] = self._constants.array(node.input[0]).astype(np.float32)
                self.folded.append(label)
            elif node.op_type in ALIASES and not foreign:
                self._check_cast(node)
                first = node.input[0]
                self._keep(node.output[0], self._nodes[first], *self._values[first])
                self.folded.append(label)
            elif node.op_type not in OPERATORS or foreign:
                known = ", ".join(sorted({*OPERATORS, *ALIASES}))
                raise InputError(f"{where}: this operator is not supported; supported are {known}.")
            else:
                self._convert(node, live)
        except UnsupportedError as error:
            raise InputError(f"{where}: {error}.") from error
        except (RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
            raise InputError(f"{where} cannot be converted: {short(error)}.") from error

    def _branch(self, node: Any, depth: int) -> None:
        """Convert the branch of an If that a constant chooses."""
        from onnx.helper import get_attribute_value

        if node.op_type != "If":
            raise UnsupportedError("this operator is not supported")
        if node.input[0] not in self._constants:
            raise UnsupportedError("which of its graphs it computes depends on the picture, which is not supported")
        if depth >= MAX_DEPTH:
            raise UnsupportedError(f"more than {MAX_DEPTH} graphs lie within each other")
        branches = {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
        chosen = branches["then_branch" if self._constants.array(node.input[0]).item() else "else_branch"]
        outputs = [value.name for value in chosen.output]
        for tensor in chosen.initializer:
            self._constants.add(tensor)
        self.add_all(chosen.node, outputs, depth + 1)
        for inner, outer in zip(outputs, node.output, strict=True):
            if inner in self._constants:
                self._constants[outer] = self._constants.array(inner)
            else:
                self._keep(outer, self._nodes[inner], *self._values[inner])

    def finish(self, output: str) -> GraphModule:
        """Return the module that computes `output` as (B, D), in evaluation mode."""
        if output not in self._nodes:
            raise InputError(f"'{self._source}': its output '{output}' does not depend on the picture.")
        node, one = self._nodes[output], self._values[output][0]
        if one.ndim > 2 and self._batch[output] == 0 and one.numel() == max(one.shape):
            node = self._graph.call_function(torch.flatten, (node, 1))
            node.meta["operator"] = "Flatten"
        elif one.ndim != 2 or self._batch[output] != 0:
            told = tuple(self._values[output][1].shape)
            raise InputError(f"'{self._source}' needs an output (batch, embedding), for two it gives {told}.")
        if not one.isfinite().all():
            raise InputError(f"'{self._source}' gives no finite numbers for a picture: its weights are damaged.")
        self._graph.output(node)
        return GraphModule(self._root, self._graph).eval()

    def embedding_size(self, output: str) -> int:
        """Return the width of the output."""
        return self._values[output][0].numel()

    def _keep(self, name: str, node: Node, one: Tensor, two: Tensor) -> None:
        """Keep a live value, after checking that the pictures of a batch are still apart."""
        where = [axis for axis, sizes in enumerate(zip(one.shape, two.shape, strict=True)) if len(set(sizes)) > 1]
        if len(where) != 1 or two.shape[where[0]] != 2 * one.shape[where[0]]:
            raise UnsupportedError("it loses the batch dimension, so it does not accept batches")
        second = two.narrow(where[0], one.shape[where[0]], one.shape[where[0]])
        if (second - one).abs().max() > MAX_MIXING * one.abs().max():
            raise UnsupportedError("it mixes the items of a batch, so embeddings would depend on each other")
        self._nodes[name], self._values[name], self._batch[name] = node, (one, two), where[0]

    def _shape(self, node: Any, name: str) -> np.ndarray:
        """Return what Shape or Size gives for one picture."""
        one = self._values[name][0]
        if node.op_type == "Size":
            return np.array(one.numel(), np.int64)
        limits = {attribute.name: attribute.i for attribute in node.attribute}
        return np.array(one.shape[limits.get("start") : limits.get("end")], np.int64)

    def _check_cast(self, node: Any) -> None:
        """Raise an error if a cast of live values is not between floating-point numbers."""
        from onnx import TensorProto, helper

        to = next((attribute.i for attribute in node.attribute if attribute.name == "to"), TensorProto.FLOAT)
        if node.op_type == "CastLike" and node.input[1] not in self._nodes:
            to = helper.np_dtype_to_tensor_dtype(self._constants.array(node.input[1]).dtype)
        if to in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
            self.is_half = True
        elif to not in (TensorProto.FLOAT, TensorProto.DOUBLE):
            raise UnsupportedError("it makes whole numbers of values, which is not supported")
        if node.op_type == "Dropout" and len(node.input) > 2 and bool(self._constants.array(node.input[2])):
            raise UnsupportedError("it is in training mode: export the network in evaluation mode")

    def _convert(self, node: Any, live: list[str]) -> None:
        """Add the PyTorch counterpart of a node; `live` are its inputs that are not constants."""
        fixed = FIXED.get(node.op_type, ())
        if any(index < len(node.input) and node.input[index] in self._nodes for index in fixed):
            raise UnsupportedError("its weights or its shape must be constants, but they depend on the picture")
        sizes = {name: tuple(self._values[name][0].shape) for name in live}
        check_sizes(self._constants.live_shapes(node, sizes))
        inputs = [self._known(name)[0] if name else None for name in node.input]
        batch = [self._batch.get(name) for name in node.input]
        for index, name in enumerate(node.output):
            if name in self._needed:
                if index and node.op_type != "Split":
                    raise UnsupportedError(f"its output {index} is not supported")
                described = operation(node, self._version, inputs, batch, index)
                made = OPERATORS[node.op_type](described)
                described.check_all_read()
                self._insert(node, name, made, live)

    def _insert(self, node: Any, output: str, made: Any, live: list[str]) -> None:
        """Add a module or function to the network and compute its values for the examples."""
        is_module = isinstance(made, nn.Module)
        given = live if is_module else list(node.input)
        arguments = tuple(self._argument(name) for name in given)
        values = [self._known(name) for name in given]
        with torch.inference_mode():
            one, two = (made(*(value[index] for value in values)) for index in (0, 1))
        if is_module:
            place = self._free_name(node.name or output)
            self._root.add_module(place, made)
            added = self._graph.call_module(place, arguments)
            self.constants += [
                name
                for index, name in enumerate(node.input)
                if name in self._constants and index not in PARAMETERS.get(node.op_type, ())
            ]
        else:
            added = self._graph.call_function(made, arguments)
        added.meta["operator"] = node.op_type
        self._keep(output, added, one, two)

    def _known(self, name: str) -> tuple[Tensor, Tensor]:
        """Return a constant twice, or the values of a node for the examples."""
        if name in self._nodes:
            return self._values[name]
        array = self._constants.array(name)
        if array.dtype.name in HALVES:
            self.is_half, array = True, array.astype(np.float32)
        tensor = torch.from_numpy(np.array(array))
        return (tensor.float() if tensor.is_floating_point() else tensor,) * 2

    def _argument(self, name: str) -> Node:
        """Return the fx node of a value or initialiser; an initialiser of several floats becomes a parameter."""
        if name in self._nodes:
            return self._nodes[name]
        place = "initialiser_" + re.sub(r"\W", "_", name)
        if not hasattr(self._root, place):
            tensor = self._known(name)[0]
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
