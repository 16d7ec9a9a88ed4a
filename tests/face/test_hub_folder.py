"""`rsft export --hub-folder`: what the Hugging Face hub reads, and what it must not be told."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import refused, rsft
from drawn_people import SIZE
from small_graphs import graph, node, weights
from small_run import write_run

from rsft.errors import InputError
from rsft.face.export import export
from rsft.face.networks.load import load_model

huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of a network that was read from ONNX, whose target lay in a folder with a name."""
    layers = [
        node("AveragePool", "x", output="a", kernel_shape=[56, 56], strides=[56, 56]),
        node("Flatten", "a", output="b"),
        node("Gemm", "b", "w", output="y", transB=1),
    ]
    (tmp_path / "tiny.onnx").write_bytes(graph(layers, {"w": weights(8, 12)}, shape=("batch", 3, SIZE, SIZE)))
    (tmp_path / "tiny.json").write_text('{"order": "RGB", "mean": 127.5, "std": 127.5, "licence": "CC0-1.0"}')
    folder = write_run(tmp_path / "run")
    load_model(tmp_path / "tiny.onnx").save(folder / "model")
    (folder / "model_card.md").write_text("# tiny, tuned to anns-front-door\n\nShip. A gain of <b>.1</b>.\n")
    return folder


def card_of(folder: Path) -> Any:
    return huggingface_hub.ModelCard.load(folder / "README.md")


def test_the_hub_reads_its_header_and_the_folder_loads_again(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "upload"
    told = json.loads(rsft("export", run, "--hub-folder", out, "--base-model", "org/base-1", "--json").stdout)
    assert told["hub_folder"] == str(out)
    assert {path.name for path in out.iterdir()} == {
        "README.md", "bundle.json", "config.json", "graph.onnx", "model.safetensors",
    }  # fmt: skip
    data = card_of(out).data
    assert (data.license, data.library_name, data.base_model) == ("cc0-1.0", "rsft", "org/base-1")
    assert {"face-recognition", "rsft"} <= set(data.tags)
    assert data.metrics == ["tar"]
    figures = {(one.dataset_name, one.metric_name): one.metric_value for one in data.eval_results}
    # of small_run: an FMR that is not supported has no figure
    assert figures == {
        (f"{key} set, not published", name): value
        for key in ("target", "retain")
        for name, value in {"TAR at FMR 0.01": 0.5, "EER": 0.1}.items()
    }
    # the hub's own class writes the same figures again
    assert huggingface_hub.ModelCardData(**data.to_dict() | {"model_name": data.model_name}).to_yaml()
    model, again = load_model(run), load_model(out)
    assert (again.fingerprint, again.licence) == (model.fingerprint, "CC0-1.0")
    chips = torch.rand(2, 3, SIZE, SIZE) * 255
    assert torch.equal(model.network(chips), again.network(chips))
    assert json.loads((out / "config.json").read_text())["architectures"] == ["tiny"]


def test_nothing_private_is_in_it(run: Path, tmp_path: Path) -> None:
    """Not the name of the target's folder, which stands in the title, and no path of the configuration."""
    export(run, hub_folder=tmp_path / "upload")
    assert "anns-front-door" in (run / "model_card.md").read_text()
    for path in (tmp_path / "upload").iterdir():
        text = path.read_bytes().decode("latin1")
        assert not any(secret in text for secret in ("anns-front-door", "data/pool", str(tmp_path), "salt"))
    assert card_of(tmp_path / "upload").data.base_model is None
    assert "Ship. A gain" in (tmp_path / "upload" / "README.md").read_text()


def test_where_the_run_started_from_the_hub_the_card_says_so(run: Path, tmp_path: Path) -> None:
    (run / "config.toml").write_text('model = "hub:org/base/nets/small.onnx"\n')
    export(run, hub_folder=tmp_path / "upload")
    assert card_of(tmp_path / "upload").data.base_model == "org/base"


@pytest.mark.parametrize(
    ("licence", "told"),
    [
        ("MIT", {"license": "mit"}),
        ("unknown", {"license": "unknown"}),
        ("Research only: ask \u2028 'us'", {"license": "other", "license_name": "research-only-ask-us"}),
    ],
)
def test_a_licence_is_told_in_the_words_of_the_hub(run: Path, tmp_path: Path, licence: str, told: Any) -> None:
    bundle = run / "model" / "bundle.json"
    bundle.write_text(json.dumps(json.loads(bundle.read_text()) | {"licence": licence}))
    export(run, hub_folder=tmp_path / "upload")
    found = card_of(tmp_path / "upload").data.to_dict()
    assert {key: value for key, value in found.items() if key.startswith("license")} == told


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.json", b"{}"),
        ("metrics.json", b'{"tuned": {"target": {}}}'),
        ("metrics.json", b'{"tuned": [1]}'),
        ("model_card.md", b"\xff"),
    ],
)
def test_a_damaged_file_of_the_run_is_named(run: Path, tmp_path: Path, name: str, content: bytes) -> None:
    (run / name).write_bytes(content)
    with pytest.raises(InputError, match=f"cannot read '.*{name}' as the (metrics|card) of a run"):
        export(run, hub_folder=tmp_path / "up")
    assert not (tmp_path / "up").exists()


def test_bad_input_is_one_line(run: Path, tmp_path: Path) -> None:
    assert "exists: choose another folder for the hub" in refused("export", run, "--hub-folder", tmp_path)
    one = ("--bundle", tmp_path / "up", "--hub-folder", tmp_path / "run" / ".." / "up")
    assert "is given for the bundle and for the hub: choose two folders" in refused("export", run, *one)
    assert "give a hub folder too" in refused("export", run, "--bundle", tmp_path / "b", "--base-model", "org/base")
    line = refused("export", run, "--hub-folder", tmp_path / "up", "--base-model", "/home/ann/base")
    assert "is no name of a model on the hub: give ORG/NAME" in line
    assert not (tmp_path / "up").exists()
    assert "lies in the input" in refused("export", run, "--hub-folder", run / "up")
