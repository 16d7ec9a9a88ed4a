"""Whether the ONNX files that others' exporters make are read right, for the networks that face people use.

    pip install timm facenet-pytorch   # with the torchvision of your torch; what is missing is left out and named
    python benchmarks/onnx_parity.py

Each network has random weights and statistics. Its file is loaded as `--model` does, and both are given the same chips:
the largest distance between the embedding and onnxruntime's, relative to its length, or the words of the refusal.
Writes `benchmarks/results/onnx_parity.json` and the table of `docs/models.md`.
"""

import argparse
import contextlib
import importlib.metadata
import io
import json
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper, version_converter
from runs import about
from torch import nn

from rsft.errors import InputError
from rsft.face.models import check_model
from rsft.face.networks.backbones.checkpoints import build

RESULTS = Path(__file__).parent / "results" / "onnx_parity.json"
PAGE = Path(__file__).parents[1] / "docs" / "models.md"
SCRIPT, DYNAMO, MXNET = "torch, TorchScript", "torch, dynamo", "mxnet (by hand)"
MXNET_OPSETS = (7, 8, 9, 11, 12)
EVERY = {SCRIPT: tuple(range(7, 21)), DYNAMO: tuple(range(18, 24))}  # opsets, of the networks in `SMALL`
SOME = {SCRIPT: (9, 11, 14, 17, 20), DYNAMO: (18,)}
FEW = {SCRIPT: (11,), DYNAMO: (18,)}  # of those in `LARGE`
KEYS = ("exporter", "network", "opset", "any_batch")
HEAD = "| network | exporter | opsets | files read | largest difference |"
TIMM = {
    "convnext_atto": 112,
    "efficientnet_b0": 112,
    "ghostnet_050": 112,
    "mobilenetv3_small_050": 112,
    "mobilenetv4_conv_small_050": 112,
    "resnet18": 112,
    "vit_tiny_patch16_224": 112,
}


def of_rsft(name: str) -> Callable[[], nn.Module]:
    return lambda: build(name, 128)


def of_timm(name: str, fused: bool = True) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import timm

        timm.layers.set_fused_attn(fused)
        sized = {"img_size": TIMM[name]} if name.startswith("vit") else {}
        return timm.create_model(name, num_classes=64, **sized)

    return make


def of_facenet() -> nn.Module:
    from facenet_pytorch.models.inception_resnet_v1 import InceptionResnetV1

    return InceptionResnetV1(num_classes=8, classify=False)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "insightface iresnet18": (of_rsft("iresnet18"), 112),
    "insightface iresnet50": (of_rsft("iresnet50"), 112),
    "insightface iresnet100": (of_rsft("iresnet100"), 112),
    "insightface mobilefacenet": (of_rsft("mobilefacenet"), 112),
    "AdaFace ir18": (of_rsft("adaface-ir18"), 112),
    "facenet-pytorch InceptionResnetV1": (of_facenet, 160),
    **{f"timm {name}": (of_timm(name), size) for name, size in TIMM.items()},
    "timm vit_tiny_patch16_224, attention in parts": (of_timm("vit_tiny_patch16_224", fused=False), 112),
}
SMALL = ("timm mobilenetv3_small_050",)
LARGE = ("insightface iresnet50", "insightface iresnet100")


