"""A pool, looked at once: what can be told of every item, what it holds, how hard it is."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rsft.errors import InputError
from rsft.tasks.protocol import Task


@dataclass(frozen=True)
class Description:
    """Rows for the N items of a pool, in its order.

    Attributes:
        covariates: name -> (N,).
        memberships: table -> (N, K) counts, for `rsft.membership_ratio`; none where the task has none.
        scores: (N,) under the model; None without one.
    """

    covariates: dict[str, Tensor]
    memberships: dict[str, Tensor]
    scores: Tensor | None

    def table(self) -> Tensor:
        """(N, F): the covariates side by side, as features for `rsft.plan`."""
        return torch.stack(list(self.covariates.values()), 1)


def describe(task: Task, pool: Any, model: nn.Module | None = None, *, batch_size: int = 64) -> Description:
    """Pass over a pool once, in its order.

    Args:
        task: tells how.
        pool: a data set with a length and an index, of (input, target) items.
        model: for scores; it is put into evaluation mode and left there.
        batch_size: of a pass.

    Raises:
        TypeError: the pool is a stream.
        InputError: the pool is empty, or an item cannot be used; the message names it.
    """
    check_indexed(pool, "describe")
    covariates, memberships = defaultdict(list), defaultdict(list)
    scores = []
    for start in range(0, len(pool), batch_size):
        items = [pool[index] for index in range(start, min(start + batch_size, len(pool)))]
        try:
            inputs, targets = task.collate(items)
            told = task.covariates([item[0] for item in items])
        except ValueError as error:
            raise InputError(f"items {start} to {start + len(items) - 1} of the pool: {error}") from error
        for name, values in told.items():
            covariates[name].append(values)
        for name, counts in getattr(task, "memberships", lambda targets: {})(targets).items():
            memberships[name].append(counts)
        if model is not None:
            with torch.no_grad():
                scores.append(task.score(model.eval()(inputs), targets))
    return Description(_joined(covariates), _joined(memberships), torch.cat(scores) if model is not None else None)


def check_indexed(pool: Any, call: str) -> None:
    """Raise unless a pool has a length, an index and an item."""
    if not (hasattr(pool, "__len__") and hasattr(pool, "__getitem__")):
        raise TypeError(
            f"`{call}` needs a data set with a length and an index, got {type(pool).__name__}: of a stream, compute "
            "acceptance item by item and give it to `rsft.RejectionStream`."
        )
    if not len(pool):
        raise InputError(f"`{call}` got a data set without an item.")


def _joined(columns: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat(parts) for name, parts in columns.items()}


def unlabelled(task: Task, inputs: Sequence[Any]) -> Tensor:
    """(K, F): the covariates of target inputs without labels, side by side, to go with `Description.table`."""
    return torch.stack(list(task.covariates(inputs).values()), 1)
