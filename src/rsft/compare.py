"""Does it help? Rejection against what is free, with equal budgets, paired seeds and intervals."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from rsft.alternatives import REJECTION, Batch, Method
from rsft.errors import InputError
from rsft.evaluation.comparison import in_words
from rsft.evaluation.seeds import interval_over_seeds
from rsft.run_folder import adding_to
from rsft.types import Interval

PRETRAINED = "pretrained"
CONFIG_FILE, RESULT_FILE, RUNS_FOLDER = "compare.json", "comparison.json", "runs"

# (batches, learning rate, seed) -> a tuned model; len(batches) is the number of steps
Train = Callable[["Batches", float, int], Any]
# model -> metric -> its value, or (1 + B,): the value and its draws, which are the same for every model
Measure = Callable[[Any], Mapping[str, float | np.ndarray]]
# model -> how good it is, by data that are not measured on
Validate = Callable[[Any], float]


class Batches:
    """The batches of one training, to be passed over once.

    Args:
        method: draws them.
        steps: of the comparison.
        batch_size: of each.
        seed: of the draw.
    """

    def __init__(self, method: Method, steps: int, batch_size: int, seed: int) -> None:
        self._method, self._steps, self._batch_size, self._seed = method, steps, batch_size, seed
        self.seen: list[np.ndarray] = []

    def __len__(self) -> int:
        return self._method.steps or self._steps

    def __iter__(self) -> Iterator[Batch]:
        for items, weights in self._method.batches(self._steps, self._batch_size, self._seed):
            self.seen.append(items.numpy())
            yield items, weights


@dataclass(frozen=True)
class Trained:
    """One training and what became of it.

    Attributes:
        method: its name.
        learning_rate: of it.
        seed: of the draw and of the training.
        samples: trained on.
        distinct: how many different items they were; as many were decoded at least.
        seconds: of the training alone.
        validation: by which the learning rate was chosen; None where there was no choice.
        measured: metric -> (1 + B,) the value and its draws.
    """

    method: str
    learning_rate: float
    seed: int
    samples: int
    distinct: int
    seconds: float
    validation: float | None
    measured: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Comparison:
    """What every method reached.

    Attributes:
        runs: method -> a training for each seed, with the learning rate that validation chose.
        searched: method -> the trainings among which it was chosen.
        start: metric -> (1 + B,) of the model before training.
    """

    runs: Mapping[str, Sequence[Trained]]
    searched: Mapping[str, Sequence[Trained]]
    start: Mapping[str, Sequence[float]]

    @property
    def metrics(self) -> list[str]:
        """Names, the headline first."""
        return list(self.start)

    def value(self, method: str, metric: str) -> Interval:
        """Mean over seeds of a method, or of the model before training ("pretrained")."""
        return interval_over_seeds(self._measured(method, metric))

    def difference(self, method: str, reference: str, metric: str) -> Interval:
        """That of `method` less that of `reference`: the same seeds and the same draws."""
        pairs = zip(self._measured(method, metric), self._measured(reference, metric), strict=True)
        return interval_over_seeds([a - b for a, b in pairs])

    def verdict(self, method: str = REJECTION, metric: str | None = None) -> str:
        """What `method` is to all others, in words."""
        metric = metric or self.metrics[0]
        others = [PRETRAINED, *(name for name in self.runs if name != method)]
        words = [in_words(self.difference(method, other, metric), other) for other in others]
        return f"{metric} of {method}: {'; '.join(words)}."

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the draws."""
        methods = [PRETRAINED, *self.runs]
        return {
            "metrics": self.metrics,
            "values": {m: {k: self.value(m, k).to_dict() for k in self.metrics} for m in methods},
            "differences": {
                m: {o: {k: self.difference(m, o, k).to_dict() for k in self.metrics} for o in methods if o != m}
                for m in self.runs
            },
            "cost": {
                m: {
                    "learning_rate": runs[0].learning_rate,
                    "seeds": len(runs),
                    "samples": int(np.mean([run.samples for run in runs])),
                    "distinct": float(np.mean([run.distinct for run in runs])),
                    "seconds": float(np.mean([run.seconds for run in runs])),
                }
                for m, runs in self.runs.items()
            },
            "searched": {
                m: [
                    {"learning_rate": run.learning_rate, "validation": run.validation}
                    | {k: values[0] for k, values in run.measured.items()}
                    for run in runs
                ]
                for m, runs in self.searched.items()
            },
        }

    def _measured(self, method: str, metric: str) -> list[np.ndarray]:
        if method == PRETRAINED:
            return [np.asarray(self.start[metric], float)] * max(len(runs) for runs in self.runs.values())
        return [np.asarray(run.measured[metric], float) for run in self.runs[method]]


