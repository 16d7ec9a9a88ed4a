"""`rsft compare` on real faces: whole, continued, and refused."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Result
from command_line import rsft as run_rsft

from rsft.compare import Batches
from rsft.data.features import Features
from rsft.data.images import find_images
from rsft.errors import InputError
from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.recipe import make_recipe
from rsft.face.adaptation.trial import FaceTrial
from rsft.face.compare import WHITENING_ALONE
from rsft.face.evaluation.groups import pictures_with
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.load import load_model
from rsft.face.pictures.embedding import embed
from rsft.face.runs.time_spent import TimeSpent
from rsft.types import Interval

Embedded = tuple[FaceModel, Features, Features]
RECIPE = "[recipe]\nsteps = 4\nbatch_size = 8\nviews = 2\n"
METHODS = {
    "pretrained", "uniform", "fresh subset", "weighted sampling", "loss weights", "rejection", "uniform, equal time",
    "rejection, max", "oracle", WHITENING_ALONE,
}  # fmt: skip


def compare(faces: Path, out: Path, *more: str | Path, recipe: str = RECIPE, code: int = 0) -> Result:
    config = out.with_suffix(".toml")
    config.write_text(recipe)
    parts = {"pool": "pool", "target": "target", "eval": "evaluation", "retain": "retention"}
    inputs = [argument for option, part in parts.items() for argument in (f"--{option}", str(faces / part))]
    config_and_out = ("--config", config, "--out", out, "--seeds", "2")
    return run_rsft("compare", *inputs, "--aligned", *config_and_out, *more, code=code)


def with_variants(faces: Path, folder: Path) -> list[str | Path]:
    """Options for another M, and for an oracle that knows every second picture of the pool."""
    attributes = folder / "attributes.csv"
    ids = find_images(faces / "pool").ids
    rows = [f"{item},{'yes' if place % 2 else 'no'}" for place, item in enumerate(ids)]
    attributes.write_text("\n".join(["path,known", *rows]))
    return ["--envelope", "max", "--oracle", "known=yes", "--attributes", attributes]


@pytest.fixture(scope="module")
def embedded(faces: Path) -> Embedded:
    model = load_model("dlib")
    pool, target = (embed(model, find_images(faces / name), aligned=True, views=2) for name in ("pool", "target"))
    return model, pool, target


@pytest.fixture(scope="module", autouse=True)
def few_draws() -> Iterator[None]:
    """Fewer bootstrap draws than a user gets: intervals are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rsft.face.adaptation.trial.DRAWS", 50)
        yield


