"""One pass over a pool that collects covariates, memberships and scores of its items."""

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
    """Values of the N items of a pool, in the order of the pool.

    Attributes:
        covariates: Name -> (N,) values from `Task.covariates`.
        memberships: Table -> (N, K) counts of classes, for `rsft.membership_ratio`; empty if the task has none.
        scores: (N,) losses of the items under the model; None if no model was given.
    """

    covariates: dict[str, Tensor]
    memberships: dict[str, Tensor]
    scores: Tensor | None

    def table(self) -> Tensor:
        """Return the F covariates side by side, (N, F), as features for `rsft.plan`."""
        return torch.stack(list(self.covariates.values()), 1)


def describe(task: Task, pool: Any, model: nn.Module | None = None, *, batch_size: int = 64) -> Description:
    """Collect covariates, memberships and scores in one pass over a pool.

    Args:
        task: The task of the items.
        pool: Data set of (input, target) items, with a length and an index.
        model: Model for the scores. It is put into evaluation mode and left there. Without a model no scores are
            computed.
        batch_size: Number of items per batch.

    Raises:
        TypeError: The pool is a stream, without a length or an index.
        InputError: The pool is empty, or an item cannot be used. The message gives the batch and the item in it.
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
    """Raise an error if a data set has no length, no index or no items.

    Args:
        pool: The data set.
        call: Name of the calling function, for the message.

    Raises:
        TypeError: The data set has no length or no index.
        InputError: The data set is empty.
    """
    if not (hasattr(pool, "__len__") and hasattr(pool, "__getitem__")):
        raise TypeError(
            f"`{call}` needs a data set with a length and an index, got {type(pool).__name__}: for a stream, "
            "compute the acceptance of each item and pass it to `rsft.RejectionStream`."
        )
    if not len(pool):
        raise InputError(f"`{call}` needs at least one item, got an empty data set.")


def _joined(columns: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    """Concatenate the batches of each column."""
    return {name: torch.cat(parts) for name, parts in columns.items()}


def unlabelled(task: Task, inputs: Sequence[Any]) -> Tensor:
    """Compute features of unlabelled target inputs that match those of `Description.table`.

    Args:
        task: The task of the inputs.
        inputs: K inputs, as they are in items of the task.

    Returns:
        (K, F), the covariates side by side.
    """
    return torch.stack(list(task.covariates(inputs).values()), 1)
