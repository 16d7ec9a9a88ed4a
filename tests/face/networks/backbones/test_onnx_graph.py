"""Converted ONNX graphs match onnxruntime and can be trained; nodes that cannot be converted are named."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from rsft.errors import InputError
from rsft.face.networks.chip_points import ARCFACE
from rsft.face.networks.load import KNOWN
from rsft.face.networks.onnx.graph import Converted, read_onnx
from rsft.face.networks.onnx.operators import OPERATORS
from rsft.face.networks.onnx.runtime import run_onnx
from rsft.face.networks.packages import package_file
from rsft.face.networks.parity import drawn_chips

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
) -> bytes:
    proto = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(proto, opset_imports=opset, ir_version=8).SerializeToString()


FLAT = node("Flatten", "h", output="y")
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


@pytest.mark.parametrize("name", GRAPHS)
def test_a_converted_graph_matches_onnxruntime(name: str) -> None:
    nodes, constants = GRAPHS[name]
    made = graph([*nodes, FLAT], constants)
    pictures = np.random.default_rng(1).normal(size=(3, 3, SIZE, SIZE)).astype(np.float32)
    converted = read_onnx(made, "made.onnx")
    with torch.inference_mode():
        found = converted.network(torch.from_numpy(pictures)).numpy()
    np.testing.assert_allclose(found, run_onnx(made, pictures), atol=1e-5, rtol=1e-5)
    assert converted.embedding_size == found.shape[1]
    assert True


def test_every_operator_occurs_in_a_tested_graph() -> None:
    tested = {made.op_type for nodes, _ in GRAPHS.values() for made in [*nodes, FLAT]}
    assert set(OPERATORS) <= tested


def test_only_the_weights_are_trainable() -> None:
    nodes, constants = GRAPHS["grouped convolution and batch norm"]
    converted = read_onnx(graph([*nodes, FLAT], constants), "made.onnx")
    assert sum(p.numel() for p in converted.network.parameters()) == sum(
        constants[k].size for k in ("w", "s", "b", "p")
    )
    assert set(converted.constants) == {"m", "v", "low", "high"}
    converted.network(torch.ones(1, 3, SIZE, SIZE)).sum().backward()
    assert all(p.grad is not None for p in converted.network.parameters())


REFUSED: dict[str, tuple[list[onnx.NodeProto], dict[str, np.ndarray], str]] = {
    "an unknown operator": ([node("Erf", "x", output="h")], {}, r"node Erf 'the_h': this operator is not supported"),
    "automatic pads": (
        [node("Conv", "x", "w", output="h", auto_pad="SAME_UPPER")],
        {"w": weights(4, 3, 3, 3)},
        r"node Conv 'the_h': auto_pad and ceil_mode",
    ),
    "a weight that is an input": (
        [node("Conv", "x", "x", output="h")],
        {},
        "node Conv 'the_h': its weights or its shape must be constants, but they depend on the picture",
    ),
    "a weight that does not fit": (
        [node("Conv", "x", "w", output="h")],
        {"w": weights(4, 5, 3, 3)},
        "node Conv 'the_h' cannot be converted",
    ),
    "the batch moved": ([node("Transpose", "x", output="h", perm=[1, 0, 2, 3])], {}, "moves the batch dimension"),
    "a mean over the batch": ([node("ReduceMean", "x", output="h", axes=[0])], {}, "must not include the batch"),
    "the batch joined": ([node("Concat", "x", "x", output="h", axis=0)], {}, "concatenates along the batch dimension"),
    "a constant only": (
        [node("Relu", "x", output="z"), node("Relu", "w", output="h")],
        {"w": weights(1, 2, 2)},
        "does not depend on the picture",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_node_that_cannot_be_converted_is_refused_by_name(name: str) -> None:
    nodes, constants, message = REFUSED[name]
    with pytest.raises(InputError, match=message) as caught:
        read_onnx(graph([*nodes, FLAT], constants), "made.onnx")
    assert "\n" not in str(caught.value)


def test_files_without_the_graph_of_a_face_network_are_refused() -> None:
    whole = graph([node("Flatten", "x", output="y")])
    for damaged in (b"", b"no graph", whole[: len(whole) // 2]):
        with pytest.raises(InputError, match="is not an ONNX file, or is truncated"):
            read_onnx(damaged, "made.onnx")
    with pytest.raises(InputError, match=r"one input \(batch, 3, size, size\), but has 'x' \[1, 80, 8\]"):
        read_onnx(graph([node("Flatten", "x", output="y")], shape=(1, 80, 8)), "made.onnx")
    with pytest.raises(InputError, match=r"needs an output \(batch, embedding\)"):
        read_onnx(graph([node("Relu", "x", output="y")]), "made.onnx")
    external = onnx.load_model_from_string(graph([node("Add", "x", "w", output="h"), FLAT], {"w": weights(1)}))
    external.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(InputError, match="initialiser 'w' in another file"):
        read_onnx(external.SerializeToString(), "made.onnx")


@pytest.fixture(scope="module")
def sface() -> tuple[bytes, Converted]:
    known = KNOWN["sface"]
    data = package_file(known.package, known.file, known.sha256).read_bytes()
    return data, read_onnx(data, known.file)


def test_sface_matches_onnxruntime(sface: tuple[bytes, Converted]) -> None:
    """The quantised weights become float32."""
    data, converted = sface
    chips = drawn_chips(ARCFACE, 112).transpose(0, 3, 1, 2).astype(np.float32)
    with torch.inference_mode():
        found = converted.network(torch.from_numpy(chips)).numpy()
    np.testing.assert_allclose(found, run_onnx(data, chips), atol=1e-4, rtol=0)
    assert (converted.size, converted.embedding_size, converted.normalises) == (112, 128, True)
    assert {label.split()[0] for label in converted.folded} == {"DequantizeLinear", "Reshape", "Dropout"}
    statistics = [name for name in converted.constants if "moving" in name]
    assert len(statistics) == 2 * 29
    assert set(converted.constants) - set(statistics) == {"scalar_op1", "scalar_op2"}


def test_sface_can_be_trained(sface: tuple[bytes, Converted]) -> None:
    network = sface[1].network
    kinds = [type(module) for module in network.modules()]
    assert (kinds.count(nn.Conv2d), kinds.count(nn.Linear)) == (27, 1)
    network(torch.rand(1, 3, 112, 112) * 255).sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())
    assert sum(p.numel() for p in network.parameters()) > 9_000_000
