"""`rsft monitor`: new pictures against the target of a run, by what the run keeps and by the old pictures."""

import json
import multiprocessing
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import refused, rsft
from drawn_people import PATCHES, draw_people, save_tiny_model, tiny_model
from PIL import Image

from rsft.data.features import Features
from rsft.data.images import find_images
from rsft.errors import InputError
from rsft.face.adaptation.drift import MIN_NEW, Drift, drift_from_pictures, drift_from_summary, kept_of
from rsft.face.adaptation.recipe import Recipe
from rsft.face.fit import fit
from rsft.face.monitor import HISTORY_END, monitor
from rsft.face.pictures.embedding import embed
from rsft.face.runs.drift_history import CALLS_FILE, add_call
from rsft.face.runs.kept_target import TARGET_FILE

PEOPLE = 60


def draw(folder: Path, light: float, seed: int) -> None:
    """Draw a picture of each of `PEOPLE` people into a folder, as `draw_people` does."""
    generator = np.random.default_rng(seed)
    folder.mkdir()
    for person in range(PEOPLE):
        own, noise = generator.uniform(60, 200, (PATCHES, PATCHES, 3)), generator.normal(0, 40, (PATCHES, PATCHES, 3))
        pixels = (light * own + noise).clip(0, 255).astype(np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels).save(folder / f"secret{person}.png")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sets of a small run, and its folder `run`; `same` has one law with its `target`, and `light` is brighter."""
    root = draw_people(tmp_path_factory.mktemp("monitored"), target=0)
    for seed, (name, light) in enumerate({"target": 0.3, "same": 0.3, "light": 1.0}.items()):
        draw(root / name, light, seed)
    save_tiny_model(root)
    fit(
        pool=root / "pool",
        target=root / "target",
        evaluation=root / "evaluation",
        model=root / "tiny.onnx",
        out=root / "run",
        recipe=Recipe(steps=2, batch_size=8, views=2, cut=-1, folds=1, features="covariates"),
        aligned=True,
    )
    return root


@pytest.mark.parametrize("way", ["summary", "reference"])
@pytest.mark.parametrize(("name", "outcome"), [("same", Drift.SAME), ("light", Drift.DRIFTED)])
def test_the_same_law_passes_and_another_light_is_told(root: Path, way: str, name: str, outcome: Drift) -> None:
    reference = root / "target" if way == "reference" else None
    result = monitor(root / "run", target=root / name, reference=reference, aligned=True)
    found = result.found
    assert (found.outcome, result.against, found.pictures) == (outcome, way, PEOPLE)
    assert found.tune_again == (outcome == Drift.DRIFTED)
    auc = found.auc["covariates"]
    assert auc.value is not None
    if outcome == Drift.DRIFTED:
        assert found.covariates[0].name in ("brightness", "contrast")
        assert auc.value > 0.95
        assert "bright" in found.reason
        assert "make a new plan" in found.advice
    else:
        assert auc.value < 0.7
        assert "nothing to do" in found.advice
    assert not (root / "run.monitor").exists()


def test_the_command_ends_with_the_outcome_and_keeps_a_history(root: Path, tmp_path: Path) -> None:
    history = tmp_path / "watch"
    common = (root / "run", "--aligned", "--history", history)
    before = datetime.now(UTC)
    assert "No difference found" in rsft("monitor", *common, "--target", root / "same").stdout
    printed = rsft("monitor", *common, "--target", root / "light", code=3).stdout
    assert "the call before did not find it" in printed
    assert "What has changed" in printed
    told = json.loads(rsft("monitor", *common, "--target", root / "light", "--json", code=3).stdout)
    assert told["notes"] == ["2 calls in a row have found a difference"]
    few = tmp_path / "few"
    few.mkdir()
    for person in range(MIN_NEW - 1):
        shutil.copy(root / "light" / f"secret{person}.png", few)
    assert "collect 1 more" in rsft("monitor", *common, "--target", few, code=4).stdout
    text = (history / CALLS_FILE).read_text()
    calls = [json.loads(line) for line in text.splitlines()]
    assert [call["outcome"] for call in calls] == [str(o) for o in (Drift.SAME, *2 * [Drift.DRIFTED], Drift.TOO_FEW)]
    for call in calls:
        assert datetime.fromisoformat(call["time"]).utcoffset() == timedelta(0)
        assert abs(datetime.fromisoformat(call["time"]) - before) < timedelta(minutes=5)
    assert not any(secret in text for secret in ("secret", str(tmp_path), str(root), "target0"))


def test_beside_the_run_by_default_and_the_run_stays_as_it_is(root: Path) -> None:
    before = {path: path.read_bytes() for path in (root / "run").rglob("*") if path.is_file()}
    rsft("monitor", root / "run", "--aligned", "--target", root / "same")
    assert (root / f"run{HISTORY_END}" / CALLS_FILE).is_file()
    assert before == {path: path.read_bytes() for path in (root / "run").rglob("*") if path.is_file()}
    inside = refused("monitor", root / "run", "--aligned", "--target", root / "same", "--history", root / "run" / "h")
    assert "lies in the input" in inside
    shutil.rmtree(root / f"run{HISTORY_END}")


def test_what_is_kept_is_of_all_pictures_together(root: Path) -> None:
    """Means and a covariance, of which no picture can be told; that they fit is another test's."""
    told = json.loads((root / "run" / TARGET_FILE).read_text())
    assert set(told) == {"faces", "summary"}
    width = len(told["summary"]["names"])
    assert set(told["summary"]) == {"items", "effective", "names", "means", "covariance", "outside_fraction"}
    assert (len(told["summary"]["means"]), len(told["summary"]["covariance"])) == (width, width)
    covariates = embed(tiny_model(), find_images(root / "target"), aligned=True).covariates
    own = {float(f"{value:.4g}") for values in covariates.values() for value in values if value}
    kept = [*told["summary"]["means"], *(value for row in told["summary"]["covariance"] for value in row)]
    assert len(own & set(kept)) <= 1  # by chance


