"""Several processes under a launcher give the results of one, and do not wait for a process that died."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import threadpoolctl
import torch

from rsft.data.features import Features
from rsft.data.images import ImageSet, find_images
from rsft.errors import InputError
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.views import AcceptedViews
from rsft.face.embed_folder import embed_folder
from rsft.face.evaluate import evaluate_folders
from rsft.face.fit import fit
from rsft.face.networks.load import load_model
from rsft.face.pictures import embedding
from rsft.face.pictures.embedding import embed

SCRIPT = Path(__file__).with_name("small_parts.py")
RECIPE = Recipe(steps=6, batch_size=8, views=2, learning_rate=1e-4, learnt_prototypes=True, folds=1, loss="adaface")
ALIKE = ("embeddings.npy", "nuisances.npy", "embedding.json")


def launch(processes: int, *arguments: object, killed: int = -1) -> subprocess.CompletedProcess[str]:
    """Run a command in several processes, one of which can be killed (see `small_parts.py`)."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += [str(SCRIPT), str(killed), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


@pytest.fixture
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "PART_PICTURES", embedding.BATCH_SIZE)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread, as each launched process does, because the number of threads affects the rounding of sums."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpoolctl.threadpool_limits(1):
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def alone(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embed the pool with one process, in one part."""
    out = tmp_path_factory.mktemp("launched") / "alone"
    embed_folder(pool=faces / "pool", out=out, aligned=True)
    return out


def test_a_dead_process_ends_the_other_and_four_resume_to_identical_embeddings(
    alone: Path, faces: Path, tmp_path: Path
) -> None:
    """The pool has 102 pictures in 4 parts. Of two processes, the second embeds the second and the fourth part."""
    command = ("embed", "--pool", faces / "pool", "--out", tmp_path / "out", "--aligned", "--json")
    dead = launch(2, *command, killed=1)
    assert dead.returncode != 0
    assert "rsft/face" not in dead.stderr  # would be in a traceback of the surviving process
    assert not (tmp_path / "out").exists()
    made = {path.name for path in (tmp_path / "out.partial").glob("parts/*/0*")}
    assert made <= {"000000", "000002"}
    again = launch(4, *command, "--resume")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["items"] == 101  # only the first process prints
    for name in ALIKE:
        assert (tmp_path / "out" / name).read_bytes() == (alone / name).read_bytes(), name
    assert not (tmp_path / "out" / "parts").exists()


@pytest.mark.usefixtures("_small_parts")
def test_an_interrupted_embedding_continues_with_the_unfinished_part(faces: Path, tmp_path: Path) -> None:
    images, read = find_images(faces / "pool"), []

    class Counted(ImageSet):
        def read_bytes(self, index: int) -> bytes:
            read.append(index)
            return super().read_bytes(index)

    counted = Counted(images.root, images.ids, images.sources)

    def interrupt(pictures: int) -> None:
        done.append(pictures)
        if sum(done) > 64:
            raise KeyboardInterrupt

    def run(**options: Any) -> Features:
        return embed(load_model("dlib"), counted, aligned=True, views=3, **options)

    done: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        run(folder=tmp_path, progress=interrupt)
    read.clear()
    told: list[int] = []
    continued = run(folder=tmp_path, progress=told.append)
    assert sorted(read) == list(range(64, 102))
    assert told[0] == 64
    assert sum(told) == 102
    whole = run()
    assert (list(continued.ids), continued.quarantined) == (list(whole.ids), whole.quarantined)
    for name in ("embeddings", "nuisances", "activations"):
        np.testing.assert_array_equal(getattr(continued, name), getattr(whole, name))
    read.clear()
    other = embed(replace(load_model("dlib"), cut=12), counted, aligned=True, folder=tmp_path)
    assert sorted(read) == list(range(102))  # another cut needs other activations, so nothing is reused
    assert other.nuisances.shape[1] != whole.nuisances.shape[1]


def test_two_processes_fit_the_same_model_as_one(faces: Path, tmp_path: Path) -> None:
    """Both processes get one half of each batch, so only the rounding of sums differs."""
    sets = {"pool": faces / "pool", "target": faces / "target", "retain": faces / "retention"}
    evaluation = faces / "evaluation"
    alone = fit(**sets, evaluation=evaluation, out=tmp_path / "alone", recipe=RECIPE, aligned=True).metrics  # type: ignore[arg-type]
    config = tmp_path / "alone" / "config.toml"
    options = [part for name, folder in sets.items() for part in (f"--{name}", folder)]
    options += ["--eval", evaluation, "--config", config, "--aligned", "--out", tmp_path / "two", "--json"]
    result = launch(2, "fit", *options)
    assert result.returncode == 0, result.stderr
    metrics = json.loads(result.stdout)
    for run in (metrics, alone):  # names are hashed with a salt that differs between runs
        run["quarantined"] = [reason for _, reason in run["quarantined"]]
    counted = ("pool_pictures", "images_decoded", "images_embedded", "images_trained", "features", "promise")
    for key in (*counted, "acceptance_rate", "pretrained", "quarantined", "doubtful_labels"):
        assert metrics[key] == alone[key], key
    one, two = (
        [json.loads(line) for line in (tmp_path / run / "history.jsonl").read_text().splitlines()]
        for run in ("alone", "two")
    )
    assert len(one) == len(two) == 6
    for record, other in zip(one, two, strict=True):
        assert record == pytest.approx(other, rel=1e-3)  # rounding grows: 1e-6 in the first step, 1e-4 in the last
    weights = [
        safetensors.numpy.load_file(tmp_path / run / "model" / "weights.safetensors") for run in ("alone", "two")
    ]
    assert metrics["validation"]["share"] == alone["validation"]["share"]
    for name, values in weights[0].items():
        np.testing.assert_allclose(weights[1][name], values, rtol=1e-3, atol=1e-5)
    files = [sorted(path.name for path in (tmp_path / run).iterdir()) for run in ("alone", "two")]
    assert files[0] == files[1]


def test_two_processes_evaluate_as_one_and_the_first_writes(faces: Path, tmp_path: Path) -> None:
    command = ("evaluate", "--eval", faces / "evaluation", "--aligned", "--det", tmp_path / "two.svg", "--json")
    two = launch(2, *command, "--out", tmp_path / "two")
    assert two.returncode == 0, two.stderr
    alone = evaluate_folders(evaluation=faces / "evaluation", aligned=True, det=True, out=tmp_path / "alone")
    assert json.loads(two.stdout) == json.loads(json.dumps(alone["target"]))
    written = [(tmp_path / run / "evaluation.json").read_bytes() for run in ("alone", "two")]
    assert written[0] == written[1]
    assert (tmp_path / "two.svg").exists()


def test_batches_that_cannot_be_divided_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsft.face.adaptation.views.rank_and_world_size", lambda: (0, 3))
    with pytest.raises(InputError, match="batch_size is 8, which 3 processes cannot divide"):
        AcceptedViews(np.zeros((1, 1)), np.zeros(1, int), None, ["a"], None, 8)  # type: ignore[arg-type]