def compare(
    train: Train,
    measure: Measure,
    methods: Mapping[str, Method],
    *,
    start: Any,
    steps: int,
    batch_size: int,
    learning_rates: Sequence[float],
    validate: Validate | None = None,
    seeds: int = 5,
    out: str | os.PathLike[str] | None = None,
    config: Mapping[str, Any] | None = None,
    workers: int = 1,
    on_run: Callable[[int, int], None] = lambda done, total: None,
) -> Comparison:
    """Train by every method, each with the learning rate that suits it, and measure.

    Each method is trained with every learning rate and the first seed; the one with the best `validate` is kept and
    trained with the other seeds. All methods get the same number of samples, seeds and learning rates to choose from.

    Args:
        train: (batches, learning_rate, seed) -> model; starts from the pretrained weights each time, and weighs each
            item's loss where a batch has weights.
        measure: model -> metric -> value, or (1 + B,) the value and its bootstrap draws; those are the same for every
            model, so that differences are paired. The first metric is the headline; higher is better.
        methods: name -> how batches are drawn, see `alternatives`.
        start: the model before training, for `measure`.
        steps: batches in a training.
        batch_size: items in a batch.
        learning_rates: to choose from.
        validate: model -> score, higher is better, from data that `measure` does not see; needed where there is a
            choice of learning rates.
        seeds: trainings of each method; they have the numbers 0, 1, ...
        out: a folder in which every training's figures are kept: what was done there is not done again, by an
            interrupted comparison or one of fewer methods, learning rates or seeds; `comparison.json` comes last.
        config: what else the figures depend on, for `out`: a comparison of other settings is refused there.
        workers: processes that train at a time; functions reach them by cloudpickle.
        on_run: is called with how many trainings are done, and how many there are.

    Raises:
        ValueError: there is no learning rate, or several and no `validate`.
        InputError: `out` holds a comparison of other settings.
    """
    if not learning_rates or (len(learning_rates) > 1 and validate is None):
        raise ValueError(
            f"`compare(learning_rates=...)` got {len(learning_rates)}: give at least one, and `validate` to choose "
            "among several by data that is not measured on."
        )
    store = None
    if out is not None:
        store = _Store(Path(out), {"steps": steps, "batch_size": batch_size, **(config or {})})

    def run(method: str, learning_rate: float, seed: int) -> Trained:
        batches = Batches(methods[method], steps, batch_size, seed)
        began = time.perf_counter()
        model = train(batches, learning_rate, seed)
        seconds = time.perf_counter() - began
        items = np.concatenate([np.empty(0, np.int64), *batches.seen])
        score = float(validate(model)) if validate is not None else None
        distinct = len(np.unique(items))
        return Trained(method, learning_rate, seed, len(items), distinct, seconds, score, _listed(measure(model)))

    total = len(methods) * (len(learning_rates) + seeds - 1)
    done: dict[tuple[str, float, int], Trained] = {}

    def run_all(jobs: Sequence[tuple[str, float, int]]) -> None:
        found = {job: store.read(*job) for job in jobs} if store else {}
        samples = {name: (method.steps or steps) * batch_size for name, method in methods.items()}
        done.update({job: run for job, run in found.items() if run and run.samples == samples[job[0]]})
        on_run(len(done), total)
        left = (joblib.delayed(run)(*job) for job in jobs if job not in done)
        for trained in joblib.Parallel(n_jobs=workers, return_as="generator_unordered")(left):
            if store:
                store.write(trained)
            done[(trained.method, trained.learning_rate, trained.seed)] = trained
            on_run(len(done), total)

    run_all([(name, rate, 0) for name in methods for rate in learning_rates])
    searched = {name: [done[name, rate, 0] for rate in learning_rates] for name in methods}
    best = {name: max(runs, key=_validation).learning_rate for name, runs in searched.items()}
    run_all([(name, best[name], seed) for seed in range(1, seeds) for name in methods])
    runs = {name: [done[name, best[name], seed] for seed in range(seeds)] for name in methods}
    comparison = Comparison(runs, searched, _listed(measure(start)))
    if store:
        store.finish(comparison)
    return comparison


def _validation(run: Trained) -> float:
    """A training that came to nothing is never the best."""
    return -np.inf if run.validation is None or np.isnan(run.validation) else run.validation


def _listed(measured: Mapping[str, float | np.ndarray]) -> dict[str, list[float]]:
    return {metric: np.atleast_1d(np.asarray(values, float)).tolist() for metric, values in measured.items()}


class _Store:
    """The figures of every training, a file each; each is whole or not there."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._folder = folder
        (adding_to(folder) / RUNS_FOLDER).mkdir(exist_ok=True)
        settings = json.loads(json.dumps(settings))
        path = folder / CONFIG_FILE
        if path.exists():
            there = json.loads(path.read_text())
            changed = [name for name in {**there, **settings} if there.get(name) != settings.get(name)]
            if changed:
                name = changed[0]
                raise InputError(
                    f"'{folder}' holds a comparison with other settings, {name}: {there.get(name)}, now "
                    f"{settings.get(name)}. Choose another folder, or remove this one."
                )
        _write(path, settings)

    def read(self, method: str, learning_rate: float, seed: int) -> Trained | None:
        path = self._path(method, learning_rate, seed)
        return Trained(**json.loads(path.read_text())) if path.exists() else None

    def write(self, run: Trained) -> None:
        _write(self._path(run.method, run.learning_rate, run.seed), asdict(run))

    def finish(self, comparison: Comparison) -> None:
        _write(self._folder / RESULT_FILE, comparison.to_dict())

    def _path(self, method: str, learning_rate: float, seed: int) -> Path:
        return self._folder / RUNS_FOLDER / f"{method.replace(' ', '-')}_{learning_rate:g}_{seed}.json"


def _write(path: Path, value: Any) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value))
    partial.replace(path)