@pytest.fixture(scope="module")
def compared(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("compare")
    out = folder / "out"
    result = compare(faces, out, *with_variants(faces, folder), "--json")
    return out, json.loads(result.stdout)


def test_all_methods_are_compared_at_equal_samples(compared: tuple[Path, dict]) -> None:
    out, result = compared
    assert set(result["values"]) == METHODS
    cost = dict(result["cost"])
    longer = cost.pop("uniform, equal time")
    assert cost.pop(WHITENING_ALONE)["samples"] == 0
    assert {figures["samples"] for figures in cost.values()} == {4 * 8}
    assert longer["samples"] > 4 * 8
    assert result["metrics"] == ["target TAR at FMR 0.01", "retain TAR at FMR 0.01"]
    for method in cost:
        assert len(result["searched"][method]) == 3
        best = max(result["searched"][method], key=lambda tried: tried["validation"])
        assert cost[method]["learning_rate"] == best["learning_rate"]
    difference = result["differences"]["rejection"]["uniform"]["target TAR at FMR 0.01"]
    assert difference["low"] <= difference["value"] <= difference["high"]
    assert "target TAR at FMR 0.01 of rejection:" in result["verdict"]
    assert (out / "comparison.svg").read_text().startswith("<svg")


def test_a_comparison_goes_to_the_largest_share(embedded: Embedded) -> None:
    """Half of the way, by the weights."""
    model, pool, target = embedded

    def trained(share: float) -> tuple[torch.nn.Module, torch.nn.Module]:
        recipe = make_recipe({"steps": 2, "batch_size": 8, "views": 2, "shares": (0, share)})
        trial = FaceTrial(model, pool, plan_faces(pool, target, seed=0), {}, recipe)
        return trial.suffix, trial.train(Batches(trial.methods()["uniform"], 2, 8, seed=0), 1e-4, 0)

    (start, half), (_, whole) = trained(0.5), trained(1)
    moved = False
    for name, tensor in half.state_dict().items():
        ends = start.state_dict()[name], whole.state_dict()[name]
        torch.testing.assert_close(tensor, (ends[0] + ends[1]) / 2)
        moved |= not torch.equal(*ends)
    assert moved


def test_a_further_envelope_is_that_of_a_plan_with_it(embedded: Embedded) -> None:
    model, pool, target = embedded

    def first_epoch(envelope: str, method: str, *others: str) -> list[int]:
        recipe = make_recipe({"envelope": envelope, "views": 2, "features": "activations"})  # one choice for both
        plan = plan_faces(pool, target, **recipe.plan_options(), seed=0)
        methods = FaceTrial(model, pool, plan, {}, recipe).methods(envelopes=others)
        return next(methods[method].epochs(0)).tolist()

    exact = first_epoch("max", "rejection")
    assert first_epoch("max_tv=0.1", "rejection, max", "max") == exact
    assert len(first_epoch("max_tv=0.1", "rejection", "max")) > len(exact)


def test_the_oracle_trains_on_the_pictures_that_have_the_attribute(
    faces: Path, embedded: Embedded, tmp_path: Path
) -> None:
    model, pool, target = embedded
    with_variants(faces, tmp_path)
    known = pictures_with(find_images(faces / "pool"), "known", "yes", tmp_path / "attributes.csv")
    assert known == set(find_images(faces / "pool").ids[1::2])
    trial = FaceTrial(model, pool, plan_faces(pool, target, seed=0), {}, make_recipe({"views": 2}))
    epoch = next(trial.methods(np.isin(pool.ids, list(known)))["oracle"].epochs(0))
    ids = np.array(pool.ids)[trial.rows]
    assert set(ids[epoch // trial.views]) == known & set(ids)


def test_a_comparison_is_continued_and_its_table_printed(faces: Path, compared: tuple[Path, dict]) -> None:
    out, result = compared
    removed = sorted((out / "runs").glob("rejection_*_1.json"))
    assert len(removed) == 1
    kept = {path: path.stat().st_mtime_ns for path in (out / "runs").iterdir() if path not in removed}
    removed[0].unlink()
    again = compare(faces, out, *with_variants(faces, out.parent))
    for values in result["values"].values():
        assert all(str(Interval(**value)) in again.stdout for value in values.values())
    for difference in result["differences"]["rejection"].values():
        assert all(Interval(**value).signed() in again.stdout for value in difference.values())
    for figures in result["cost"].values():
        assert f"{figures['learning_rate']:.3g}" in again.stdout
    assert result["verdict"][:60] in again.stdout
    assert removed[0].exists()
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert json.loads((out / "comparison.json").read_text())["values"] == result["values"]


def test_other_settings_are_refused(faces: Path, compared: tuple[Path, dict]) -> None:
    out, _ = compared
    result = compare(faces, out, *with_variants(faces, out.parent), "--seed", "3", code=2)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("rsft: ")]
    assert "other settings, seed: 0, now 3" in line


def test_what_cannot_be_compared_is_refused_before_anything_is_embedded(faces: Path, tmp_path: Path) -> None:
    for person in sorted((faces / "pool").iterdir())[:7]:
        shutil.copytree(person, tmp_path / "few" / person.name)

    variants = with_variants(faces, tmp_path)
    table = tmp_path / "attributes.csv"
    asked: list[tuple[str, str, list[str | Path], str]] = [
        ("takes no weights of items: compare with arcface or adaface", "cosface", [], 'loss = "cosface"'),
        ("hold nothing but 0", "nowhere", [], "shares = [0.0]"),
        ("needs 8 identities or more in the pool, got 7", "seven", ["--pool", tmp_path / "few"], ""),
        ("does not exist", "empty", ["--target", tmp_path / "absent"], ""),
        ("there is no rule 'maximum' (did you mean 'max'?)", "rule", ["--envelope", "maximum"], ""),
        ("recipe.envelope: there is no rule 'least'", "recipe", [], 'envelope = "least"'),
        ("needs ATTRIBUTE=VALUE", "oracle", ["--oracle", "night"], ""),
        ("has known=maybe; there are values such as no, yes", "value", [*variants, "--oracle", "known=maybe"], ""),
        ("attributes are read for the oracle", "alone", ["--attributes", table], ""),
        ("there is a file of this name", "attributes.csv", [], ""),
        ("has no attribute 'shift'", "attribute", ["--oracle", "shift=night"], ""),
    ]
    for words, name, more, setting in asked:
        result = compare(faces, tmp_path / name, *more, recipe=f"{RECIPE}{setting}\n", code=2)
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("rsft: ")]
        assert words in line
        assert "embed" not in result.stderr
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".toml"} == {"few", "attributes.csv"}


def test_time_spent_before_an_interruption_counts(
    compared: tuple[Path, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    path = tmp_path / "cost.json"
    first = TimeSpent(path)
    now += 7
    first.note()
    now += 20  # interrupted here, in planning or elsewhere, and nobody noted it
    second = TimeSpent(path)
    now += 5
    second.note()
    now += 2  # a plan is made anew each time, and counts once
    assert not second.is_closed
    second.close(plan=2.0, step=0.5)
    third = TimeSpent(path)
    now += 30  # all is read again, and the steps stay what they were
    third.note()
    for spent in (second, third, TimeSpent(path)):
        assert spent.is_closed
        assert spent.steps == (7 + 5 + 2) / 0.5
    told = TimeSpent(compared[0] / "cost.json")
    assert all(seconds > 0 for seconds in told.told.values())
    assert compared[1]["cost"]["uniform, equal time"]["samples"] == (4 + told.steps) * 8


@pytest.mark.parametrize(("loss", "people", "words"), [("cosface", 8, "no weights"), ("adaface", 7, "8 identities")])
def test_a_trial_refuses_the_same(loss: str, people: int, words: str) -> None:
    none: Any = None
    rows = np.zeros((people, 2), np.float32)
    pool = Features([f"{person}/1" for person in range(people)], rows, rows, rows[:, None], [], "")
    with pytest.raises(InputError, match=words):
        FaceTrial(none, pool, none, {}, make_recipe({"loss": loss}))
