"""Rejection, weighted sampling and loss weights as the learning rate grows: digits with a long tail.

    python benchmarks/stability.py [--quick]

The pool has many of some digits and few of others; the target has equally many of all, known by its shares. A small
network, pretrained on the pool as it is, is tuned with the same number of samples by every method, at five learning
rates with ten seeds each. Prints accuracy on a balanced test set and what the methods are to rejection, with 95 %
intervals over seeds and test items; writes `benchmarks/results/stability.json`.
"""

import argparse
import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import rsft
from rsft.baselines import LOSS_WEIGHTS, REJECTION, WEIGHTED, Method
from rsft.compare import Batches, Measure, Train, compare
from rsft.types import PRETRAINED, UNIFORM

RESULTS = Path(__file__).parent / "results" / "stability.json"
LEARNING_RATES = (0.03, 0.1, 0.2, 0.3, 0.6)
SEEDS, STEPS, BATCH_SIZE = 10, 300, 32
TEST_OF_EACH = 60
LARGEST, SMALLEST = 110, 4  # of a digit in the pool
DRAWS = 500


def long_tail() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pool and balanced test set: pixels (N, 64) and digits (N,) of each."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    sizes = np.geomspace(LARGEST, SMALLEST, 10).round().astype(int)
    test, pool = [], []
    for digit in range(10):
        rows = order[y[order] == digit]
        test.append(rows[:TEST_OF_EACH])
        pool.append(rows[TEST_OF_EACH:][: sizes[digit]])
    parts = [np.concatenate(rows) for rows in (pool, test)]
    pixels, digits = torch.from_numpy(x / 16).float(), torch.from_numpy(y)
    return pixels[parts[0]], digits[parts[0]], pixels[parts[1]], digits[parts[1]]


def sweep(
    train: Train, measure: Measure, methods: Mapping[str, Method], rates: Sequence[float], **options: Any
) -> dict[str, Any]:
    """A comparison at each learning rate, printed and as a dictionary; `options` are those of `compare`."""
    results: dict[str, Any] = {}
    for rate in rates:
        comparison = compare(train, measure, methods, learning_rates=[rate], **options)
        results[f"{rate:g}"] = comparison.to_dict()
        metric = comparison.metrics[0]
        values = ", ".join(f"{name} {comparison.value(name, metric)}" for name in (PRETRAINED, *methods))
        print(f"learning rate {rate:g}: {values}", flush=True)
        for other in (WEIGHTED, LOSS_WEIGHTS, UNIFORM):
            print(f"    rejection less {other}: {comparison.difference(REJECTION, other, metric).signed()}", flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description="Stability in the learning rate.")
    parser.add_argument("--quick", action="store_true", help="two rates and two seeds")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    x, y, test_x, test_y = long_tail()
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    plan = rsft.plan_from_ratio(rsft.attribute_ratio(y, dict.fromkeys(range(10), 0.1)))
    drawn = np.random.default_rng(1).integers(0, len(test_y), (DRAWS, len(test_y)))

    def train(batches: Batches, learning_rate: float, seed: int) -> nn.Module:
        model = copy.deepcopy(start)
        optimizer = torch.optim.SGD(model.parameters(), learning_rate, momentum=0.9)
        for items, weights in batches:
            losses = F.cross_entropy(model(x[items]), y[items], reduction="none")
            optimizer.zero_grad()
            (losses if weights is None else weights * losses).mean().backward()
            optimizer.step()
        return model

    def measure(model: nn.Module) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            right = (model(test_x).argmax(1) == test_y).double().numpy()
        return {"accuracy": np.concatenate([[right.mean()], right[drawn].mean(1)])}

    methods = {name: rsft.alternatives(plan)[name] for name in (UNIFORM, WEIGHTED, LOSS_WEIGHTS, REJECTION)}
    start = network
    start = train(Batches(methods[UNIFORM], STEPS, BATCH_SIZE, 0), 0.03, 0)
    seeds = 2 if quick else SEEDS
    rates = LEARNING_RATES[2:4] if quick else LEARNING_RATES
    results = sweep(train, measure, methods, rates, start=start, steps=STEPS, batch_size=BATCH_SIZE, seeds=seeds)
    if not quick:
        RESULTS.write_text(json.dumps({"pool": len(y), "seeds": SEEDS, "rates": results}, indent=1))


if __name__ == "__main__":
    main()