def filled(network: nn.Module) -> nn.Module:
    """A network in evaluation mode whose running statistics and slopes are not those of the start."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
        if isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.1, 0.4)
    return network.eval()


def exported(network: nn.Module, size: int, exporter: str, opset: int, path: Path, dynamic: bool) -> None:
    """Write a network by one of torch's exporters; opsets 7 and 8 are made of 9 by ONNX's own converter."""
    example = torch.zeros(2 if dynamic else 1, 3, size, size)
    if exporter == DYNAMO:
        shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
        program = torch.onnx.export(
            network, (example,), dynamo=True, opset_version=opset, dynamic_shapes=shapes, verbose=False
        )
        assert program is not None
        program.save(str(path), external_data=True)
    else:
        axes = {"x": {0: "batch"}, "y": {0: "batch"}} if dynamic else None
        torch.onnx.export(
            network,
            (example,),
            str(path),
            dynamo=False,
            opset_version=max(opset, 9),
            input_names=["x"],
            output_names=["y"],
            dynamic_axes=axes,
        )
        if opset < 9:
            onnx.save(version_converter.convert_version(onnx.load(path), opset), path)


def mxnet_resnet(opset: int, path: Path) -> None:
    """Write a small ResNet as mxnet's exporter wrote insightface's: identity, scalars, BN, PRelu, Dropout, Gemm."""
    draw = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {"minus": np.float32(127.5), "times": np.float32(0.0078125)}  # type: ignore[dict-item]
    nodes = [
        helper.make_node("Identity", ["data"], ["id"], name="id"),
        helper.make_node("Sub", ["id", "minus"], ["_minusscalar0"], name="_minusscalar0"),
        helper.make_node("Mul", ["_minusscalar0", "times"], ["_mulscalar0"], name="_mulscalar0"),
    ]

    def add(operator: str, name: str, x: str, shapes: dict[str, tuple[int, ...]], **attributes: Any) -> str:
        for key, shape in shapes.items():
            fan = np.prod(shape[1:]) if len(shape) > 1 and operator != "PRelu" else 4
            value = draw.normal(0, fan**-0.5, shape)
            weights[f"{name}_{key}"] = (np.abs(value) + 0.5 if key in ("var", "gamma") else value).astype(np.float32)
        nodes.append(
            helper.make_node(operator, [x, *(f"{name}_{key}" for key in shapes)], [name], name=name, **attributes)
        )
        return name

    def norm(name: str, x: str, width: int) -> str:
        spatial = {"spatial": 1} if opset < 9 else {}
        shapes = dict.fromkeys(("gamma", "beta", "mean", "var"), (width,))
        return add("BatchNormalization", name, x, shapes, epsilon=2e-5, momentum=0.9, **spatial)

    def conv(name: str, x: str, inside: int, width: int, kernel: int, stride: int) -> str:
        pads = [kernel // 2] * 4
        sizes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": pads, "dilations": [1, 1], "group": 1}
        return add("Conv", name, x, {"weight": (width, inside, kernel, kernel)}, **sizes)

    x, inside = conv("conv0", "_mulscalar0", 3, 8, 3, 1), 8
    x = add("PRelu", "relu0", norm("bn0", x, 8), {"gamma": (8, 1, 1)})
    for stage, width in enumerate((8, 16, 32, 64)):
        for unit in range(2):
            name, stride = f"stage{stage + 1}_unit{unit + 1}", 2 if unit == 0 else 1
            y = conv(f"{name}_conv1", norm(f"{name}_bn1", x, inside), inside, width, 3, 1)
            y = add("PRelu", f"{name}_relu1", norm(f"{name}_bn2", y, width), {"gamma": (width, 1, 1)})
            y = norm(f"{name}_bn3", conv(f"{name}_conv2", y, width, width, 3, stride), width)
            if unit == 0:
                x = norm(f"{name}_sc", conv(f"{name}_conv1sc", x, inside, width, 1, 2), width)
            nodes.append(helper.make_node("Add", [y, x], [f"{name}_plus"], name=f"{name}_plus"))
            x, inside = f"{name}_plus", width
    x = norm("bn1", x, inside)
    nodes.append(helper.make_node("Dropout", [x], ["dropout0"], **({"ratio": 0.4} if opset < 12 else {})))
    nodes.append(helper.make_node("Flatten", ["dropout0"], ["flatten"]))
    x = add("Gemm", "pre_fc1", "flatten", {"weight": (64, 64 * 49), "bias": (64,)}, transB=1, alpha=1.0, beta=1.0)
    x = norm("fc1", x, 64)
    graph = helper.make_graph(
        nodes,
        "mxnet_converted_model",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, 64])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4)
    onnx.save(model, path)


def cases(only: str) -> Iterator[tuple[str, str, int, bool, Callable[[Path], None]]]:
    """Exporter, network, opset, whether the batch has any size, and what writes the file."""
    if only in "mxnet resnet":
        for opset in MXNET_OPSETS:
            yield MXNET, "insightface resnet, small", opset, False, lambda path, opset=opset: mxnet_resnet(opset, path)
    for name, (make, size) in NETWORKS.items():
        if only not in name:
            continue
        torch.manual_seed(0)
        try:
            network = filled(make())
        except ModuleNotFoundError as error:
            print(f"{name} left out: {error}")
            continue
        for exporter, opsets in (EVERY if name in SMALL else FEW if name in LARGE else SOME).items():
            for opset in opsets:
                for dynamic in (True, False) if opset == 11 and name not in LARGE else (True,):

                    def write(path: Path, of: Any = (network, size, exporter, opset), dynamic: bool = dynamic) -> None:
                        exported(*of, path, dynamic)

                    yield exporter, name, opset, dynamic, write


def result(write: Callable[[Path], None]) -> dict[str, Any]:
    """The relative error of a file, the words of its refusal, or why the exporter wrote none."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, "network.onnx")
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                write(path)
        except Exception as error:  # the exporters' errors have no common base
            return {"not_exported": f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"}
        stated = opset_of(path)
        try:
            return {"opset_stated": stated, "error": float(f"{check_model(path)['error']:.3g}")}
        except InputError as error:
            return {"opset_stated": stated, "refused": str(error).replace(folder, "")}


def opset_of(path: Path) -> int:
    model = onnx.load(path, load_external_data=False)
    return max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def table(results: dict[str, Any]) -> str:
    """The table of `docs/models.md`: a row for each network and exporter."""
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in results["results"]:
        rows.setdefault((one["network"], one["exporter"]), []).append(one)
    lines = [HEAD, "|---|---|---|---|---|"]
    for (network, exporter), found in sorted(rows.items()):
        written = [one for one in found if "not_exported" not in one]
        if not written:
            continue
        read = [one for one in written if "error" in one]
        opsets = sorted({one["opset_stated"] for one in written})
        worst = f"{max(one['error'] for one in read):.0e}" if read else ""
        span = f"{opsets[0]} to {opsets[-1]}" if len(opsets) > 1 else str(opsets[0])
        lines.append(f"| {network} | {exporter} | {span} | {len(read)} of {len(written)} | {worst} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="networks whose name contains this; the results of others stay")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    before = json.loads(RESULTS.read_text())["results"] if options.only else []
    found = {tuple(one[key] for key in KEYS): one for one in before}
    for exporter, network, opset, dynamic, write in cases(options.only):
        start = time.perf_counter()
        case = {"exporter": exporter, "network": network, "opset": opset, "any_batch": dynamic}
        found[tuple(case.values())] = case | result(write)
        print(f"{time.perf_counter() - start:5.1f} s", found[tuple(case.values())], flush=True)
        keep(list(found.values()))


def keep(found: list[dict[str, Any]]) -> None:
    """Write the results and the table of the page."""
    versions = {name: version(name) for name in ("onnx", "onnxruntime", "onnxscript", "timm", "facenet-pytorch")}
    results = {**about(packages=versions), "results": found}
    RESULTS.write_text(json.dumps(results, indent=1))
    text = PAGE.read_text()
    first = text.index(HEAD)
    PAGE.write_text(text[:first] + table(results) + text[text.index("\n\n", first) :])


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


if __name__ == "__main__":
    main()
