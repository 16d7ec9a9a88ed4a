"""Balanced epochs against independent ones, and against weighted sampling with replacement: do they train better?

    python benchmarks/balanced.py [--quick] [--only means | training]

*Means*: the pool are 1000 quantiles of N(0, 1), the target is N(m, 0.5^2) with m such that 5 or 30 % are accepted. The
mean of what is accepted in E epochs estimates the target mean of three functions; weighted sampling draws as many.
Errors are against the exact mean of the target on this pool. *Training*: digits with a long tail, and digits of which a
tenth is dim where the target is so throughout. Every way of drawing gets the same number of steps of the same size, and
30 seeds that choose nothing but what is drawn. Intervals of accuracy and log score are over seeds and test items,
paired by both. Those of ratios of squared errors, or of standard deviations over seeds, are a bootstrap over them.
Writes `benchmarks/results/balanced.json`.
"""

import argparse
import copy
import itertools
import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import stats
from sklearn.datasets import load_digits
from stability import long_tail
from tables import difference
from torch import Tensor, nn
from torch.nn import functional as F

import rsft
from rsft.baselines import REJECTION, WEIGHTED, Method
from rsft.compare import Batches, Comparison, compare
from rsft.sampling.acceptance import accept
from rsft.tasks.classification import Classification
from rsft.tasks.describe import describe, unlabelled
from rsft.types import CONFIDENCE, PRETRAINED, UNIFORM, Interval

RESULTS = Path(__file__).parent / "results" / "balanced.json"
BALANCED = "balanced rejection"
DRAWS = 500
ENDS = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]

ITEMS, SPREAD, REPEATS = 1000, 0.5, 4000
RATES, EPOCHS = (0.05, 0.3), (5, 20)

SEEDS, BATCH_SIZE = 30, 32
STEPS = (30, 100, 300)
NIGHT_RATES, TAIL_RATES = (0.03, 0.1), (0.03, 0.1)
POOL, TARGET = 900, 200  # of the digits of which a tenth is dim


# Means


def means(rate: float, repeats: int) -> list[dict[str, Any]]:
    """Errors of the means at one acceptance rate, for each number of epochs."""
    x = stats.norm.ppf((np.arange(ITEMS) + 0.5) / ITEMS)
    # The largest ratio is exp(m^2 / (2 (1 - s^2))) / s, and the rate is its inverse.
    mean = math.sqrt(2 * (1 - SPREAD**2) * math.log(SPREAD / rate))
    log_ratio = stats.norm(mean, SPREAD).logpdf(x) - stats.norm.logpdf(x)
    acceptance = np.exp(log_ratio + math.log(rate))
    functions = {"x": x, "x^2": x**2, "x > m": (x > mean).astype(float)}
    exact = {name: float(acceptance @ values / acceptance.sum()) for name, values in functions.items()}
    table = np.stack(list(functions.values()), 1)
    found = []
    for epochs in EPOCHS:
        drawn = {name: np.zeros((repeats, len(exact))) for name in (BALANCED, REJECTION, WEIGHTED)}
        spread = {BALANCED: 0.0, REJECTION: 0.0}
        for seed in range(repeats):
            for name, balanced in ((BALANCED, True), (REJECTION, False)):
                masks = [accept(acceptance, seed=seed, epoch=epoch, balanced=balanced) for epoch in range(epochs)]
                counts = np.sum(masks, axis=0)
                spread[name] += float(((counts - epochs * acceptance) ** 2).mean()) / repeats
                drawn[name][seed] = counts @ table / counts.sum()
            items = np.random.default_rng(seed).choice(ITEMS, counts.sum(), p=acceptance / acceptance.sum())
            drawn[WEIGHTED][seed] = table[items].mean(0)
        for number, (name, value) in enumerate(exact.items()):
            squares = {way: (values[:, number] - value) ** 2 for way, values in drawn.items()}
            result = {"rate": float(acceptance.mean()), "epochs": epochs, "mean_of": name, "repeats": repeats}
            result["mse"] = {way: float(square.mean()) for way, square in squares.items()}
            result["ratio_to_rejection"] = {
                way: ratio(squares[way], squares[REJECTION]).to_dict() for way in (BALANCED, WEIGHTED)
            }
            result["mean_square_of_counts"] = spread
            found.append(result)
            against = [f"{way} {Interval(**figures)}" for way, figures in result["ratio_to_rejection"].items()]
            print(f"rate {rate}, {epochs} epochs, mean of {name}: {', '.join(against)}", flush=True)
    return found