def test_a_run_that_keeps_too_little_asks_for_the_pictures(root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(root / "run", run)
    line = ("monitor", run, "--aligned", "--target", root / "same", "--history", tmp_path / "history")
    kept = json.loads((run / TARGET_FILE).read_text())
    (run / TARGET_FILE).write_text(json.dumps(kept | {"summary": None}))
    assert "fewer than 50 pictures: give the pictures that it was tuned for as --reference" in refused(*line)
    (run / TARGET_FILE).unlink()
    assert "keeps nothing of its target" in refused(*line)
    rsft(*line, "--reference", root / "target")
    damaged = [
        {"means": kept["summary"]["means"][1:]},
        {"covariance": [[-value for value in row] for row in kept["summary"]["covariance"]]},
        {"items": 3},
        {"means": [float("nan")] * len(kept["summary"]["means"])},
    ]
    for change in damaged:
        (run / TARGET_FILE).write_text(json.dumps(kept | {"summary": kept["summary"] | change}))
        assert f"cannot read '{run / TARGET_FILE}' as what a run keeps" in refused(*line)


def test_bad_input_is_one_line(root: Path, tmp_path: Path) -> None:
    same = ("--target", root / "same")
    assert "was read as chips, and this as photographs: pass --aligned" in refused("monitor", root / "run", *same)
    assert "--target: " in refused("monitor", root / "run", "--target", tmp_path / "absent")
    assert "is not the folder of a finished run" in refused("monitor", root / "same", *same)
    (tmp_path / "one").mkdir()
    shutil.copy(root / "same" / "secret0.png", tmp_path / "one")
    common = (root / "run", *same, "--aligned", "--history", tmp_path / "history")
    assert "1 different pictures that can be used" in refused("monitor", *common, "--reference", tmp_path / "one")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    assert "was not written by rsft" in refused("monitor", *common[:-1], foreign)
    assert (foreign / "notes.txt").read_text() == "mine"


def call(number: int) -> dict[str, Any]:
    return {"model": "m", "against": "summary", "outcome": str(Drift.SAME), "number": number}


def add_several(folder: Path, first: int) -> None:
    for number in range(first, first + 20):
        add_call(folder, call(number), [])


def test_calls_at_one_time_and_killed_calls_lose_no_line(tmp_path: Path) -> None:
    folder = tmp_path / "history"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=add_several, args=(folder, first)) for first in (0, 20)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
        assert writer.exitcode == 0
    lines = (folder / CALLS_FILE).read_bytes().splitlines()
    assert sorted(json.loads(line)["number"] for line in lines) == list(range(40))
    with open(folder / CALLS_FILE, "ab") as file:
        file.write(b'{"time": "2026-01-01T00:0')  # of a call that was killed
    assert len(add_call(folder, call(40), [])) == 40
    assert len((folder / CALLS_FILE).read_bytes().splitlines()) == 41
    assert add_call(folder, call(41) | {"model": "another"}, []) == []
    (folder / CALLS_FILE).write_text('{"time": "yesterday"}\n')
    with pytest.raises(InputError, match=r"cannot read '.*' as the calls of `rsft monitor`"):
        add_call(folder, call(42), [])


def some(items: int, seed: int, shift: float = 0.0) -> Features:
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(items, 20))
    told = {name: rows[:, place] + shift for place, name in enumerate(("brightness", "contrast", "noise"))}
    return Features([f"{row}" for row in range(items)], rows, rows + shift, None, [], "made up", told)


def test_an_advice_says_how_many_pictures_it_needs() -> None:
    kept = kept_of(some(100, 0))
    assert kept is not None
    small = drift_from_summary(kept, some(40, 1, shift=1.0))
    assert small.tune_again
    assert small.advice.startswith("collect 10 more, then make a new plan")
    kept = kept_of(some(400, 0))
    assert kept is not None
    same = drift_from_summary(kept, some(40, 3))
    assert same.outcome == Drift.SAME
    assert same.pictures_needed is not None
    assert f"give {same.pictures_needed} different ones" in same.advice
    kept = kept_of(some(4000, 0))
    assert kept is not None
    slight = drift_from_summary(kept, some(4000, 1, shift=0.1))
    assert (slight.outcome, slight.tune_again) == (Drift.DRIFTED, False)
    assert "do not tune again yet" in slight.advice


def test_pictures_on_both_sides_are_not_told_apart_backwards() -> None:
    """Copies in training and test folds of different sides would give an AUC far below chance."""
    old, other = some(100, 0), some(60, 1)
    ids = [f"{row}" for row in range(120)]
    both = Features(
        ids, np.concatenate([old.embeddings[:60], other.embeddings]), np.zeros((120, 1)), None, [], "made up",
        {name: np.concatenate([old.covariates[name][:60], other.covariates[name]]) for name in old.covariates},
    )  # fmt: skip
    found = drift_from_pictures(old, both, ["covariates"])
    assert found.outcome == Drift.SAME
    assert (found.auc["covariates"].value or 0) > 0.4
