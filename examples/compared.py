"""Shared by the examples: rejection against what is free, on any task, as a table with intervals."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from torch import nn

import rsft
from rsft.baselines import alternatives
from rsft.compare import Comparison
from rsft.tasks.compare import evaluate, trainer
from rsft.tasks.protocol import Task

METHODS = ("uniform", "weighted sampling", "loss weights", "rejection")


def compared(
    task: Task,
    model: nn.Module,
    pool: Any,
    validation: Any,
    test: Any,
    plan: rsft.Plan,
    *,
    steps: int,
    learning_rates: Sequence[float],
    batch_size: int = 32,
    seeds: int = 5,
    draws: int = 200,
    quick: bool = False,
) -> Comparison:
    """Tune by every method and measure on the test set; `quick` is a short form, to see that all runs."""
    if quick:
        steps, learning_rates, seeds, draws = 8, learning_rates[:1], 2, 20
    headline = next(iter(evaluate(task, model, validation, draws=0)))
    methods = {name: method for name, method in alternatives(plan).items() if name in METHODS}
    return rsft.compare(
        trainer(task, model, pool),
        lambda tuned: evaluate(task, tuned, test, draws=draws),
        methods,
        start=model,
        steps=steps,
        batch_size=batch_size,
        learning_rates=learning_rates,
        validate=lambda tuned: float(evaluate(task, tuned, validation, draws=0)[headline][0]),
        seeds=seeds,
    )


def show(plan: rsft.Plan, comparison: Comparison, metrics: Sequence[str]) -> None:
    """The plan's verdict, a row a method, and rejection against each."""
    print(plan.verdict)
    print(f"{'':20s}" + "".join(f"{metric:>26s}" for metric in metrics))
    for method in ("pretrained", *comparison.runs):
        print(f"{method:20s}" + "".join(f"{comparison.value(method, metric)!s:>26s}" for metric in metrics))
    for metric in metrics:
        print(comparison.verdict(metric=metric))


def arguments() -> argparse.Namespace:
    """What an example takes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that all runs")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


def tell(plan: rsft.Plan, comparison: Comparison, metrics: Sequence[str], *, as_json: bool) -> None:
    """As a table or as JSON."""
    if as_json:
        print(json.dumps({"plan": plan.to_dict(), "comparison": comparison.to_dict()}))
    else:
        show(plan, comparison, metrics)
