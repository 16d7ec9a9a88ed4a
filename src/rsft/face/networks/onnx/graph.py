"""Convert the ONNX graph of a face network to a trainable PyTorch module."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.fx import GraphModule

from rsft.errors import InputError
from rsft.face.networks.onnx.conversion import ALIASES, Conversion, Input
from rsft.face.networks.onnx.entry import Entry, find_entry
from rsft.face.networks.onnx.file import inner_names, opset, parse, whole
from rsft.face.networks.onnx.folding import Constants
from rsft.face.networks.onnx.operators import OPERATORS

USUAL_SIZE = 112  # pixels, if the graph does not state the size
MAX_SIZE = 1024  # pixels


@dataclass(frozen=True)
class Converted:
    """A network converted from an ONNX graph.

    Attributes:
        network: Module (B, 3, size, size) -> (B, embedding_size), in evaluation mode.
        size: Side of the input in pixels.
        embedding_size: Width of the output.
        output: Name of the output in the graph.
        entry: What the graph does to its pixels before its first layer with weights.
        takes_bytes: Whether the graph's input are whole numbers in 0..255.
        is_half: Whether the graph computes in half precision.
        folded: Operator and name of each node that was computed once or dropped.
        constants: Names of the initialisers that the network uses but does not train.
    """

    network: GraphModule
    size: int
    embedding_size: int
    output: str
    entry: Entry
    takes_bytes: bool
    is_half: bool
    folded: tuple[str, ...]
    constants: tuple[str, ...]


def read_onnx(graph: bytes, source: str | Path, output: str | None = None) -> Converted:
    """Convert an ONNX graph to a trainable network.

    Weights become parameters. Single numbers, shapes and running statistics become constants. Nodes that do not depend
    on the input are computed once, so quantised and half-precision weights become float32.

    Args:
        graph: Content of the ONNX file, with all weights in it; see `rsft.face.networks.onnx.file.read_file`.
        source: Name of the file, used in error messages.
        output: Name of the output that is the embedding; by default, the only one that can be.

    Returns:
        The network and a description of the conversion.

    Raises:
        InputError: A package of the extra `onnx` is not installed; the file is damaged or keeps weights in another
            file; the graph's one input is not a batch of pictures; not just one output can be the embedding; or a node
            cannot be converted, in which case the message names it.
    """
    model = whole(parse(graph, source), source, {*OPERATORS, *ALIASES})
    proto = model.graph
    opsets = {entry.domain: entry.version for entry in model.opset_import} | {"": opset(model)}
    opsets.pop("ai.onnx", None)
    constants = Constants(proto.initializer, opsets, str(source))
    given = _input(proto, source)
    output = output or _embedding(model, source)
    if output not in (known := [value.name for value in proto.output]):
        raise InputError(f"'{source}' has no output '{output}': it has {', '.join(map(repr, known))}.")
    conversion = Conversion(constants, opsets[""], given, str(source))
    conversion.add_all(proto.node, [output])
    network = conversion.finish(output)
    embedding_size = conversion.embedding_size(output)
    return Converted(
        network,
        given.size,
        embedding_size,
        output,
        find_entry(network, given.size),
        given.takes_bytes,
        conversion.is_half,
        tuple(conversion.folded),
        tuple(conversion.constants),
    )


def _input(graph: Any, source: str | Path) -> Input:
    """Return the graph's one input."""
    from onnx import TensorProto

    used = {
        name for node in graph.node for name in (*node.input, *inner_names(node))
    }  # quantised graphs still list inputs they replaced
    arrays = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name in used - arrays]
    shapes = [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inputs]
    told = ", ".join(f"'{value.name}' {shape}" for value, shape in zip(inputs, shapes, strict=True))
    wanted = f"'{source}' needs one input (batch, 3, size, size), but has {told or 'none'}."
    if len(inputs) != 1 or len(shapes[0]) != 4:
        raise InputError(wanted)
    channels_last = shapes[0][3] == 3 and shapes[0][1] != 3
    height, width = shapes[0][1:3] if channels_last else shapes[0][2:]
    if height != width or not (channels_last or shapes[0][1] in (0, 3)):
        raise InputError(wanted)
    if not 0 <= height <= MAX_SIZE or shapes[0][0] > 1:
        raise InputError(f"'{source}' takes {told}: pictures of up to {MAX_SIZE} px, one or any number, are supported.")
    kind = inputs[0].type.tensor_type.elem_type
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
    if kind not in (*floats, TensorProto.UINT8):
        raise InputError(f"'{source}' takes {told} of type {TensorProto.DataType.Name(kind)}: floats are needed.")
    half = kind in (TensorProto.FLOAT16, TensorProto.BFLOAT16)
    return Input(inputs[0].name, height or USUAL_SIZE, channels_last, kind == TensorProto.UINT8, half)


def _embedding(model: Any, source: str | Path) -> str:
    """Return the name of the output that is the embedding: the only one, or the only one that can be."""
    import onnx

    outputs = list(model.graph.output)
    if len(outputs) == 1:
        return str(outputs[0].name)
    with suppress(Exception):  # an operator that cannot be inferred: what the file says of its outputs is all there is
        outputs = list(onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output)
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in outputs}
    fitting = {name: shape for name, shape in shapes.items() if len(shape) in (0, 2) and shape[1:] != [1]}
    if len(fitting) != 1:
        told = ", ".join(f"'{name}' {shape}" for name, shape in shapes.items())
        raise InputError(
            f"'{source}' has several outputs ({told}), and it cannot be told which is the embedding: state it as "
            '"output" in a bundle, NAME.json beside it.'
        )
    return str(next(iter(fitting)))
