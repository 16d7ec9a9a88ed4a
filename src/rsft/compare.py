"""Comparison of training with rejection to its baselines, with equal budgets, paired seeds and intervals."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from rsft.baselines import REJECTION, Batches, Method
from rsft.data.reading import read_json
from rsft.disk.lock import locked
from rsft.disk.whole import replace_file
from rsft.errors import InputError
from rsft.evaluation.difference import Difference, in_words, judge
from rsft.evaluation.seeds import interval_over_seeds
from rsft.run_folder import adding_to
from rsft.types import PRETRAINED, Interval

CONFIG_FILE, RESULT_FILE, RUNS_FOLDER = "compare.json", "comparison.json", "runs"
COMPARISON = "the settings of a comparison"

# (batches, learning rate, seed) -> trained model. len(batches) is the number of steps.
Train = Callable[[Batches, float, int], Any]
# model -> metric -> value, or (1 + B,) value and bootstrap draws. The draws are the same for every model.
Measure = Callable[[Any], Mapping[str, float | np.ndarray]]
# model -> score on data that `Measure` does not use
Validate = Callable[[Any], float]


@dataclass(frozen=True)
class Trained:
    """One training and its results.

    Attributes:
        method: Name of the method.
        learning_rate: Learning rate of the training.
        seed: Seed for the batches and for the training.
        samples: Number of samples trained on.
        distinct: Number of distinct items among them, and thus the minimum number of items that were decoded.
        seconds: Duration of the training alone, in seconds.
        validation: Validation score, by which the learning rate is selected; None without `validate`.
        measured: metric -> (1 + B,) value and bootstrap draws.
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
    """Results of `compare`.

    Attributes:
        runs: method -> one training for each seed, with the learning rate that validation selected.
        searched: method -> the trainings of the first seed, one for each learning rate.
        start: metric -> (1 + B,) value and bootstrap draws of the model before training.
    """

    runs: Mapping[str, Sequence[Trained]]
    searched: Mapping[str, Sequence[Trained]]
    start: Mapping[str, Sequence[float]]

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics, the headline first."""
        return list(self.start)

    def measured(self, method: str, metric: str) -> list[np.ndarray]:
        """Return (1 + B,) value and bootstrap draws of a metric for each seed; for "pretrained" the same for all."""
        if method == PRETRAINED:
            return [np.asarray(self.start[metric], float)] * max(len(runs) for runs in self.runs.values())
        return [np.asarray(run.measured[metric], float) for run in self.runs[method]]

    def value(self, method: str, metric: str) -> Interval:
        """Return the mean of a metric over the seeds of a method, or its value before training for "pretrained"."""
        return interval_over_seeds(self.measured(method, metric))

    def difference(self, method: str, reference: str, metric: str) -> Interval:
        """Return the value of `method` minus that of `reference`, paired by seeds and bootstrap draws."""
        pairs = zip(self.measured(method, metric), self.measured(reference, metric), strict=True)
        return interval_over_seeds([a - b for a, b in pairs])

    def verdict(self, method: str = REJECTION, metric: str | None = None) -> str:
        """Describe the differences of `method` from all other methods, and name each other metric where it is worse.

        Args:
            method: Name of a method.
            metric: The metric to describe; by default the headline.
        """
        metric = metric or self.metrics[0]
        others = [PRETRAINED, *(name for name in self.runs if name != method)]
        words = [in_words(self.difference(method, other, metric), other) for other in others]
        lost = [
            f" {name}: {in_words(change, other)}."
            for name in self.metrics
            for other in others
            if name != metric and judge(change := self.difference(method, other, name)) is Difference.WORSE
        ]
        return f"{metric} of {method}: {'; '.join(words)}.{''.join(lost)}"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary, without the bootstrap draws."""
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
            **({"verdict": self.verdict()} if REJECTION in self.runs else {}),
        }


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
    """Train a model with each method at its best learning rate, and compare the results.

    Each method is first trained with every learning rate and seed 0. The learning rate with the best validation score
    is then used for the other seeds. All methods get the same number of samples, unless a method has its own number of
    steps, and the same seeds and learning rates.

    Args:
        train: Function (batches, learning_rate, seed) -> trained model. It must start from the pretrained weights on
            every call, and weight the loss of each item if a batch has weights.
        measure: Function model -> metric -> value, or (1 + B,) value and bootstrap draws. The draws must be the same
            for every model, so that differences are paired. The first metric is the headline; higher is better.
        methods: name -> method that draws the batches, see `alternatives`.
        start: The model before training, which is passed to `measure`.
        steps: Number of batches in a training.
        batch_size: Number of items in a batch.
        learning_rates: Learning rates to select from, at least one.
        validate: Function model -> score, higher is better, on data that `measure` does not use. Required for more than
            one learning rate.
        seeds: Number of trainings of each method. Their seeds are 0, 1, ..., `seeds` - 1.
        out: Folder for the results of every training; None writes nothing. Trainings that are already in the folder are
            not repeated, whether they come from an interrupted comparison or from one with fewer methods, learning
            rates or seeds. `comparison.json` is written last.
        config: Further settings that affect the results. They are saved in `out`, which refuses a comparison with other
            settings.
        workers: Number of processes that train at the same time. The functions are sent to them by cloudpickle.
        on_run: Callback that receives (done, total), the numbers of finished and of all trainings.

    Returns:
        The results of all methods.

    Raises:
        ValueError: If there is no method or no learning rate, or several and no `validate`, or a number is below 1.
        InputError: If `out` holds a comparison with other settings.
    """
    if min(steps, batch_size, seeds, workers) < 1 or not methods:
        raise ValueError(
            "`compare` needs a method, and steps, batch_size, seeds and workers of at least 1, got "
            f"{len(methods)} methods, {steps}, {batch_size}, {seeds}, {workers}."
        )
    if not learning_rates or (len(learning_rates) > 1 and validate is None):
        raise ValueError(
            f"`compare(learning_rates=...)` got {len(learning_rates)}: give at least one, and `validate` to select "
            "among several by data that `measure` does not use."
        )
    settings = {"steps": steps, "batch_size": batch_size, **(config or {})}
    with ExitStack() as stack:
        store = None if out is None else stack.enter_context(_opened(Path(out), settings))
        return _compare(
            train,
            measure,
            methods,
            start=start,
            steps=steps,
            batch_size=batch_size,
            learning_rates=learning_rates,
            validate=validate,
            seeds=seeds,
            store=store,
            workers=workers,
            on_run=on_run,
        )


