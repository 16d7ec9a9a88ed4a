"""`rsft rerun`: the same run again is the same to the last bit, and every difference is told with its size."""

import json
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from command_line import refused, rsft
from drawn_people import draw_people, save_tiny_model
from PIL import Image
from safetensors.torch import load_file, save_file

from rsft.errors import InputError
from rsft.face.adaptation.gate import Gate, HeldOut
from rsft.face.adaptation.recipe import Recipe
from rsft.face.fit import fit
from rsft.face.rerun import rerun
from rsft.face.runs.run_difference import differences

RECIPE = Recipe(
    steps=4, batch_size=16, views=2, cut=-1, folds=1, learning_rate=1e-3, max_retention_loss=1.0, features="covariates"
)
THREADS_TOLERANCE = 1e-4  # of a rate or a loss, between numbers of threads; docs/tuning.md states it


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let PyTorch compute with a number of threads, and keep the command line from choosing another."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMP_NUM_THREADS", str(number))
            yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def open_gate() -> Iterator[None]:
    """Let the gate keep the tuned weights: with these few people it would keep the pretrained ones."""
    tuning = sys.modules["rsft.face.adaptation.tune"]  # the package exports a function of the same name
    decide = tuning.decide

    def decide_for(folds: Sequence[HeldOut], max_loss: float, *, seed: int) -> Gate:
        return replace(decide(folds, max_loss, seed=seed), share=1.0, candidate=1.0, allowed=[1.0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "decide", decide_for)
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on one thread, started in it with relative paths and most options, and with its inputs."""
    root = draw_people(tmp_path_factory.mktemp("again"))
    shutil.copytree(root / "evaluation" / "evaluation0", root / "pool" / "evaluation0")
    rows = [f"evaluation{person}/{picture}.png,{person % 2}\n" for person in range(8) for picture in range(6)]
    (root / "parity.csv").write_text("path,parity\n" + "".join(rows))
    save_tiny_model(root)
    with pytest.MonkeyPatch.context() as patch, threads(1):
        patch.chdir(root)
        sets: Any = {"pool": "pool", "target": "target", "evaluation": "evaluation", "retain": "retention"}
        more: Any = {"groups": "parity", "attributes": "parity.csv", "drop_overlap": True, "aligned": True}
        fit(**sets, **more, model="tiny.onnx", out="run", recipe=RECIPE, seed=3)
    return root


def without_times(run: Path) -> str:
    """`metrics.json` without the object of the times."""
    text, count = re.subn(r'"seconds": \{[^}]*\},', "", (run / "metrics.json").read_text())
    assert count == 1
    return text


def test_the_same_run_again_is_the_same_to_the_bit(root: Path, tmp_path: Path) -> None:
    """From another working directory."""
    with threads(1):
        found = rerun(root / "run", out=tmp_path / "again")
    assert (found.same, found.inputs, found.conditions, found.untold) == (True, [], [], [])
    assert found.out == tmp_path / "again"
    assert without_times(tmp_path / "again") == without_times(root / "run")
    for file in ("accepted.parquet", "pictures.parquet", "history.jsonl", "model/weights.safetensors"):
        assert (tmp_path / "again" / file).read_bytes() == (root / "run" / file).read_bytes(), file
    metrics = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert metrics["pool_pictures"] == 72  # the person who is evaluated was left out again
    assert metrics["groups"]["tuned"] is not None
    assert metrics["verdict"]["outcome"] != "kept"


def test_another_number_of_threads_is_told_and_changes_only_last_bits(root: Path, tmp_path: Path) -> None:
    with threads(2):
        found = rerun(root / "run", out=tmp_path / "again")
    assert found.conditions == ["threads: 1 then, 2 now"]
    assert found.parts["accepted"].same
    for name in ("metrics", "history", "weights"):
        assert (found.parts[name].figures["largest"] or 0) <= THREADS_TOLERANCE, found.parts[name].text


def test_changed_inputs_are_named_and_the_new_run_stays(root: Path, tmp_path: Path) -> None:
    """In a copy of the folder, a picture of the pool and one that is evaluated are inverted, and a person is gone."""
    place = tmp_path / "moved"
    shutil.copytree(root, place)
    for picture in (place / "pool" / "pool1" / "2.png", place / "evaluation" / "evaluation3" / "0.png"):
        Image.fromarray(255 - np.asarray(Image.open(picture))).save(picture)
    shutil.rmtree(place / "pool" / "pool11")
    line = rsft("rerun", place / "run", code=1).stdout.splitlines()
    assert line[0] == "differs"
    assert any(re.match(r"  accepted: .*; 72 pictures were embedded then and 66 now", told) for told in line), line
    assert any(re.match(r"  weights: \d of \d tensors differ, by at most \S+ \('", told) for told in line), line
    assert [told for told in line if "changed input" in told] == [
        "  changed input: the pool has changed: it had 72 items and now has 66",
        "  changed input: 1 picture of the pool had other bytes then: 'pool1/2.png'",
        "  changed input: 1 picture of the evaluation target had other bytes then: 'evaluation3/0.png'",
    ]
    assert (place / "run.rerun" / "metrics.json").is_file()
    assert "run.rerun' exists: pass --overwrite" in refused("rerun", place / "run")
    (place / "parity.csv").unlink()
    assert "the attributes of " in refused("rerun", place / "run")
    shutil.rmtree(place / "pool")
    assert re.search(r"the pool of '.*run' is gone: there is no 'pool'", refused("rerun", place / "run"))


def test_a_run_without_its_salt_is_compared_in_the_order_of_its_rows(root: Path, tmp_path: Path) -> None:
    """If nothing differs, the new folder is removed; a file that somebody put beside it stays."""
    for name in ("salt.txt", "pictures.parquet"):
        assert (root / "run" / name).is_file()
    shutil.copytree(root, tmp_path / "handed-on")
    run = tmp_path / "handed-on" / "run"
    (run / "salt.txt").unlink()
    before = sorted((tmp_path / "handed-on").iterdir())
    with threads(1):
        out = rsft("rerun", run).stdout
    assert out.startswith("same\n  not told: the salt.txt of the run is gone")
    assert sorted((tmp_path / "handed-on").iterdir()) == before


def test_every_part_that_differs_is_told_with_its_size(root: Path, tmp_path: Path) -> None:
    run, other = root / "run", tmp_path / "other"
    shutil.copytree(run, other)
    assert all(part.same for part in differences(run, other, named=True).values())
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["tuned"]["target"]["eer"] += 0.25
    metrics["seconds"]["tune"] += 1000
    metrics["version"] = "0.0.1"
    (other / "metrics.json").write_text(json.dumps(metrics))
    weights = load_file(run / "model" / "weights.safetensors")
    name = next(iter(weights))
    weights[name] = weights[name] + 0.5 * (torch.arange(weights[name].numel()) == 3).reshape(weights[name].shape)
    save_file(weights, other / "model" / "weights.safetensors")
    rows = pyarrow.parquet.read_table(run / "accepted.parquet")
    columns = rows.to_pydict()
    chosen = columns["accepted"].index(True)
    columns["accepted"][chosen] = False
    columns["times_trained"][chosen] += 2
    order = np.random.default_rng(0).permutation(len(rows))  # rows are found by name
    table = pa.table(columns, schema=rows.schema).take(pa.array(order))
    pyarrow.parquet.write_table(table, other / "accepted.parquet")
    found = differences(run, other, named=True)
    assert [name for name, part in found.items() if not part.same] == ["metrics", "accepted", "weights"]
    assert found["metrics"].figures["largest"] == pytest.approx(0.25)
    assert found["metrics"].text.startswith("1 of ")
    assert "tuned.target.eer" in found["metrics"].text
    assert found["weights"].figures["largest"] == pytest.approx(0.5, abs=1e-6)
    figures = found["accepted"].figures
    assert (figures["accepted_then_only"], figures["accepted_now_only"], figures["trained_otherwise"]) == (1, 0, 1)
    assert figures["largest_change_of_times_trained"] == 2
    (other / "model" / "weights.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"cannot read '.*weights.safetensors' as part of the folder of a finished"):
        differences(run, other, named=True)


def test_what_is_no_finished_run_of_fit_is_refused_in_one_line(root: Path, tmp_path: Path) -> None:
    assert "does not exist" in refused("rerun", tmp_path / "absent")
    shutil.copytree(root / "run", tmp_path / "run.partial")
    assert "not finished: complete it with `rsft fit --resume`" in refused("rerun", tmp_path / "run.partial")
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan" / "plan.json").write_text("{}")
    assert "not the folder of a finished run of `rsft fit`: it has no config.toml" in refused(
        "rerun", tmp_path / "plan"
    )
    config = tmp_path / "run" / "config.toml"
    shutil.copytree(root / "run", config.parent)
    for content, reason in (
        (
            'shift = "mask"\nseed = 0\n[recipe]\n',
            "not the folder of a run of `rsft fit`: its config.toml names no pool",
        ),
        ("pool = \n", "cannot read"),
        ('pool = 3\ntarget = ""\nevaluation = ""\n', "cannot read"),
        (config.read_text().replace("seed = 3", "seed = 3\nx = 1979-05-27"), "cannot read"),
        (config.read_text().replace('trains = "all"', 'unheard = "of"'), "unheard"),
        (config.read_text().replace('"tiny.onnx"', '"absent.onnx"').replace("..", str(root)), "no model 'absent.onnx'"),
    ):
        config.write_text(content)
        assert reason in refused("rerun", config.parent), content
