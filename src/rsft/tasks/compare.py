"""Adapters from a task to `rsft.compare`: training on given batches, and evaluation with bootstrap draws."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rsft.baselines import Batches
from rsft.tasks.describe import check_indexed
from rsft.tasks.protocol import Task
from rsft.tuning.loop import fine_tune
from rsft.tuning.stopping import Stopping

DRAWS = 200


def trainer(task: Task, model: nn.Module, pool: Any, **options: Any) -> Callable[[Batches, float, int], nn.Module]:
    """Make the function that `rsft.compare(train=...)` takes.

    The function receives batches of item indices with optional weights, a learning rate and a seed. It fine-tunes a
    copy of the model for one step per batch and returns the copy. The loss is `task.loss`, or the mean of the weighted
    `task.score` if the batches have weights.

    Args:
        task: The task; its `collate`, `loss` and `score` are used.
        model: Pretrained model; it is not changed.
        pool: Data set of (input, target) items that the indices refer to, with a length and an index.
        **options: Further arguments of `rsft.fine_tune`.

    Raises:
        TypeError: The pool is a stream, without a length or an index.
        InputError: The pool is empty.
    """
    check_indexed(pool, "trainer")
    return _Training(task, model, pool, options)


@dataclass(frozen=True)
class _Training:
    """The function that `trainer` makes; it can be pickled if its parts can."""

    task: Task
    model: nn.Module
    pool: Any
    options: dict[str, Any]

    def __call__(self, batches: Batches, learning_rate: float, seed: int) -> nn.Module:
        tuned, stop = deepcopy(self.model), Stopping(steps=len(batches))
        collated = _Collated(self.task, self.pool, batches)
        with torch.random.fork_rng():
            torch.manual_seed(seed)  # seeds dropout and similar layers
            fine_tune(tuned, collated, self._loss, stop=stop, learning_rate=learning_rate, **self.options)
        return tuned

    def _loss(self, outputs: Any, targets: tuple[Any, Tensor | None]) -> Tensor:
        truth, weights = targets
        if weights is None:
            return self.task.loss(outputs, truth)
        return (self.task.score(outputs, truth) * weights).mean()


class _Collated:
    """The batches of the pool's items that batches of item indices name."""

    def __init__(self, task: Task, pool: Any, batches: Batches) -> None:
        self._task, self._pool, self._batches = task, pool, batches

    def __iter__(self) -> Iterator[tuple[Any, tuple[Any, Tensor | None]]]:
        for numbers, weights in self._batches:
            inputs, targets = self._task.collate([self._pool[number] for number in numbers.tolist()])
            yield inputs, (targets, weights)


@torch.no_grad()
def evaluate(
    task: Task, model: nn.Module, data: Any, *, batch_size: int = 64, draws: int = DRAWS, seed: int = 0
) -> dict[str, np.ndarray]:
    """Compute the metrics of a task on a data set, with bootstrap draws over its items.

    The result has the form that `rsft.compare(measure=...)` takes. The draws depend only on the seed and the number of
    items, so they are the same for every model.

    Args:
        task: The task; its `collate` and `metric` are used.
        model: The model. It is put into evaluation mode and left there.
        data: Data set of N (input, target) items, with a length and an index.
        batch_size: Number of items per forward pass.
        draws: Number of bootstrap draws, each of N items with replacement; 0 computes no draws.
        seed: Seed for the bootstrap.

    Returns:
        Metric -> (1 + draws,) values: the value on the data set, then those on the draws.

    Raises:
        TypeError: The data set is a stream, without a length or an index.
        InputError: The data set is empty.
    """
    check_indexed(data, "evaluate")
    outputs, truth = [], []
    for start in range(0, len(data), batch_size):
        items = [data[index] for index in range(start, min(start + batch_size, len(data)))]
        inputs, targets = task.collate(items)
        outputs += list(model.eval()(inputs))
        truth += list(targets)
    generator = np.random.default_rng(seed)
    rows = [np.arange(len(data)), *(generator.integers(len(data), size=len(data)) for _ in range(draws))]
    figures = [task.metric([outputs[row] for row in drawn], [truth[row] for row in drawn]) for drawn in rows]
    return {name: np.array([figure[name] for figure in figures]) for name in figures[0]}
