"""Files of the Hugging Face hub are read from a fake cache with the hub's layout; nothing is downloaded."""

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from small_graphs import FLAT, graph, node

from rsft.cli.main import run
from rsft.errors import InputError
from rsft.face.export import export
from rsft.face.networks.backbones.mobilefacenet import MobileFaceNet
from rsft.face.networks.bundle import face_model
from rsft.face.networks.hub import hub_file
from rsft.face.networks.load import load_model

constants = pytest.importorskip("huggingface_hub.constants")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
Put = Callable[[str, bytes], Path]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Return a function that puts a file of `someone/faces` into the cache."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--someone--faces"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "blobs").mkdir()

    def lay(file: str, content: bytes) -> Path:
        blob = repository / "blobs" / str(len(list((repository / "blobs").iterdir())))
        blob.write_bytes(content)
        path = repository / "snapshots" / COMMIT / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(blob)
        return path

    return lay


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {name: tensor.clone() for name, tensor in MobileFaceNet(64).state_dict().items()}


def test_a_checkpoint_and_its_bundle_are_read_from_the_cache(put: Put, weights: dict[str, torch.Tensor]) -> None:
    put("nets/small.safetensors", safetensors.torch.save(weights))
    put("nets/small.json", json.dumps({"order": "BGR", "licence": "MIT"}).encode())
    model = load_model("hub:someone/faces/nets/small.safetensors")
    assert (model.name, model.embedding_size, model.preprocess.order) == ("mobilefacenet", 64, "BGR")
    assert (model.licence, model.source) == ("MIT", "hub:someone/faces/nets/small.safetensors")
    chips = torch.zeros(1, 3, 112, 112)
    network = MobileFaceNet(64).eval()
    network.load_state_dict(weights)
    torch.testing.assert_close(model.network(chips), network((chips - 127.5) / 127.5))


def test_weights_beside_an_onnx_file_are_fetched_with_it(put: Put, tmp_path: Path) -> None:
    kernel = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)
    nodes = [node("Conv", "x", "k", output="h"), FLAT]
    model = onnx.load_model_from_string(graph(nodes, {"k": kernel}))
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "net.data", length=kernel.nbytes)
    model.graph.initializer[0].ClearField("raw_data")
    put("nets/net.onnx", model.SerializeToString())
    with pytest.raises(InputError, match="without network access the file must be in the hub's cache"):
        hub_file("hub:someone/faces/nets/net.onnx")
    put("nets/net.data", kernel.tobytes())
    assert load_model("hub:someone/faces/nets/net.onnx").embedding_size == 4


def test_a_warning_is_logged_if_the_hub_cannot_be_asked_for_a_bundle(
    put: Put, weights: dict[str, torch.Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    put("small.safetensors", safetensors.torch.save(weights))
    assert load_model("hub:someone/faces/small.safetensors").preprocess.order == "RGB"
    assert "could not be asked whether 'hub:someone/faces/small.safetensors' has a small.json beside it" in caplog.text
    caplog.clear()
    put("small.json", b"{}")
    load_model("hub:someone/faces/small.safetensors")
    assert "could not be asked" not in caplog.text


def test_a_whole_model_is_read_from_the_cache(put: Put, weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    network = MobileFaceNet(64)
    network.load_state_dict(weights)
    model = face_model(network, name="mobilefacenet", licence="MIT")
    export(model, hub_folder=tmp_path / "written")
    with pytest.raises(InputError, match="without network access the file must be in the hub's cache"):
        load_model("hub:someone/others")
    put("README.md", b"not by rsft")
    with pytest.raises(InputError, match=r"has no bundle\.json\): name one of its files"):
        load_model("hub:someone/faces")
    for file in (tmp_path / "written").iterdir():
        if file.name != "README.md":
            put(file.name, file.read_bytes())
    assert load_model("hub:someone/faces").fingerprint == model.fingerprint


class Harm:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_a_pickle_that_runs_code_is_refused_without_running_it(put: Put, tmp_path: Path) -> None:
    put("harm.pt", pickle.dumps({"state_dict": Harm(tmp_path / "ran")}, protocol=2))
    with pytest.raises(InputError, match="could run code, which is refused"):
        load_model("hub:someone/faces/harm.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hub:someone", "does not name a file on the hub: give hub:ORG/NAME/FILE"),
        ("hub:someone//x.pt", "does not name a file on the hub"),
        ("hub:someone/faces/model.py", "the file must be an .onnx file or a checkpoint"),
        ("hub:someone/faces/other.pt", "without network access the file must be in the hub's cache"),
        ("hub:some one/faces/other.pt", "cannot fetch 'hub:some one/faces/other.pt'"),
        ("hub:someone/faces/../../../x.pt", "cannot fetch"),
    ],
)
def test_invalid_or_unavailable_files_are_refused(put: Put, name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        hub_file(name)


def test_the_command_line_reports_a_failed_fetch_in_one_line(
    put: Put, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["rsft", "models", "check", "hub:someone/faces/other.onnx"])
    monkeypatch.setattr("rsft.cli.show.log_to_stderr", lambda: None)
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("rsft: cannot fetch 'hub:someone/faces/other.onnx'")


def test_a_missing_huggingface_hub_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"needs huggingface_hub: pip install '\.\[hub\]'"):
        hub_file("hub:someone/faces/other.pt")
