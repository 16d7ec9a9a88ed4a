"""A whole run on a CUDA device: what is drawn is the same as on the CPU, and nothing touches CUDA's random state."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import safetensors.numpy
import torch
from devices import CARDS, Run
from drawn_people import draw_people, tiny_model

import rsft
from rsft.face.adaptation.recipe import Recipe
from rsft.face.fit import fit
from rsft.face.networks.load import load_model
from rsft.face.networks.parity import relative_error

RECIPE = Recipe(steps=6, batch_size=8, views=2, cut=-1, learning_rate=1e-2, features="covariates", method="classifier")
SCRIPT = Path(__file__).with_name("card_ranks.py")


def run_of(folder: Path, out: Path, **options: Any) -> Any:
    sets = {"pool": folder / "pool", "target": folder / "target", "evaluation": folder / "evaluation"}
    settings = {"model": tiny_model(), "recipe": RECIPE, "aligned": True} | options
    return fit(**sets, retain=folder / "retention", out=out, show_faces=True, **settings)  # type: ignore[arg-type]


def device_states() -> list[torch.Tensor]:
    """Return the random state of each CUDA device, and that of the CPU."""
    states = torch.cuda.get_rng_state_all() if CARDS else []
    return [torch.get_rng_state(), *states]


def test_a_fit_draws_the_same_items_and_ends_at_nearly_the_same_weights(
    device: str, run_on: Run, tmp_path: Path
) -> None:
    """The plan on covariates needs no network, so the acceptances are the same to the bit."""
    draw_people(tmp_path)
    results, weights = [], []
    for number, place in enumerate(("cpu", device)):
        run_on(place)
        before, model = device_states(), tiny_model()
        results.append(run_of(tmp_path, tmp_path / f"run-{number}", model=model))
        for state, same in zip(device_states(), before, strict=True):
            assert torch.equal(state, same)
        assert {parameter.device.type for parameter in model.network.parameters()} == {"cpu"}
        assert {parameter.device.type for parameter in results[-1].model.network.parameters()} == {"cpu"}
        weights.append(safetensors.numpy.load_file(tmp_path / f"run-{number}" / "model" / "weights.safetensors"))
    one, other = results
    assert torch.equal(one.plan.acceptance, other.plan.acceptance)
    assert torch.equal(one.plan.log_ratio, other.plan.log_ratio)
    for key in ("pool_pictures", "images_decoded", "images_embedded", "images_trained", "acceptance_rate", "promise"):
        assert other.metrics[key] == one.metrics[key], key
    assert accepted(tmp_path / "run-0") == accepted(tmp_path / "run-1")
    history = [read_history(tmp_path / f"run-{number}") for number in range(2)]
    assert len(history[0]) == len(history[1])
    for record, same in zip(*history, strict=True):
        assert record == pytest.approx(same, rel=2e-2)
    assert other.metrics["validation"]["share"] == one.metrics["validation"]["share"]
    for name, values in weights[0].items():
        assert relative_error(weights[1][name].reshape(1, -1), values.reshape(1, -1)) < 1e-2, name


def test_a_saved_model_of_a_run_is_whole(device: str, run_on: Run, tmp_path: Path) -> None:
    """Its recorded outputs were computed on the CPU, so any machine can check them."""
    run_on(device)
    draw_people(tmp_path)
    run_of(tmp_path, tmp_path / "run")
    network = tiny_model().own_stages
    loaded = load_model(tmp_path / "run", network)
    assert loaded.parity is not None


def test_a_plan_leaves_the_random_state_of_the_device(device: str, run_on: Run) -> None:
    """Rows on the device or on the CPU: the same acceptances are drawn."""
    run_on(device)
    generator = torch.Generator().manual_seed(0)
    pool, target = torch.randn(400, 4, generator=generator), torch.randn(80, 4, generator=generator) + 0.7
    expected = rsft.plan(pool, target, seed=1)
    before = device_states()
    found = rsft.plan(pool.to(device), target.to(device), seed=1)
    assert torch.equal(found.acceptance.cpu(), expected.acceptance)
    assert list(found.sampler(seed=5)) == list(expected.sampler(seed=5))
    sampler = rsft.RejectionSampler(expected.acceptance.to(device), seed=5)
    assert list(sampler) == list(expected.sampler(seed=5))
    for state, same in zip(device_states(), before, strict=True):
        assert torch.equal(state, same)


@pytest.mark.gpu
@pytest.mark.skipif(CARDS < 2, reason=f"needs two CUDA devices for NCCL: torch finds {CARDS}")
def test_two_cards_tune_to_the_weights_of_one(run_on: Run, tmp_path: Path) -> None:
    found = []
    for processes in (1, 2):
        out = tmp_path / f"{processes}"
        out.mkdir()
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        result = subprocess.run(
            [*command, str(SCRIPT), str(out)],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert result.returncode == 0, result.stderr
        told = json.loads((out / "result.json").read_text())
        found.append((told, safetensors.numpy.load_file(out / "model.safetensors")))
    (alone, weights), (told, of_two) = found
    assert told["backend"] == "nccl"
    assert (told["steps"], told["accepted"]) == (alone["steps"], alone["accepted"])
    for name, values in weights.items():
        assert relative_error(of_two[name].reshape(1, -1), values.reshape(1, -1)) < 1e-3, name


def accepted(run: Path) -> dict[str, list[Any]]:
    """Return the ids of the pool's pictures and what is stated of each, as the run folder has it."""
    table: dict[str, list[Any]] = pyarrow.parquet.read_table(run / "accepted.parquet").to_pydict()
    return table


def read_history(run: Path) -> list[dict[str, Any]]:
    lines = (run / "history.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if "promise" not in record]
