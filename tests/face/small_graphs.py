"""Small ONNX graphs for tests."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 8
GENERATOR = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    return GENERATOR.uniform(0.2, 1, shape).astype(np.float32)


def node(operator: str, *inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, list(inputs), [output], name=f"the_{output}", **attributes)


def graph(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, np.ndarray] | None = None,
    shape: Sequence[int | str] = ("batch", 3, SIZE, SIZE),
    output: str = "y",
    opset: int = 17,
) -> bytes:
    proto = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", opset)], ir_version=9).SerializeToString()


FLAT = node("Flatten", "h", output="y")
CURVES = ("x", "Abs", "Sqrt", "Neg", "Erf", "Tanh", "Selu", "Softplus", "Log", "Exp", "Reciprocal", "HardSwish")
REDUCTIONS = ("ReduceL1", "ReduceMax", "ReduceMin", "ReduceSumSquare")
# Together these graphs contain every operator. Each ends in `h`, which is then flattened.
GRAPHS: dict[str, tuple[list[onnx.NodeProto], dict[str, np.ndarray]]] = {
    "uneven convolution": (
        [
            node("Conv", "x", "w", "b", output="a", pads=[0, 1, 2, 3], strides=[2, 1], dilations=[1, 2]),
            node("Relu", "a", output="h"),
        ],
        {"w": weights(4, 3, 3, 3), "b": weights(4)},
    ),
    "grouped convolution and batch norm": (
        [
            node("Conv", "x", "w", output="a", group=3, pads=[1, 1, 1, 1]),
            node("BatchNormalization", "a", "s", "b", "m", "v", output="c", epsilon=0.01),
            node("PRelu", "c", "p", output="d"),
            node("LeakyRelu", "d", output="e", alpha=0.3),
            node("Clip", "e", "low", "high", output="h"),
        ],
        {name: weights(6) for name in "sbmv"}
        | {
            "w": weights(6, 1, 3, 3),
            "p": -weights(6, 1, 1),
            "low": np.array(-1, np.float32),
            "high": np.array(1, np.float32),
        },
    ),
    "pools": (
        [
            node("MaxPool", "x", output="a", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
            node("MaxPool", "x", output="b", kernel_shape=[2, 2], strides=[2, 2]),
            node("AveragePool", "x", output="c", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
            node(
                "AveragePool", "x", output="d", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, count_include_pad=1
            ),
            node("Concat", "a", "b", "c", "d", output="h", axis=1),
        ],
        {},
    ),
    "shapes": (
        [
            node("Transpose", "x", output="a", perm=[0, 2, 3, 1]),
            node("Pad", "a", "pads", "value", output="b"),
            node("Reshape", "b", "shape", output="c"),
            node("Unsqueeze", "c", "axes", output="d"),
            node("Squeeze", "d", "axes", output="h"),
        ],
        {
            "pads": np.array([0, 1, 0, 0, 0, 0, 2, 0]),
            "value": np.array(0.5, np.float32),
            "shape": np.array([-1, 9, 30]),
            "axes": np.array([2]),
        },
    ),
    "arithmetic": (
        [
            node("Sub", "x", "mean", output="a"),
            node("Mul", "a", "scale", output="b"),
            node("Add", "b", "a", output="c"),
            node("Div", "c", "channels", output="d"),
            node("Sigmoid", "d", output="e"),
            node("Sub", "one", "e", output="h"),
        ],
        {
            "mean": np.array(0.5, np.float32),
            "scale": weights(1),
            "channels": weights(3, 1, 1),
            "one": np.array(1, np.float32),
        },
    ),
    "a matrix, a bias, a length": (
        [
            node("GlobalAveragePool", "x", output="a"),
            node("Flatten", "a", output="b"),
            node("MatMul", "b", "w", output="c"),
            node("Add", "c", "bias", output="d"),
            node("Gemm", "d", "v", "u", output="e", alpha=0.5, beta=2.0),
            node("ReduceL2", "e", output="f", axes=[1], keepdims=1),
            node("Div", "e", "f", output="g"),
            node("Identity", "g", output="h"),
        ],
        {"w": weights(3, 5), "bias": weights(5), "v": weights(5, 4), "u": weights(1, 4)},
    ),
    "attention": (
        [
            node("Reshape", "x", "tokens", output="a"),
            node("Transpose", "a", output="b", perm=[1, 0, 2]),  # the pictures are no longer the first dimension
            node("Gather", "b", "one", output="q", axis=0),
            helper.make_node("Split", ["b"], ["b0", "b1", "b2"], axis=0),
            node("Squeeze", "b0", "first", output="v"),
            node("Unsqueeze", "q", "last", output="q1"),
            node("Unsqueeze", "v", "middle", output="v1"),
            node("MatMul", "q1", "v1", output="s"),
            node("Softmax", "s", output="p"),
            node("LayerNormalization", "p", "scale", "shift", output="n"),
            node("Expand", "class", "as_batch", output="t"),
            node("Concat", "t", "n", output="c", axis=1),
            node("Slice", "c", "from", "to", "middle", output="u"),
            node("Slice", "u", "minus", "far", "middle", "minus", output="h"),  # turned round
        ],
        {
            "tokens": np.array([0, 3, 64]),
            "one": np.array(1),
            "first": np.array([0]),
            "last": np.array([-1]),
            "middle": np.array([1]),
            "scale": weights(64),
            "shift": weights(64),
            "class": weights(1, 1, 64),
            "as_batch": np.array([1, 1, 64]),
            "from": np.array([0]),
            "to": np.array([60]),
            "minus": np.array([-1]),
            "far": np.array([-100]),
        },
    ),
    "curves": (
        [
            *(node(name, before, output=name) for before, name in itertools.pairwise(CURVES)),
            node("HardSigmoid", CURVES[-1], output="a", alpha=0.3),
            node("Elu", "a", output="b", alpha=0.7),
            node("Pow", "b", "two", output="h"),
        ],
        {"two": np.array(2, np.float32)},
    ),
    "reductions and choices": (
        [
            node("ReduceSum", "x", "maps", output="ReduceSum"),
            *(node(name, "x", output=name, axes=[2, 3]) for name in REDUCTIONS),
            node("Sum", *REDUCTIONS, output="a"),
            node("Max", "a", "ReduceMax", output="b"),
            node("Min", "b", "ReduceSum", output="c"),
            node("Where", "which", "b", "c", output="d"),
            node("LpNormalization", "d", output="h", axis=1),
        ],
        {"maps": np.array([2, 3]), "which": np.array([True, False, True]).reshape(1, 3, 1, 1)},
    ),
    "maps": (
        [
            node("InstanceNormalization", "x", "s", "b", output="a"),
            node("Conv", "a", "w", output="c", auto_pad="SAME_LOWER", strides=[2, 2]),
            node("MaxPool", "c", output="d", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
            node("Resize", "d", "", "scales", output="e", mode="nearest"),
            node("GlobalMaxPool", "e", output="h"),
        ],
        {
            "s": weights(3),
            "b": weights(3),
            "w": weights(4, 3, 3, 3),
            "scales": np.array([1, 1, 2, 2], np.float32),
        },
    ),
    "the batch size is read from the picture": (
        [
            node("Shape", "x", output="a"),
            node("Gather", "a", "zero", output="b"),
            node("Unsqueeze", "b", "first", output="c"),
            node("Concat", "c", "rest", output="d", axis=0),
            node("Reshape", "x", "d", output="e"),
            node("ReduceMean", "e", output="h", axes=[2], keepdims=0),
        ],
        {"zero": np.array(0), "first": np.array([0]), "rest": np.array([3, -1])},
    ),
}

MATRIX = weights(4, 4, 8)
# Graphs whose nodes mean something else, or have another form, in other opsets: opset, nodes, constants.
OPSETS: dict[str, tuple[int, list[onnx.NodeProto], dict[str, np.ndarray]]] = {
    "clip by attributes": (9, [node("Clip", "x", output="h", min=-0.5, max=0.5)], {}),
    "maps at the places of a grid": (
        16,
        [
            node("Slice", "x", "zero", "two", "one", output="s"),
            node("Transpose", "s", output="g", perm=[0, 2, 3, 1]),
            node("GridSample", "x", "g", output="h", align_corners=1, padding_mode="border"),
        ],
        {"zero": np.array([0]), "two": np.array([2]), "one": np.array([1])},
    ),
    "softmax over all that follows": (11, [node("Softmax", "x", output="h")], {}),
    "softmax of the last": (13, [node("Softmax", "x", output="h")], {}),
    "a constant by softmax over all that follows": (
        11,
        [
            node("Softmax", "m", output="s"),
            node("Reshape", "s", "to", output="t"),
            node("MatMul", "x", "t", output="h"),
        ],
        {"m": MATRIX, "to": np.array([8, 16])},
    ),
    "a constant clipped by attributes": (
        9,
        [node("Clip", "m", output="c", min=0.4, max=0.5), node("Mul", "x", "c", output="h")],
        {"m": weights(8, 8)},
    ),
    "a view of the batch": (
        11,
        [
            node("Shape", "x", output="a"),
            node("Gather", "a", "zero", output="b", axis=0),
            node("Unsqueeze", "b", output="c", axes=[0]),
            node("Concat", "c", "rest", output="d", axis=0),
            node("Reshape", "x", "d", output="h"),
        ],
        {"zero": np.array(0), "rest": np.array([-1])},
    ),
    "parts, margins and sizes by attributes": (
        9,
        [
            helper.make_node("Split", ["x"], ["p", "q"], axis=1, split=[1, 2]),
            node("Slice", "q", output="a", axes=[2, 3], starts=[1, -5], ends=[100, -1]),
            node("Pad", "a", output="b", pads=[0, 0, 1, 0, 0, 0, 0, 2], value=0.5),
            node("Upsample", "b", "scales", output="h", mode="nearest"),
        ],
        {"scales": np.array([1, 1, 2, 3], np.float32)},
    ),
    "a norm of groups": (
        18,
        [
            node("Concat", "x", "x", output="a", axis=1),
            node("GroupNormalization", "a", "s", "b", output="h", num_groups=2),
        ],
        {"s": weights(2), "b": weights(2)},
    ),
    "a norm of groups by channel": (
        21,
        [
            node("Concat", "x", "x", output="a", axis=1),
            node("GroupNormalization", "a", "s", "b", output="h", num_groups=2),
        ],
        {"s": weights(6), "b": weights(6)},
    ),
    "gelu": (20, [node("Gelu", "x", output="h", approximate="tanh")], {}),
    "an operator made of simpler ones": (12, [node("Celu", "x", output="h", alpha=0.7)], {}),
}
