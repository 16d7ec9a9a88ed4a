"""What the commands say of a pool that was read as it was needed, on a tiny network."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from command_line import refused, rsft
from drawn_people import draw_people, tiny_model

from rsft.face.adaptation import selection
from rsft.face.runs import open_pool

RECIPE = """[recipe]
features = "{features}"
method = "classifier"
accepted = 20
judged = 24
siblings = 2
steps = 4
batch_size = 8
views = 3
cut = -1
"""


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of 144 pictures and a target of 60."""
    return draw_people(tmp_path_factory.mktemp("people"), pool=24, target=10)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_pool, "PILOT_SIZES", (48,))
    monkeypatch.setattr(open_pool, "COMPARED_ITEMS", 36)
    monkeypatch.setattr(selection, "BLOCK_ITEMS", 16)
    monkeypatch.setattr("rsft.face.runs.inputs.load_model", lambda model: tiny_model())


def options_of(command: str, people: Path, tmp_path: Path, features: str = "covariates") -> list[str | Path]:
    (tmp_path / "recipe.toml").write_text(RECIPE.format(features=features))
    line: list[str | Path] = [command, "--pool", people / "pool", "--target", people / "target", "--aligned"]
    line += ["--config", tmp_path / "recipe.toml"]
    return [*line, *(["--eval", people / "evaluation"] if command == "fit" else ["--no-swap"])]


def in_one_line(text: str) -> str:
    return " ".join(text.split())


def test_fit_tells_what_it_read_embedded_and_trained_on(people: Path, tmp_path: Path) -> None:
    """In words, as JSON and in the run folder, and the same in all."""
    line = options_of("fit", people, tmp_path)
    beside = people / "pool" / "pool0" / "notes of ann.txt"
    beside.touch()
    told = rsft(*line, "--out", tmp_path / "words")
    printed = in_one_line(told.stdout)
    assert "passed over 1 of suffix .txt ('pool0/notes of ann.txt')" in told.stderr
    metrics: dict[str, Any] = json.loads(rsft(*line, "--out", tmp_path / "run", "--json").stdout)
    beside.unlink()
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == metrics
    assert metrics["passed_over"] == {"pool": {"of suffix .txt": 1}}  # and no name
    figures = {name: metrics[f"images_{name}"] for name in ("decoded", "embedded", "trained")}
    assert metrics["pool_pictures"] == 144
    assert 48 < figures["decoded"] < 144
    assert 0 < figures["embedded"] <= figures["decoded"]
    assert figures["trained"] == 3 * 4 * 8
    assert (
        f"Read {figures['decoded']} of 144 pictures of the pool, embedded {figures['embedded']}, trained on "
        f"{figures['trained']} views"
    ) in printed
    promise = metrics["promise"]
    assert set(promise) >= {"items", "mean_ratio", "acceptance_rate", "clipped_mass", "broken"}
    assert f"Of {promise['items']} pictures that the plan had not seen: mean ratio" in printed
    assert metrics["features"] == "covariates"
    page = in_one_line((tmp_path / "run" / "report.html").read_text())
    assert f"<dt>of them read</dt><dd>{figures['decoded']}</dd>" in page
    assert "The plan was made from 48 pictures." in page


def test_plan_tells_its_pilot_and_its_features_with_their_cost(people: Path, tmp_path: Path) -> None:
    line = options_of("plan", people, tmp_path, "auto")
    printed = in_one_line(rsft(*line, "--out", tmp_path / "words").stdout)
    plan = json.loads(rsft(*line, "--out", tmp_path / "plan", "--json").stdout)
    assert (plan["pilot"]["items"], plan["pilot"]["looked_at"]) == (48, 48)
    for name in ("acceptance_rate", "m", "clipped_mass", "effective_size"):
        figures = plan["pilot"][name]
        assert figures["low"] <= figures["high"], name
    assert json.loads((tmp_path / "plan" / "plan.json").read_text())["features"] == plan["features"]
    kinds = {kind["features"]: kind for kind in plan["features"]["compared"]}
    assert plan["features"]["kind"] in kinds
    assert set(kinds) == {"covariates", "activations", "embedding"}
    assert all(kind["seconds_of_a_picture"] > 0 for kind in kinds.values())
    assert f"{plan['features']['kind']} (AUC of accepted against target" in printed
    assert "48 items;" in printed
    compared = json.loads(rsft(*line, "--compare", "--json").stdout)
    assert compared["features"]["kind"] == compared["ranking"][0]["features"]
    by_identity = json.loads(rsft(*line, "--compare", "--accept-by", "identity", "--json").stdout)
    assert "pilot" not in by_identity
    assert len(by_identity["ranking"]) == 3


def test_a_target_that_no_picture_of_the_pilot_is_like_is_a_verdict_and_no_error(people: Path, tmp_path: Path) -> None:
    """The target is dark and the pool light. The plan says so, and the fit keeps the weights; both commands succeed."""
    for path in (people / "pool").glob("*/[135].png"):
        (tmp_path / "pool" / path.parent.name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "pool" / path.parent.name / path.name).write_bytes(path.read_bytes())
    for name in ("target", "evaluation"):
        (tmp_path / name).symlink_to(people / name)
    plan = json.loads(rsft(*options_of("plan", tmp_path, tmp_path, "activations"), "--json").stdout)
    assert plan["verdict"]["outcome"] in {
        "too small a part of the pool was looked at to tell",
        "too little of the pool looks like the target",
    }
    printed = rsft(*options_of("fit", tmp_path, tmp_path, "activations"), "--out", tmp_path / "run").stdout
    assert "Keep the pretrained network." in printed


def test_a_pool_that_changed_before_a_resume_is_refused_in_one_line(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what the interrupted run has found stays."""
    for name in ("pool", "target", "evaluation"):
        (tmp_path / name).mkdir()
        for person in sorted((people / name).iterdir()):
            (tmp_path / name / person.name).symlink_to(person)
    line = [*options_of("fit", tmp_path, tmp_path), "--out", tmp_path / "run"]

    def stop(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(open_pool, "select", stop)
        rsft(*line, code=130)
    kept = sorted((tmp_path / "run.partial").rglob("*.jsonl"))
    content = [path.read_bytes() for path in kept]
    assert len(content[0].splitlines()) >= 48
    (tmp_path / "pool" / "pool0").unlink()
    assert "the pool changed since the run was interrupted" in refused(*line, "--resume")
    assert [path.read_bytes() for path in kept] == content
    (tmp_path / "pool" / "pool0").symlink_to(people / "pool" / "pool0")
    assert "pictures of the pool" in rsft(*line, "--resume").stdout


def test_whiten_only_takes_no_training_step_whatever_the_recipe_says(people: Path, tmp_path: Path) -> None:
    line = [*options_of("fit", people, tmp_path), "--whiten-only", "--out", tmp_path / "run", "--json"]
    metrics = json.loads(rsft(*line).stdout)
    assert metrics["images_trained"] == 0
    assert tomllib.loads((tmp_path / "run" / "config.toml").read_text())["recipe"]["steps"] == 0
