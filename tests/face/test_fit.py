"""`fit`: resuming, overlap checks, scoring of each set, and the retention gate."""

import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drawn_people import draw_people, tiny_model

from rsft.errors import InputError, InterruptedTrainingError
from rsft.face.adaptation.gate import Gate, HeldOut
from rsft.face.adaptation.recipe import Recipe
from rsft.face.evaluate import evaluate_folders
from rsft.face.fit import fit
from rsft.face.networks.load import load_model
from rsft.face.runs.results import FitResult

RECIPE = Recipe(steps=6, batch_size=8, views=2, learning_rate=1e-4, learnt_prototypes=True, margin_ramp_fraction=0.5)


def run(faces: Path, out: Path, **options: Any) -> dict[str, Any]:
    """Fit on the test faces and return the metrics."""
    return fit(
        pool=faces / "pool",
        target=faces / "target",
        evaluation=faces / "evaluation",
        retain=faces / "retention",
        out=out,
        recipe=RECIPE,
        aligned=True,
        **options,
    ).metrics


def test_a_fit_interrupted_while_training_resumes_to_the_same_numbers(faces: Path, tmp_path: Path) -> None:
    """The signal arrives in the second of three trainings."""
    whole = run(faces, tmp_path / "whole")

    def listener(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("tune", 9):
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(InterruptedTrainingError, match=r"stopped by SIGTERM; step 4 is saved.*--resume"):
        run(faces, tmp_path / "cut", listener=listener)
    saved = {path.parent.name for path in (tmp_path / "cut.partial" / "checkpoints").glob("*/step-*")}
    assert saved == {"fold-0", "fold-1"}
    with pytest.raises(InputError, match="seed is 0 in the checkpoint and 1 now"):
        run(faces, tmp_path / "cut", resume=True, seed=1)
    resumed = run(faces, tmp_path / "cut", resume=True)
    # names are hashed with a salt that differs between runs
    assert [reason for _, reason in resumed["quarantined"]] == [reason for _, reason in whole["quarantined"]]
    for key in set(whole) - {"seconds", "quarantined"}:
        assert resumed[key] == whole[key], key
    for file in ("history.jsonl", "model/weights.safetensors"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert not (tmp_path / "cut" / "checkpoints").exists()
    (gate,) = whole["validation"]["gates"]
    assert json.loads((tmp_path / "whole" / "metrics.json").read_text())["validation"]["gates"] == [gate]
    for name in ("gain", "loss"):
        assert gate[name]["low"] <= gate[name]["value"] <= gate[name]["high"]
    assert "pairs that look like the target gain" in whole["validation"]["text"]


def test_a_retention_set_with_people_of_the_pool_is_refused(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="identities of the pool are also evaluated"):
        fit(
            pool=faces / "pool",
            target=faces / "target",
            evaluation=faces / "evaluation",
            retain=faces / "pool",
            out=tmp_path / "run",
            aligned=True,
        )


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_people(tmp_path_factory.mktemp("people"))


def fit_that_passes_the_gate(
    people: Path, out: Path, monkeypatch: pytest.MonkeyPatch, *, resume: bool = False, **changes: Any
) -> FitResult:
    """Fit the tiny model with a gate that allows all shares on held-out people, so that the retention set decides."""

    def decide(folds: Sequence[HeldOut], max_loss: float, *, seed: int) -> Gate:
        return replace(real_decide(folds, max_loss, seed=seed), share=1.0, candidate=1.0, allowed=[0.5, 1.0])

    tuning = sys.modules["rsft.face.adaptation.tune"]  # the package exports a function of the same name
    real_decide = tuning.decide
    monkeypatch.setattr(tuning, "decide", decide)
    settings = {"steps": 6, "batch_size": 16, "views": 2, "cut": -1, "learning_rate": 1e-2, "warmup_fraction": 0.0}
    settings["whitening"] = 0.0
    return fit(
        pool=people / "pool",
        target=people / "target",
        evaluation=people / "evaluation",
        retain=people / "retention",
        out=out,
        model=tiny_model(),
        recipe=Recipe(**(settings | changes)),
        aligned=True,
        resume=resume,
    )


def test_each_set_is_scored_on_its_own_pictures(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sets have pictures of the same names, so scoring one on the pictures of the other would give its figures."""
    result = fit_that_passes_the_gate(people, tmp_path / "run", monkeypatch, max_retention_loss=1.0)
    for name, model in (("pretrained", tiny_model()), ("tuned", result.model)):
        alone = {
            key: evaluate_folders(evaluation=people / folder, model=model, aligned=True)["target"]
            for key, folder in (("target", "evaluation"), ("retain", "retention"))
        }
        for key, expected in alone.items():
            found = result.metrics[name][key]
            for fmr, tar in found["tar_at_fmr"].items():
                assert tar["value"] == pytest.approx(expected["tar_at_fmr"][fmr]["value"], abs=0.01), (name, key, fmr)
            assert found["eer"] == pytest.approx(expected["eer"], abs=0.01)
        assert abs(alone["target"]["eer"] - alone["retain"]["eer"]) > 0.03  # otherwise the test has no power


def test_the_retention_gate_measures_the_retention_set(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = fit_that_passes_the_gate(people, tmp_path / "run", monkeypatch, max_retention_loss=1.0).metrics
    (gate,) = metrics["validation"]["gates"]
    change = {key: metrics["differences"]["tuned - pretrained"][key]["0.01"]["value"] for key in ("target", "retain")}
    assert gate["retention"] == [[1.0, pytest.approx(-change["retain"])]]
    assert abs(change["target"] - change["retain"]) > 0.01


def test_a_loss_on_the_retention_set_restores_the_pretrained_weights(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = fit_that_passes_the_gate(people, tmp_path / "run", monkeypatch)
    (gate,) = result.metrics["validation"]["gates"]
    assert [share for share, _ in gate["retention"]] == [1.0, 0.5]
    assert min(loss for _, loss in gate["retention"]) > 0.01
    assert (gate["share"], result.metrics["verdict"]["outcome"]) == (0.0, "kept")
    assert "on the retention set" in result.verdict
    assert result.model.fingerprint == tiny_model().fingerprint
    assert result.metrics["tuned"] == result.metrics["pretrained"]


def test_the_cut_of_a_run_travels_with_its_model(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What enters the cut is rounded to float16, so a tuned model is embedded with the cut it was tuned with."""
    result = fit_that_passes_the_gate(people, tmp_path / "run", monkeypatch, cut=-2, max_retention_loss=1.0)
    assert result.model.cut == -2
    assert json.loads((tmp_path / "run" / "model" / "bundle.json").read_text())["cut"] == -2
    loaded = load_model(tmp_path / "run", network=tiny_model().own_stages)
    assert (loaded.cut, loaded.fingerprint) == (-2, result.model.fingerprint)
    evaluated = evaluate_folders(evaluation=people / "evaluation", model=loaded, aligned=True)["target"]
    found = result.metrics["tuned"]["target"]
    assert evaluated["eer"] == pytest.approx(found["eer"], abs=1e-9)
    assert {fmr: tar["value"] for fmr, tar in evaluated["tar_at_fmr"].items()} == {
        fmr: tar["value"] for fmr, tar in found["tar_at_fmr"].items()
    }


def test_a_run_stopped_after_its_model_was_written_can_be_resumed(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rsft.face.runs.run_files.write_run_page", stop)
        with pytest.raises(KeyboardInterrupt):
            fit_that_passes_the_gate(people, tmp_path / "run", monkeypatch)
    assert (tmp_path / "run.partial" / "model").is_dir()
    result = fit_that_passes_the_gate(people, tmp_path / "run", monkeypatch, resume=True)
    assert (tmp_path / "run" / "model").is_dir()
    assert result.out == tmp_path / "run"
