"""Converted ONNX graphs match onnxruntime and can be trained; nodes that cannot be converted are named."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from small_graphs import FLAT, GRAPHS, OPSETS, SIZE, graph, node, weights
from torch import nn

from rsft.errors import InputError
from rsft.face.networks.chip_points import ARCFACE
from rsft.face.networks.load import KNOWN
from rsft.face.networks.onnx.graph import Converted, read_onnx
from rsft.face.networks.onnx.operators import OPERATORS
from rsft.face.networks.onnx.runtime import run_onnx
from rsft.face.networks.packages import package_file
from rsft.face.networks.parity import drawn_chips


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


def test_every_operator_occurs_in_a_tested_graph() -> None:
    every = [*(nodes for nodes, _ in GRAPHS.values()), *(nodes for _, nodes, _ in OPSETS.values())]
    tested = {made.op_type for nodes in every for made in [*nodes, FLAT]}
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
    "an unknown operator": ([node("Det", "x", output="h")], {}, r"node Det 'the_h': this operator is not supported"),
    "a form that is not supported": (
        [node("Resize", "x", "", "scales", output="h", mode="cubic")],
        {"scales": np.array([1, 1, 2, 2], np.float32)},
        r"node Resize 'the_h': mode cubic",
    ),
    "whole numbers of pixels": ([node("Cast", "x", output="h", to=TensorProto.INT64)], {}, "makes whole numbers"),
    "a weight of nothing": ([node("Conv", "x", "nope", output="h")], {}, "nothing before it makes its input 'nope'"),
    "nodes in a circle": (
        [node("Add", "x", "a", output="b"), node("Relu", "b", output="a"), node("Relu", "a", output="h")],
        {},
        "nothing before it makes its input 'a'",
    ),
    "a bomb": (
        [node("ConstantOfShape", "to", output="c"), node("Add", "x", "c", output="h")],
        {"to": np.array([10**6] * 2)},
        "too large",
    ),
    "a bomb of the picture": (
        [node("Pad", "x", "to", output="h")],
        {"to": np.array([0] * 6 + [10**6] * 2)},
        "too large",
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
    "the batch moved": (
        [node("Transpose", "x", output="h", perm=[1, 0, 2, 3])],
        {},
        r"needs an output \(batch, embedding\)",
    ),
    "a mean over the batch": ([node("ReduceMean", "x", output="h", axes=[0])], {}, "reduces the batch dimension"),
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
    with pytest.raises(InputError, match="weight 'w' in another file"):
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
    assert (converted.size, converted.embedding_size, converted.entry.pixels()) == (112, 128, "0..255")
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
