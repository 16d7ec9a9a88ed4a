import json
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from rsft.baselines import uniform
from rsft.compare import Batches, Comparison, compare
from rsft.errors import InputError
from rsft.evaluation.seeds import interval_over_seeds

METHODS = {"rejection": uniform(10), "uniform": uniform(20)}
EFFECT = {10: 0.3, 20: 0.1}  # by the size of the pool, which identifies the method
RATES = (0.1, 1.0, 10.0)


def train(batches: Batches, learning_rate: float, seed: int) -> dict[str, Any]:
    items = np.concatenate([items.numpy() for items, _ in batches])
    effect = EFFECT[10 if items.max() < 10 else 20]
    noise = np.random.default_rng(seed).normal(0, 0.01)
    return {"effect": effect + noise, "learning_rate": learning_rate, "samples": len(items)}


def measure(model: dict[str, Any]) -> dict[str, float | np.ndarray]:
    on_items = np.random.default_rng(0).normal(0, 0.02, 500)
    # The largest learning rate measures best, but validation must not choose it.
    bonus = 0.5 if model.get("learning_rate") == 10.0 else 0.0
    return {"score": model["effect"] + bonus + np.concatenate([[0.0], on_items]), "samples": model.get("samples", 0)}


def validate(model: dict[str, Any]) -> float:
    return float("nan") if model["learning_rate"] == 0.1 else -model["learning_rate"]


def run(**changes: Any) -> Comparison:
    options: dict[str, Any] = {
        "start": {"effect": 0.0},
        "steps": 8,
        "batch_size": 6,
        "learning_rates": RATES,
        "validate": validate,
        "seeds": 4,
    }
    return compare(train, measure, METHODS, **options | changes)


def test_validation_selects_the_rate_and_all_methods_get_the_same_budget() -> None:
    comparison = run()
    assert {runs[0].learning_rate for runs in comparison.runs.values()} == {1.0}
    assert {run.samples for runs in comparison.runs.values() for run in runs} == {48}
    assert [run.seed for run in comparison.runs["rejection"]] == [0, 1, 2, 3]
    assert comparison.runs["rejection"][0].distinct == 10
    assert [run.learning_rate for run in comparison.searched["uniform"]] == list(RATES)


def test_differences_are_paired() -> None:
    comparison = run()
    difference = comparison.difference("rejection", "uniform", "score")
    # Seeds and draws are the same for both methods, so the difference has no variance.
    assert difference.low == pytest.approx(0.2)
    assert difference.high == pytest.approx(0.2)
    value = comparison.value("rejection", "score")
    assert value.low is not None
    assert value.high is not None
    assert 0.02 < value.high - value.low < 0.2
    assert comparison.verdict().startswith("score of rejection: better than pretrained: +0.3")
    assert "better than uniform: +0.200" in comparison.verdict()
    assert "worse than rejection: -0.200" in comparison.verdict("uniform")


def test_an_interrupted_comparison_continues(tmp_path: Path) -> None:
    calls = []

    def failing(batches: Batches, learning_rate: float, seed: int) -> dict[str, Any]:
        calls.append((learning_rate, seed))
        if len(calls) == 5:
            raise RuntimeError("power cut")
        return train(batches, learning_rate, seed)

    options: dict[str, Any] = {"start": {"effect": 0.0}, "steps": 8, "batch_size": 6, "learning_rates": RATES}
    options |= {"validate": validate, "seeds": 4, "out": tmp_path}
    with pytest.raises(RuntimeError):
        compare(failing, measure, METHODS, **options)
    assert not (tmp_path / "comparison.json").exists()
    resumed = compare(failing, measure, METHODS, **options)
    assert len(calls) == 5 + 12 - 4
    assert resumed.to_dict()["values"] == run().to_dict()["values"]
    assert json.loads((tmp_path / "comparison.json").read_text())["values"] == resumed.to_dict()["values"]
    compare(failing, measure, METHODS, **options)
    assert len(calls) == 5 + 12 - 4
    compare(failing, measure, METHODS, **options | {"seeds": 5})  # one more seed for each method
    assert len(calls) == 5 + 12 - 4 + 2
    longer = METHODS | {"uniform": uniform(20, steps=9)}  # with other steps its six trainings are repeated
    compare(failing, measure, longer, **options)
    assert len(calls) == 5 + 12 - 4 + 2 + 6
    with pytest.raises(InputError, match="steps: 8, now 9"):
        compare(failing, measure, METHODS, **options | {"steps": 9})


def test_a_damaged_file_of_a_comparison_is_named(tmp_path: Path) -> None:
    options: dict[str, Any] = {"start": {"effect": 0.0}, "steps": 8, "batch_size": 6, "learning_rates": RATES}
    options |= {"validate": validate, "seeds": 1, "out": tmp_path}
    compare(train, measure, METHODS, **options)
    for path in (next((tmp_path / "runs").glob("*.json")), tmp_path / "compare.json"):
        for damaged in ("{", '{"seed": "x"}' if path.parent != tmp_path else "[]"):
            path.write_text(damaged)
            with pytest.raises(InputError, match=f"cannot read '{path}'"):
                compare(train, measure, METHODS, **options)


def test_parallel_workers_give_the_same_result() -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the test module
    assert run(workers=2).to_dict()["values"] == run().to_dict()["values"]


def test_several_learning_rates_require_validate() -> None:
    with pytest.raises(ValueError, match="validate"):
        run(validate=None)
    with pytest.raises(ValueError, match="got 0"):
        run(learning_rates=())


def test_one_seed_without_draws_has_no_interval() -> None:
    comparison = compare(
        train, lambda model: {"score": model["effect"]}, METHODS, start={"effect": 0.0}, steps=8, batch_size=6,
        learning_rates=[1.0], seeds=1,
    )  # fmt: skip
    assert comparison.value("uniform", "score").low is None
    assert "not comparable to pretrained" in comparison.verdict()


def test_intervals_over_seeds_have_their_coverage() -> None:
    generator = np.random.default_rng(0)
    seeds, repetitions, of_items, of_seeds = 5, 600, 1.0, 1.5
    covered = {"right": 0, "seeds left out": 0}
    for _ in range(repetitions):
        error = generator.normal(0, of_items)
        values = error + generator.normal(0, of_seeds, seeds)
        # A bootstrap draw shifts all seeds together, with the standard error of the items.
        draws = values[:, None] + generator.normal(0, of_items, 400)
        measured = [np.concatenate([[value], drawn]) for value, drawn in zip(values, draws, strict=True)]
        right = interval_over_seeds(measured)
        low, high = np.quantile(draws.mean(0), [0.025, 0.975])
        assert right.low is not None
        assert right.high is not None
        covered["right"] += right.low <= 0 <= right.high
        covered["seeds left out"] += low <= 0 <= high
    error_of_rate = np.sqrt(0.95 * 0.05 / repetitions)
    assert covered["right"] / repetitions > 0.95 - 3 * error_of_rate
    assert covered["seeds left out"] / repetitions < 0.95 - 3 * error_of_rate