def ratio(values: np.ndarray, others: np.ndarray) -> Interval:
    """The ratio of two means, with a bootstrap over repetitions."""
    rows = np.random.default_rng(0).integers(0, len(values), (DRAWS, len(values)))
    low, high = np.quantile(values[rows].mean(1) / others[rows].mean(1), ENDS)
    return Interval(float(values.mean() / others.mean()), float(low), float(high))


# Training


class Setting(NamedTuple):
    """Pool and test set, pixels (N, 64) and digits (N,) each, with a plan and a network that knows the pool."""

    pool: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    plan: rsft.Plan
    start: nn.Module
    learning_rates: tuple[float, ...]


def tail() -> Setting:
    """Many of some digits and few of others; the target has equally many of all."""
    x, y, test_x, test_y = long_tail()
    plan = rsft.plan_from_ratio(rsft.attribute_ratio(y, dict.fromkeys(range(10), 0.1)))
    return Setting((x, y), (test_x, test_y), plan, trained(network(64), x, y, 300, 0.03), TAIL_RATES)


def night() -> Setting:
    """A tenth of the pool is dim and noisy, the target is so throughout; the network knows clear digits."""
    pixels, digits = (torch.from_numpy(values) for values in load_digits(return_X_y=True))
    clear = pixels.float() / 16
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(digits), generator=generator)
    clear, digits = clear[order], digits[order]
    dim = clear / 3 + 0.12 * torch.randn(clear.shape, generator=generator)
    mixed = torch.where(torch.rand(len(digits), 1, generator=generator) < 0.1, dim, clear)
    task = Classification(10)
    pictures = [(row.view(1, 8, 8), int(digit)) for row, digit in zip(mixed[:POOL], digits, strict=False)]
    rows = describe(task, pictures).table()[:, :4]
    wanted = unlabelled(task, list(dim[POOL : POOL + TARGET].view(-1, 1, 8, 8)))[:, :4]
    plan = rsft.plan(rows, wanted, envelope="max_tv=0.05", retain_fraction=0.2)
    start = trained(network(128), clear[:POOL], digits[:POOL], 600, 0.1)
    test = slice(POOL + TARGET, None)
    return Setting((mixed[:POOL], digits[:POOL]), (dim[test], digits[test]), plan, start, NIGHT_RATES)


def network(width: int) -> nn.Module:
    model = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def trained(model: nn.Module, x: Tensor, y: Tensor, steps: int, learning_rate: float) -> nn.Module:
    """A copy of the model, trained on all items alike."""
    everything = rsft.alternatives(rsft.plan_from_ratio(torch.zeros(len(y))))[UNIFORM]
    return tuned(model, x, y, Batches(everything, steps, BATCH_SIZE, 0), learning_rate)


def tuned(model: nn.Module, x: Tensor, y: Tensor, batches: Batches, learning_rate: float) -> nn.Module:
    model = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), learning_rate, momentum=0.9)
    for items, _ in batches:
        optimizer.zero_grad()
        F.cross_entropy(model(x[items]), y[items]).backward()
        optimizer.step()
    return model


def balanced_epochs(plan: rsft.Plan, seed: int) -> Iterator[np.ndarray]:
    sampler = plan.sampler(seed=seed, rank=0, world_size=1, balanced=True)
    for epoch in itertools.count():
        sampler.set_epoch(epoch)
        yield sampler.sequence().numpy()


