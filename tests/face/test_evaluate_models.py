"""Several networks on the same pairs: rates as each has alone, and differences with paired intervals."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import refused, rsft
from torch import nn

from rsft.errors import InputError
from rsft.face.evaluate import evaluate_folders
from rsft.face.evaluate_models import evaluate_models
from rsft.face.networks.bundle import FaceModel, face_model
from rsft.face.networks.chip_points import ARCFACE, scaled
from rsft.face.networks.load import load_model


def model(seed: int, template: float = 1.0) -> FaceModel:
    """Return a small random network for chips of 32 px."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 7 * 7, 12))
    return face_model(network, name=f"seed {seed}", size=32, template=scaled(ARCFACE, template * 32 / 112))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The dlib network as it is, and with a little noise on its weights."""
    root, dlib = tmp_path_factory.mktemp("models"), load_model("dlib")
    dlib.save(root / "net0")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in dlib.network.parameters():
            weights.add_(0.2 * weights.std(correction=0) * torch.randn(weights.shape, generator=generator))
    face_model(dlib.network, name="dlib", size=dlib.size, template=dlib.template, mean=0.0, std=1.0).save(root / "net1")
    return [root / "net0", root / "net1"]


def test_rates_are_those_of_each_alone_and_differences_are_paired(faces: Path, saved: list[Path]) -> None:
    line = [word for path in saved for word in ("--model", path)]
    found = json.loads(rsft("evaluate", *line, "--eval", faces / "evaluation", "--aligned", "--json").stdout)
    assert set(found) == {"target"}
    alone = evaluate_folders(evaluation=faces / "evaluation", model=saved[1], aligned=True)["target"]
    assert found["target"]["models"]["net1"]["tar_at_fmr"] == alone["tar_at_fmr"]
    of = evaluate_models(models=saved, evaluation=faces / "evaluation", aligned=True)["target"]
    difference = of.report.difference("net1", "net0", 0.01)
    draws = of.report.draws["net1"][0.01] - of.report.draws["net0"][0.01]
    assert difference.low == pytest.approx(np.quantile(draws, 0.025), abs=1e-9)
    told = found["target"]["differences"]
    assert told["net1"]["net0"]["0.01"] == difference.to_dict()
    assert told["net0"]["net1"]["0.01"]["value"] == pytest.approx(-told["net1"]["net0"]["0.01"]["value"])


def test_the_table_says_who_is_compared_with_whom(
    faces: Path, saved: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    line = [word for path in saved for word in ("--model", path)]
    printed = rsft("evaluate", *line, "--eval", faces / "evaluation", "--aligned").stdout
    assert "minus net0" in printed
    assert "pictures for all, " in printed
    assert "…" not in printed
    sets = ("--eval", faces / "evaluation", "--retain", faces / "retention")
    assert rsft("evaluate", "--model", saved[0], *sets, "--aligned").stdout.count("net0 on ") == 2  # a title for each


def test_networks_that_cannot_be_compared_are_refused(faces: Path, saved: list[Path]) -> None:
    options = {"evaluation": faces / "evaluation", "aligned": True}
    with pytest.raises(InputError, match="same weights"):
        evaluate_models(models=["dlib", saved[0]], **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="give the photographs"):
        evaluate_models(models=[model(0), model(1, 0.8)], **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="two networks or more"):
        evaluate_models(models=[model(0)], **options)  # type: ignore[arg-type]
    line = [word for path in saved for word in ("--model", path)]
    assert "--groups is for one --model" in refused("evaluate", *line, "--eval", faces, "--groups", "x")
