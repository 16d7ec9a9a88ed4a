"""A task in `rsft.compare`: how to train by given batches, and what came of it, with its uncertainty."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rsft.compare import Batches
from rsft.tasks.describe import check_indexed
from rsft.tasks.protocol import Task
from rsft.tuning.loop import fine_tune
from rsft.tuning.stopping import Stopping

DRAWS = 200


def trainer(task: Task, model: nn.Module, pool: Any, **options: Any) -> Callable[[Batches, float, int], nn.Module]:
    """What `rsft.compare(train=...)` takes: a copy of the model is tuned on the batches, each item's score weighted.

    Args:
        task: its `collate` and `score`.
        model: pretrained; it is not changed.
        pool: the data set that the batches' numbers stand for.
        **options: of `rsft.fine_tune`.

    Raises:
        TypeError: the pool is a stream.
    """
    check_indexed(pool, "trainer")

    def loss(outputs: Any, targets: tuple[Any, Tensor | None]) -> Tensor:
        truth, weights = targets
        if weights is None:
            return task.loss(outputs, truth)
        return (task.score(outputs, truth) * weights).mean()

    def train(batches: Batches, learning_rate: float, seed: int) -> nn.Module:
        tuned, stop = deepcopy(model), Stopping(steps=len(batches))
        with torch.random.fork_rng():
            torch.manual_seed(seed)  # of dropout and the like
            fine_tune(tuned, _Collated(task, pool, batches), loss, stop=stop, learning_rate=learning_rate, **options)
        return tuned

    return train


class _Collated:
    """Batches of numbers -> batches of items."""

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
    """The task's metric on a data set: metric -> (1 + draws,), what `rsft.compare(measure=...)` takes.

    The first is the figure, the others are those of as many items drawn with replacement: the same for every model.

    Args:
        task: its `collate` and `metric`.
        model: it is put into evaluation mode and left there.
        data: a data set with a length and an index.
        batch_size: of a pass.
        draws: of the bootstrap; 0 for the figure alone.
        seed: of the draws.

    Raises:
        TypeError: the data are a stream.
        InputError: they are empty.
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