def _compare(
    train: Train,
    measure: Measure,
    methods: Mapping[str, Method],
    *,
    start: Any,
    steps: int,
    batch_size: int,
    learning_rates: Sequence[float],
    validate: Validate | None,
    seeds: int,
    store: "_Store | None",
    workers: int,
    on_run: Callable[[int, int], None],
) -> Comparison:
    """Run the trainings of `compare` that are not in the store."""

    def run(method: str, learning_rate: float, seed: int) -> Trained:
        """Train, validate and measure one model."""
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
        """Read the stored trainings among `jobs` and run the others."""
        found = {job: store.read(*job) for job in jobs} if store else {}
        samples = {name: method.steps_of(steps) * batch_size for name, method in methods.items()}
        done.update({job: known for job, known in found.items() if known and known.samples == samples[job[0]]})
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
    """Return the validation score, or -inf if it is NaN or None, so that a failed training is never the best."""
    return -np.inf if run.validation is None or np.isnan(run.validation) else run.validation


def _listed(measured: Mapping[str, float | np.ndarray]) -> dict[str, list[float]]:
    """Convert the value or values of each metric to a list."""
    return {metric: np.atleast_1d(np.asarray(values, float)).tolist() for metric, values in measured.items()}


@contextmanager
def _opened(folder: Path, settings: Mapping[str, Any]) -> Iterator["_Store"]:
    """Yield the store of a comparison, which no other process may write meanwhile."""
    runs = adding_to(folder) / RUNS_FOLDER
    with locked(runs):
        runs.mkdir(exist_ok=True)
        yield _Store(folder, settings)


class _Store:
    """Folder with the results of every training, one file each. Files are written atomically."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._folder, path = folder, folder / CONFIG_FILE
        settings = json.loads(json.dumps(settings))
        if path.exists():
            there = read_json(path, dict[str, Any], COMPARISON)
            changed = [name for name in {**there, **settings} if there.get(name) != settings.get(name)]
            if changed:
                name = changed[0]
                raise InputError(
                    f"'{folder}' holds a comparison with other settings, {name}: {there.get(name)}, now "
                    f"{settings.get(name)}. Choose another folder, or remove this one."
                )
        _write(path, settings)

    def read(self, method: str, learning_rate: float, seed: int) -> Trained | None:
        """Return a stored training, or None."""
        path = self._path(method, learning_rate, seed)
        return read_json(path, Trained, "a training of a comparison") if path.exists() else None

    def write(self, run: Trained) -> None:
        """Store a training."""
        _write(self._path(run.method, run.learning_rate, run.seed), asdict(run))

    def finish(self, comparison: Comparison) -> None:
        """Store the summary of the comparison."""
        _write(self._folder / RESULT_FILE, comparison.to_dict())

    def _path(self, method: str, learning_rate: float, seed: int) -> Path:
        """Return the file of a training."""
        return self._folder / RUNS_FOLDER / f"{method.replace(' ', '-')}_{learning_rate:g}_{seed}.json"


def _write(path: Path, value: Any) -> None:
    """Write JSON to a temporary file, then rename it."""
    replace_file(path, json.dumps(value).encode())
