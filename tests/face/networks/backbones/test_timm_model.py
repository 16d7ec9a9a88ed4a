"""timm's backbones, tested with a stand-in for the parts of timm that are used; nothing is downloaded."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rsft.cli.main import run
from rsft.errors import InputError
from rsft.face.networks.chip_points import ARCFACE, scaled
from rsft.face.networks.load import load_model

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """A network of two residual blocks, like a timm network without its classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 5, stride=4)
        self.first, self.second = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
        self.pretrained_cfg: dict[str, Any] = {}

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = x + torch.relu(self.first(x))
        x = x + torch.relu(self.second(x))
        return x.mean((2, 3))


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Install the stand-in and return its models: name -> configuration."""
    models: dict[str, dict[str, Any]] = {
        "small": {"input_size": (3, 64, 64), "license": "cc-by-nc-4.0"},
        "unlicensed": {"input_size": (3, 64, 64), "license": None},
        "wide": {"input_size": (3, 64, 96)},
        "untrained": {"input_size": (3, 64, 64), "weights": False},
    }

    def create_model(name: str, *, pretrained: bool, num_classes: int) -> Backbone:
        assert num_classes == 0
        if pretrained and not models[name].get("weights", True):
            raise RuntimeError(f"No pretrained weights exist for {name}. Use `pretrained=False` for random init.")
        with torch.random.fork_rng():
            torch.manual_seed(int(pretrained))
            network = Backbone()
        network.pretrained_cfg = models[name]
        return network

    fake, data = ModuleType("timm"), ModuleType("timm.data")
    fake.__dict__.update(data=data, is_model=models.__contains__, create_model=create_model)
    data.__dict__["resolve_model_data_config"] = lambda network: {
        "input_size": network.pretrained_cfg["input_size"],
        "mean": MEAN,
        "std": STD,
    }
    monkeypatch.setitem(sys.modules, "timm", fake)
    monkeypatch.setitem(sys.modules, "timm.data", data)
    return models


def test_preprocessing_and_licence_come_from_the_configuration_of_timm(
    timm: dict[str, dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    model = load_model("timm:small")
    assert (model.name, model.size, model.embedding_size, model.licence) == ("timm:small", 64, 4, "cc-by-nc-4.0")
    assert model.template == scaled(ARCFACE, 64 / 112)
    assert "rules out commercial use" in caplog.text
    chips = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = Backbone()
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (MEAN, STD))
    torch.testing.assert_close(model.network(chips), network((chips / 255 - mean) / std))
    load_model("timm:unlicensed")
    assert "the licence of timm:unlicensed is not stated" in caplog.text


def test_a_timm_network_is_divided_between_its_residual_blocks(timm: dict[str, dict[str, Any]]) -> None:
    model = load_model("timm:small")
    assert [sum(1 for _ in stage.parameters()) for stage in model.own_stages] == [2, 2, 2]
    chips = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    before, after = model.split(-1)
    torch.testing.assert_close(after(before(chips)), model.network(chips))


def test_a_saved_model_is_loaded_without_pretrained_weights(timm: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    model = load_model("timm:small")
    model.save(tmp_path / "model")
    timm["small"]["weights"] = False
    loaded = load_model(tmp_path / "model")
    assert (loaded.name, loaded.licence, loaded.fingerprint) == (model.name, model.licence, model.fingerprint)


def test_a_run_with_a_timm_model_from_the_command_line(
    timm: dict[str, dict[str, Any]], faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are random: the test checks that the run completes and that its model can be loaded later."""
    (tmp_path / "run.toml").write_text(
        "[recipe]\nsteps = 2\nbatch_size = 8\nviews = 2\nmax_retention_loss = 1.0\ncut = -1\n"
    )
    options = {"pool": "pool", "target": "target", "eval": "evaluation", "retain": "retention"}
    places = [word for name, part in options.items() for word in (f"--{name}", str(faces / part))]
    words = [*places, "--aligned", "--model", "timm:small", "--config", tmp_path / "run.toml"]
    monkeypatch.setattr("sys.argv", ["rsft", "fit", *map(str, words), "--out", str(tmp_path / "run")])
    monkeypatch.setattr("rsft.cli.show.log_to_stderr", lambda: None)
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 0
    bundle = json.loads((tmp_path / "run" / "model" / "bundle.json").read_text())
    timm["small"]["weights"] = False
    assert load_model(tmp_path / "run").fingerprint == bundle["fingerprint"]
    assert bundle["source"].startswith("rsft, from timm:small ")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nonesuch", "timm has no model 'nonesuch'"),
        ("hf-hub:org/small", "timm has no model 'hf-hub:org/small'"),
        ("", "timm has no model ''"),
        ("untrained", "timm cannot load weights of 'untrained' .*No pretrained weights exist"),
        ("wide", "'timm:wide' takes 3 x 64 x 96"),
    ],
)
def test_unavailable_models_are_refused(timm: dict[str, dict[str, Any]], name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_model(f"timm:{name}")


def test_a_missing_timm_or_a_torchvision_for_another_torch_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"cannot be imported .*pip install '\.\[timm\]'"):
        load_model("timm:small")
    monkeypatch.delitem(sys.modules, "timm")
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"torchvision::nms does not exist.*built for this torch"):
        load_model("timm:small")
