"""An ONNX file gets the pixels that it takes, found by what it computes, or the load says what cannot be told."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from small_graphs import graph, node
from torch import nn

from rsft.errors import InputError
from rsft.face.models import check_model
from rsft.face.networks.load import load_model

SIZE = 16
DRAW = np.random.default_rng(0)
KERNEL = DRAW.normal(size=(6, 3, 5, 5)).astype(np.float32)
MATRIX = DRAW.normal(size=(4, 6)).astype(np.float32)
TAIL = [
    node("Conv", "n", "kernel", output="c", strides=[4, 4]),
    node("Relu", "c", output="r"),
    node("GlobalAveragePool", "r", output="g"),
    node("Flatten", "g", output="f"),
    node("Gemm", "f", "matrix", output="y", transB=1),
]
SUB_MUL = [node("Sub", "s", "mean", output="m"), node("Mul", "m", "scale", output="n")]
STATISTICS = {"g": 1, "b": 0, "m": 127.5, "v": 128**2}
NUMBERS = {"mean": np.float32(127.5), "scale": np.float32(1 / 128)}
FLIP = {"turned": np.array([2, 1, 0])}
IMAGENET = {
    "mean": np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1),
    "scale": 1 / np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1),
}


def saved(
    path: Path, head: list[onnx.NodeProto], constants: dict[str, Any] | None = None, channels_last: bool = False
) -> Path:
    shape = ("N", SIZE, SIZE, 3) if channels_last else ("N", 3, SIZE, SIZE)
    arrays = {name: np.asarray(value) for name, value in (constants or {}).items()}
    path.write_bytes(graph([*head, *TAIL], {"kernel": KERNEL, "matrix": MATRIX, **arrays}, shape=shape, opset=13))
    return path


def expected(pixels: torch.Tensor, bgr: bool = False) -> torch.Tensor:
    """The embedding of pixels that are normalised already, by PyTorch."""
    pixels = pixels.flip(1) if bgr else pixels
    maps = torch.relu(nn.functional.conv2d(pixels, torch.from_numpy(KERNEL), stride=4))
    return maps.mean((2, 3)) @ torch.from_numpy(MATRIX).T


# The same normalisation, (x - 127.5) / 128 of pixels in 0..255, however it is written.
WRITTEN: dict[str, tuple[list[onnx.NodeProto], dict[str, Any]]] = {
    "plainly": ([node("Identity", "x", output="s"), *SUB_MUL], NUMBERS),
    "behind nodes that change nothing": (
        [
            node("Dropout", "x", output="a"),
            node("Cast", "a", output="b", to=TensorProto.FLOAT),
            node("Reshape", "b", "same", output="d"),
            node("Unsqueeze", "d", "one", output="e"),
            node("Squeeze", "e", "one", output="s"),
            *SUB_MUL,
        ],
        NUMBERS | {"same": np.array([0, 3, SIZE, SIZE]), "one": np.array([1])},
    ),
    "as a product and a sum": (
        [node("Mul", "x", "scale", output="s"), node("Add", "s", "shift", output="n")],
        {"scale": np.float32(1 / 128), "shift": np.float32(-127.5 / 128)},
    ),
    "as a batch normalisation": (
        [node("BatchNormalization", "x", *(f"bn_{name}" for name in "gbmv"), output="n", epsilon=0.0)],
        {
            f"bn_{name}": np.full(3, value, np.float32)
            for name, value in zip("gbmv", (1, 0, 127.5, 128**2), strict=True)
        },
    ),
    "as a convolution of single pixels": (
        [node("Conv", "x", "w", "b", output="n")],
        {"w": (np.eye(3, dtype=np.float32) / 128)[:, :, None, None], "b": np.full(3, -127.5 / 128, np.float32)},
    ),
    "for each channel": (
        [
            helper.make_node("Split", ["x"], ["r0", "g0", "b0"], axis=1),
            *(node("Sub", f"{c}0", "mean", output=f"{c}1") for c in "rgb"),
            *(node("Mul", f"{c}1", "scale", output=f"{c}2") for c in "rgb"),
            node("Concat", "r2", "g2", "b2", output="n", axis=1),
        ],
        NUMBERS,
    ),
    "after a limit to pixels": (
        [node("Clip", "x", "low", "high", output="s"), *SUB_MUL],
        NUMBERS | {"low": np.float32(0), "high": np.float32(255)},
    ),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_normalisation_is_found_however_it_is_written(name: str, tmp_path: Path) -> None:
    model = load_model(saved(tmp_path / "m.onnx", *WRITTEN[name]))
    pixels = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 255
    torch.testing.assert_close(model.network(pixels), expected((pixels - 127.5) / 128), rtol=1e-4, atol=1e-4)


TURNED: dict[str, tuple[list[onnx.NodeProto], dict[str, Any]]] = {
    "by Gather": ([node("Gather", "x", "turned", output="s", axis=1), *SUB_MUL], NUMBERS | FLIP),
    "by Slice": (
        [node("Slice", "x", "from", "to", "axis", "step", output="s"), *SUB_MUL],
        NUMBERS | {"from": np.array([-1]), "to": np.array([-9]), "axis": np.array([1]), "step": np.array([-1])},
    ),
    "by Split": (
        [
            helper.make_node("Split", ["x"], ["x0", "x1", "x2"], axis=1),
            node("Concat", "x2", "x1", "x0", output="s", axis=1),
            *SUB_MUL,
        ],
        NUMBERS,
    ),
}


@pytest.mark.parametrize("name", TURNED)
def test_channels_that_the_graph_turns_are_said(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    head, constants = TURNED[name]
    with caplog.at_level(logging.WARNING, "rsft"):
        model = load_model(saved(tmp_path / "m.onnx", head, constants))
    assert "RGB (which it turns to BGR)" in caplog.text
    pixels = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 255
    wanted = expected((pixels - 127.5) / 128, bgr=True)
    torch.testing.assert_close(model.network(pixels), wanted, rtol=1e-4, atol=1e-4)


def test_channels_may_come_last(tmp_path: Path) -> None:
    head = [node("Transpose", "x", output="s", perm=[0, 3, 1, 2]), *SUB_MUL]
    model = load_model(saved(tmp_path / "m.onnx", head, NUMBERS, channels_last=True))
    pixels = torch.rand(2, 3, SIZE, SIZE) * 255
    torch.testing.assert_close(model.network(pixels), expected((pixels - 127.5) / 128), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("head", "constants", "mean", "std"),
    [
        ([node("Identity", "x", output="n")], {}, 127.5, 127.5),  # no normalisation: the usual one, with a warning
        ([node("Identity", "x", output="s"), *SUB_MUL], IMAGENET, 0.0, 255.0),  # takes pixels in 0..1
        ([node("Mul", "x", "k", output="n")], {"k": np.float32(1 / 255)}, 0.0, 1.0),
        ([node("Sub", "x", "k", output="n")], {"k": np.full((3, 1, 1), 110, np.float32)}, 0.0, 1.0),
    ],
)
def test_the_pixels_that_a_graph_takes_follow_from_its_numbers(
    head: list[onnx.NodeProto], constants: dict[str, Any], mean: float, std: float, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    with caplog.at_level(logging.WARNING, "rsft"):
        model = load_model(saved(tmp_path / "m.onnx", head, constants))
    assert model.preprocess.settings() == {"order": "RGB", "mean": [mean] * 3, "std": [std] * 3}
    assert "has no m.json beside it" in caplog.text


NOT_TOLD: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], str]] = {
    "a mean picture": (
        [node("Sub", "x", "k", output="n")],
        {"k": DRAW.normal(127, 9, (3, SIZE, SIZE)).astype(np.float32)},
        "has a Sub before its first layer",
    ),
    "each picture by its own": (
        [node("InstanceNormalization", "x", "k", "b", output="n")],
        {"k": np.ones(3, np.float32), "b": np.zeros(3, np.float32)},
        "has a InstanceNormalization before its first layer",
    ),
    "numbers of no known pixels": ([node("Mul", "x", "k", output="n")], {"k": np.float32(2)}, "makes 0..510 of 0..255"),
    "turned to negative": ([node("Sub", "k", "x", output="n")], {"k": np.float32(255)}, "makes 255..0 of 0..255"),
    "a limit that cuts": ([node("Relu", "x", output="n")], {}, r"has a limit \(Relu or Clip\)"),
}


@pytest.mark.parametrize("name", NOT_TOLD)
def test_pixels_that_cannot_be_told_are_asked_for(name: str, tmp_path: Path) -> None:
    head, constants, message = NOT_TOLD[name]
    path = saved(tmp_path / "m.onnx", head, constants)
    with pytest.raises(InputError, match=message + r".*state order, mean and std in m\.json beside it"):
        load_model(path)
    path.with_suffix(".json").write_text('{"mean": 0, "std": 255}')
    assert load_model(path).preprocess.settings()["std"] == [255.0] * 3


def test_a_wrong_normalisation_fails_the_check(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = saved(tmp_path / "m.onnx", *WRITTEN["behind nodes that change nothing"])
    assert check_model(path)["error"] < 1e-5
    path.with_suffix(".json").write_text('{"mean": 127.5, "std": 127.5}')  # a second time
    with caplog.at_level(logging.WARNING, "rsft"):
        load_model(path)
    assert "would get -1.004..-0.9883 for pixels in 0..255" in caplog.text
    with pytest.raises(InputError, match=r"the first layer of 'm' would get -1\.004"):
        check_model(path)


def with_outside(path: Path, location: str) -> Path:
    """Write a graph whose kernel lies in another file."""
    model = onnx.load_model_from_string(saved(path, *WRITTEN["plainly"]).read_bytes())
    kernel = next(tensor for tensor in model.graph.initializer if tensor.name == "kernel")
    onnx.external_data_helper.set_external_data(kernel, location, offset=0, length=KERNEL.nbytes)
    kernel.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_in_a_file_beside_the_graph_are_read_and_travel_with_the_model(tmp_path: Path) -> None:
    path = with_outside(tmp_path / "m.onnx", "m.onnx.data")
    with pytest.raises(InputError, match=r"its weights in 'm\.onnx\.data' \(external_data\), which is not beside it"):
        load_model(path)
    (tmp_path / "m.onnx.data").write_bytes(KERNEL.tobytes()[:-4])
    with pytest.raises(InputError, match=r"m\.onnx\.data' has 1796 bytes.*is truncated or belongs to another graph"):
        load_model(path)
    (tmp_path / "m.onnx.data").write_bytes(KERNEL.tobytes())
    model = load_model(path)
    pixels = torch.rand(2, 3, SIZE, SIZE) * 255
    torch.testing.assert_close(model.network(pixels), expected((pixels - 127.5) / 128), rtol=1e-4, atol=1e-4)
    model.save(tmp_path / "saved")
    (tmp_path / "m.onnx.data").unlink()
    assert load_model(tmp_path / "saved").fingerprint == model.fingerprint


@pytest.mark.parametrize("location", ["../m.data", "/etc/passwd", "a/../../m.data", "link"])
def test_weights_outside_the_folder_are_not_read(location: str, tmp_path: Path) -> None:
    (tmp_path / "m.data").write_bytes(KERNEL.tobytes())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "m.data")
    with pytest.raises(InputError, match="outside its folder, which is not read"):
        load_model(with_outside(tmp_path / "in" / "m.onnx", location))


def test_torch_writes_two_files_and_both_are_read(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.PReLU(4), nn.Flatten(), nn.Linear(4 * 9, 8)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(1, 3, SIZE, SIZE),), str(tmp_path / "m.onnx"), verbose=False)
    assert (tmp_path / "m.onnx.data").is_file()
    pixels = torch.rand(2, 3, SIZE, SIZE) * 255
    found = load_model(tmp_path / "m.onnx").network(pixels)
    torch.testing.assert_close(found, network((pixels - 127.5) / 127.5), rtol=1e-4, atol=1e-4)


def test_of_several_outputs_the_embedding_is_found_or_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", *WRITTEN["plainly"])
    model = onnx.load(path)
    model.graph.output.insert(0, helper.make_tensor_value_info("r", TensorProto.FLOAT, None))  # maps
    onnx.save(model, path)
    assert load_model(path).embedding_size == 4
    model.graph.output.append(helper.make_tensor_value_info("f", TensorProto.FLOAT, None))
    onnx.save(model, path)
    with pytest.raises(InputError, match=r"several outputs \('r' .*'y' .*'f' .*state it as \"output\""):
        load_model(path)
    path.with_suffix(".json").write_text(json.dumps({"output": "f", "licence": "CC0-1.0"}))
    chosen = load_model(path)
    assert chosen.embedding_size == 6
    chosen.save(tmp_path / "saved")
    assert load_model(tmp_path / "saved").embedding_size == 6


def test_half_precision_and_a_length_of_one(tmp_path: Path) -> None:
    nodes = [
        node("Cast", "x", output="h", to=TensorProto.FLOAT16),
        node("Conv", "h", "kernel", output="c", strides=[4, 4]),
        node("Flatten", "c", output="f"),
        node("ReduceL2", "f", output="l", axes=[1]),
        node("Clip", "l", "least", output="m"),
        node("Shape", "f", output="shape"),
        node("Expand", "m", "shape", output="e"),
        node("Div", "f", "e", output="d"),
        node("Cast", "d", output="y", to=TensorProto.FLOAT),
    ]
    constants = {"kernel": KERNEL.astype(np.float16), "least": np.array(1e-4, np.float16)}
    (tmp_path / "m.onnx").write_bytes(graph(nodes, constants, shape=("N", 3, SIZE, SIZE), opset=13))
    found = load_model(tmp_path / "m.onnx").network(torch.rand(2, 3, SIZE, SIZE) * 255)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    assert found.dtype == torch.float32


def branch(kind: str, of: str) -> onnx.GraphProto:
    made = helper.make_node(kind, [of], ["chosen"])
    return helper.make_graph([made], kind, [], [helper.make_tensor_value_info("chosen", TensorProto.FLOAT, None)])


def test_the_branch_that_a_constant_chooses_is_taken(tmp_path: Path) -> None:
    head = [
        node("Shape", "x", output="shape"),
        node("ReduceMax", "shape", output="widest", keepdims=0),
        node("Equal", "widest", "size", output="is_size"),
        helper.make_node(
            "If", ["is_size"], ["n"], then_branch=branch("Identity", "x"), else_branch=branch("Sqrt", "x")
        ),
    ]
    pixels = torch.rand(2, 3, SIZE, SIZE) * 255
    found = load_model(saved(tmp_path / "m.onnx", head, {"size": np.array(SIZE)})).network(pixels)
    torch.testing.assert_close(found, expected((pixels - 127.5) / 127.5), rtol=1e-4, atol=1e-4)


def test_functions_that_use_each_other_without_end_are_refused(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(saved(tmp_path / "m.onnx", *WRITTEN["plainly"]).read_bytes())
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("own", 1)]
    for number in range(40):  # 2^40 nodes
        twice = [
            helper.make_node(f"F{number + 1}", ["a"], ["b"], domain="own"),
            helper.make_node(f"F{number + 1}", ["b"], ["c"], domain="own"),
        ]
        model.functions.append(helper.make_function("own", f"F{number}", ["a"], ["c"], twice, opsets))
    last = [helper.make_node("Relu", ["a"], ["c"])]
    model.functions.append(helper.make_function("own", "F40", ["a"], ["c"], last, opsets))
    model.graph.node[0].op_type, model.graph.node[0].domain = "F0", "own"
    model.opset_import.append(opsets[1])
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="nodes: at most 50000 are read"):
        load_model(tmp_path / "m.onnx")
    model.functions[3].node[0].op_type = "F2"  # a circle
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"at most 50000 are read|cannot be put in their place"):
        load_model(tmp_path / "m.onnx")


def test_damaged_graphs_are_refused_in_one_line(tmp_path: Path) -> None:
    whole = bytearray(saved(tmp_path / "m.onnx", *WRITTEN["behind nodes that change nothing"]).read_bytes())
    draw = np.random.default_rng(0)
    refused: list[str] = []
    for _ in range(120):
        damaged = bytearray(whole)
        for place in draw.integers(0, 900, 3):
            damaged[place] = draw.integers(0, 256)
        (tmp_path / "m.onnx").write_bytes(damaged)
        try:
            load_model(tmp_path / "m.onnx")
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > 60
    assert not [message for message in refused if "\n" in message]
