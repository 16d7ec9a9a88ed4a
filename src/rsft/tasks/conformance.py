"""A check that a class follows the protocol `rsft.tasks.protocol.Task`, on a few items and a model."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rsft.errors import RsftError
from rsft.tasks.protocol import Task

RELATIVE, ABSOLUTE = 1e-3, 1e-4  # tolerances


class NotATaskError(RsftError):
    """A task violates the protocol; the message names the method and what it returned."""


def check(task: Any, model: nn.Module, items: Sequence[tuple[Any, Any]]) -> None:
    """Check that a task follows the protocol `Task` on some items.

    The function checks that

    - the task has every method, and each returns the required shapes;
    - the score and the covariates of an item do not depend on the other items of its batch, so that each item can be
      accepted or rejected on its own;
    - the loss has a gradient with respect to the model;
    - the metric does not depend on the order of the items;
    - no method changes the items or the global random state.

    Args:
        task: The task to check.
        model: A model in any state. It is put into evaluation mode and left there. In this mode, its output for an item
            must not depend on the other items of the batch.
        items: At least 3 (input, target) pairs. They need equal sizes if padding changes the outputs of the model.

    Raises:
        NotATaskError: The task violates the protocol.
        ValueError: There are fewer than 3 items.
    """
    if len(items) < 3:
        raise ValueError(f"`check(items=...)` needs at least 3 items, got {len(items)}.")
    if not isinstance(task, Task):
        needed = ("collate", "covariates", "score", "loss", "metric")
        raise NotATaskError(f"{type(task).__name__} has no {', '.join(n for n in needed if not hasattr(task, n))}.")
    before, state = _copied(items), torch.get_rng_state()
    model.eval()
    inputs, targets = task.collate(items)
    outputs = model(inputs)
    _check_scores(task, model, items, outputs, targets)
    _check_loss(task.loss(outputs, targets), model)
    _check_covariates(task, items)
    _check_memberships(task, items, targets)
    _check_metric(task, list(outputs), list(targets), len(items))
    if not _same(before, items):
        raise NotATaskError("a method changes the items that it receives: work on copies.")
    if not torch.equal(state, torch.get_rng_state()):
        raise NotATaskError("a method changes the global random state: use a generator of its own.")


def _check_scores(task: Task, model: nn.Module, items: Sequence[Any], outputs: Any, targets: Any) -> None:
    """Check the shape of the scores, and that each item has the same score alone in a batch."""
    scores = task.score(outputs, targets)
    if not isinstance(scores, Tensor) or scores.shape != (len(items),) or not torch.isfinite(scores).all():
        raise NotATaskError(f"`score` must return ({len(items)},) finite numbers, one per item, got {_told(scores)}.")
    alone = []
    for item in items:
        one, truth = task.collate([item])
        alone.append(task.score(model(one), truth))
    if not _close(torch.cat(alone), scores):
        raise NotATaskError(
            "`score` of an item differs when it is alone in its batch: it must use only its own output and target "
            "(do not average over the batch, and normalise within the item)."
        )


def _check_loss(loss: Any, model: nn.Module) -> None:
    """Check that the loss is a finite scalar with a gradient."""
    if not isinstance(loss, Tensor) or loss.shape != () or not torch.isfinite(loss):
        raise NotATaskError(f"`loss` must return one finite number, got {_told(loss)}.")
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, trained, allow_unused=True) if loss.requires_grad else ()
    if not any(gradient is not None and gradient.any() for gradient in gradients):
        raise NotATaskError("`loss` has no gradient with respect to the model: do not detach, round or use argmax.")


def _check_covariates(task: Task, items: Sequence[Any]) -> None:
    """Check the shapes of the covariates, and that those of an item do not depend on the other items."""
    inputs = [item[0] for item in items]
    together = task.covariates(inputs)
    for name, values in together.items():
        if values.shape != (len(items),) or not torch.isfinite(values).all():
            raise NotATaskError(
                f"`covariates` must return ({len(items)},) finite numbers as '{name}', got {_told(values)}."
            )
        alone = torch.cat([task.covariates([one])[name] for one in inputs])
        if not _close(alone.double(), values.double()):
            raise NotATaskError(f"`covariates` '{name}' of an input depends on the other inputs: compute it per input.")


def _check_memberships(task: Task, items: Sequence[Any], targets: Any) -> None:
    """Check the shapes of the memberships, if the task has any."""
    if not hasattr(task, "memberships"):
        return
    for name, counts in task.memberships(targets).items():
        if counts.ndim != 2 or len(counts) != len(items) or not (counts >= 0).all() or counts.isinf().any():
            raise NotATaskError(f"`memberships` must return ({len(items)}, K) counts as '{name}', got {_told(counts)}.")


def _check_metric(task: Task, outputs: list[Any], targets: list[Any], items: int) -> None:
    """Check that the metric returns floats and does not depend on the order of the items."""
    if len(outputs) != items or len(targets) != items:
        raise NotATaskError(
            f"outputs and targets must be sequences over {items} items, got {len(outputs)} and {len(targets)}: "
            "`metric` receives one entry per item."
        )
    with torch.no_grad():
        found, turned = task.metric(outputs, targets), task.metric(outputs[::-1], targets[::-1])
    if not isinstance(found, Mapping) or not found or not all(isinstance(value, float) for value in found.values()):
        raise NotATaskError(f"`metric` must return names and floats, got {found}.")
    for name, value in found.items():
        if not _close(torch.tensor(value), torch.tensor(turned[name])):
            raise NotATaskError(f"`metric` '{name}' depends on the items' order: {value} and {turned[name]}.")


def _close(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors agree within the tolerances; NaN agrees with NaN."""
    return torch.allclose(a, b, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)


def _told(value: Any) -> str:
    """Describe a value for a message: the shape and type of a tensor, the type of anything else."""
    return f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else type(value).__name__


def _copied(value: Any) -> Any:
    """Copy nested tensors, dictionaries, lists and tuples; tuples become lists."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list | tuple) else value


def _same(a: Any, b: Any) -> bool:
    """Return whether a copy from `_copied` still equals its original."""
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return all(map(_same, a, b)) if isinstance(a, list) else bool(a == b)