def training(setting: Setting, seeds: int, every: tuple[int, ...]) -> list[dict[str, Any]]:
    """Accuracy by each way of drawing, for each number of steps and learning rate."""
    plan, found = setting.plan, []
    known = rsft.alternatives(plan)
    methods = {BALANCED: Method(partial(balanced_epochs, plan)), REJECTION: known[REJECTION], WEIGHTED: known[WEIGHTED]}
    drawn = np.random.default_rng(1).integers(0, len(setting.test[1]), (DRAWS, len(setting.test[1])))

    def measure(model: nn.Module) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            logits = model(setting.test[0])
        right = (logits.argmax(1) == setting.test[1]).double().numpy()
        gain = -F.cross_entropy(logits, setting.test[1], reduction="none").double().numpy()
        return {name: np.r_[of.mean(), of[drawn].mean(1)] for name, of in (("accuracy", right), ("log_score", gain))}

    for steps, rate in itertools.product(every, setting.learning_rates):
        comparison = compare(
            lambda batches, learning_rate, seed: tuned(setting.start, *setting.pool, batches, learning_rate),
            measure,
            methods,
            start=setting.start,
            steps=steps,
            batch_size=BATCH_SIZE,
            learning_rates=[rate],
            seeds=seeds,
        )
        epochs = steps * BATCH_SIZE / float(plan.acceptance.sum())
        result = {"steps": steps, "learning_rate": rate, "epochs": epochs, "seeds": seeds, **comparison.to_dict()}
        result["deviation_over_seeds"] = {metric: deviations(comparison, metric) for metric in comparison.metrics}
        found.append(result)
        print(f"{steps} steps ({epochs:.1f} epochs), learning rate {rate:g}", flush=True)
        show(comparison, result)
    return found


def show(comparison: Comparison, result: dict[str, Any]) -> None:
    for metric in comparison.metrics:
        values = [f"{name} {comparison.value(name, metric)}" for name in (PRETRAINED, *comparison.runs)]
        less = [
            f"less {name} {difference(comparison.difference(BALANCED, name, metric).to_dict())}"
            for name in (REJECTION, WEIGHTED)
        ]
        ratios = result["deviation_over_seeds"][metric]["ratio_to_rejection"]
        against = [f"{name} {Interval(**figures)}" for name, figures in ratios.items()]
        print(f"    {metric}: {', '.join(values)}\n        balanced {', '.join(less)}")
        print(f"        deviation over seeds, to that of rejection: {', '.join(against)}", flush=True)


def deviations(comparison: Comparison, metric: str) -> dict[str, Any]:
    """Standard deviations over seeds, and their ratio to that of rejection with a bootstrap over seeds."""
    of_each = {name: np.array([run.measured[metric][0] for run in runs]) for name, runs in comparison.runs.items()}
    seeds = len(of_each[REJECTION])
    rows = np.random.default_rng(0).integers(0, seeds, (DRAWS, seeds))
    drawn = {name: each[rows].std(1, ddof=1) for name, each in of_each.items()}
    whole = {name: float(each.std(ddof=1)) for name, each in of_each.items()}
    ratios = {}
    for name in (BALANCED, WEIGHTED):
        low, high = np.nanquantile(drawn[name] / drawn[REJECTION], ENDS)
        ratios[name] = Interval(whole[name] / whole[REJECTION], float(low), float(high)).to_dict()
    return {"value": whole, "ratio_to_rejection": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description="Balanced epochs against independent ones.")
    parser.add_argument("--quick", action="store_true", help="few repetitions and seeds, nothing is written")
    parser.add_argument("--only", choices=("means", "training"), help="one of the two questions")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if given.only != "training":
        found["means"] = [row for rate in RATES for row in means(rate, 200 if given.quick else REPEATS)]
    if given.only != "means":
        found["training"] = {}
        for name, setting in (("long tail", tail()), ("night", night())):
            print(f"{name}: {setting.plan.verdict}")
            seeds, every = (3, STEPS[:1]) if given.quick else (SEEDS, STEPS)
            found["training"][name] = training(setting, seeds, every)
    if not given.quick:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
