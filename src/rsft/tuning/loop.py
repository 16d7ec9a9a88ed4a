"""The training loop: batches of accepted samples in, a tuned model and its history out."""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from rsft.errors import DivergedError, LowAcceptanceError
from rsft.tuning.freezing import evaluating, set_training_mode
from rsft.tuning.stopping import Stopping

MAX_BAD_STEPS = 5
WARMUP_STEPS = 100  # in place of the number of steps, where that has no limit

Loss = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class TuningResult:
    """What a call of `fine_tune` did.

    Attributes:
        steps: optimiser steps taken.
        epochs: passes over the batches that were completed.
        accepted: samples trained on.
        seconds: wall time.
        stopped_by: the condition of `Stopping` that ended it.
        skipped: steps left out because the loss or the gradient was not finite.
        best_step: the step whose weights the model has; the last one without validation.
        history: a record of every step ("step", "epoch", "loss", "learning_rate") and validation ("step", "score").
    """

    steps: int
    epochs: int
    accepted: int
    seconds: float
    stopped_by: str
    skipped: int
    best_step: int
    history: list[dict[str, float]] = field(repr=False)


def fine_tune(
    model: nn.Module,
    batches: Iterable[tuple[Any, Any]],
    loss: Loss,
    *,
    stop: Stopping,
    learning_rate: float = 3e-5,
    weight_decay: float = 0.0,
    warmup_fraction: float = 0.1,
    clip_norm: float = 5.0,
    optimizer: torch.optim.Optimizer | None = None,
    validate: Callable[[nn.Module], float] | None = None,
    validate_every: int = 50,
    on_step: Callable[[dict[str, float]], None] = lambda record: None,
) -> TuningResult:
    """Train the parameters that require a gradient, in place, until a stopping condition.

    Frozen modules and normalisation layers stay in evaluation mode. The learning rate warms up linearly and falls as a
    cosine over `stop.steps`; without that limit it stays constant.

    Args:
        model: what is trained.
        batches: (inputs, targets) pairs; passed over again each epoch. Where it, its `sampler` or its `batch_sampler`
            has `set_epoch`, that is called first, so a `RejectionSampler` draws anew.
        loss: (model(inputs), targets) -> scalar; the parameters of a loss that is a module are trained too.
        stop: when to end.
        learning_rate: of the default optimiser, AdamW.
        weight_decay: likewise.
        warmup_fraction: share of `stop.steps`, or of 100 steps, in which the learning rate rises, in [0, 1].
        clip_norm: largest norm of the gradient, the model's and the loss's each.
        optimizer: one to use instead; its learning rates are scaled by the schedule.
        validate: a score of the model, higher is better; the best weights seen, those at the start included, are kept.
        validate_every: steps between validations.
        on_step: is called with every record of the history.

    Raises:
        ValueError: nothing trains, or `stop.patience` stands without `validate`.
        LowAcceptanceError: an epoch has no batch.
        DivergedError: the loss was not finite five steps in a row.

    >>> model = nn.Linear(2, 1)
    >>> batches = [(torch.randn(8, 2), torch.zeros(8, 1))]
    >>> fine_tune(model, batches, nn.functional.mse_loss, stop=Stopping(epochs=3)).stopped_by
    'epochs'
    """
    groups = [
        [p for p in part.parameters() if p.requires_grad] for part in (model, loss) if isinstance(part, nn.Module)
    ]
    if not any(groups):
        raise ValueError("`fine_tune(model=...)` has no parameter that requires a gradient: unfreeze some layers.")
    if stop.patience is not None and validate is None:
        raise ValueError("`fine_tune(stop=...)` with patience needs `validate=...`.")
    if optimizer is None:
        optimizer = torch.optim.AdamW(itertools.chain(*groups), learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _schedule(stop.steps, warmup_fraction))
    history: list[dict[str, float]] = []

    def note(**record: float) -> None:
        history.append(record)
        on_step(record)

    best = _Best(model, loss, validate, note)
    set_training_mode(model)
    started = time.monotonic()
    step = epoch = accepted = skipped = bad_in_a_row = 0
    stopped_by: str | None = "epochs"
    for epoch, inputs, targets in _epochs(batches, stop.epochs):
        value = loss(model(inputs), targets)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        norms = [nn.utils.clip_grad_norm_(group, clip_norm) for group in groups]
        step, accepted = step + 1, accepted + _batch_size(inputs)
        if torch.stack([value.detach(), *norms]).isfinite().all():
            bad_in_a_row = 0
        else:
            optimizer.zero_grad(set_to_none=True)  # the step below then changes nothing
            bad_in_a_row, skipped = bad_in_a_row + 1, skipped + 1
            if bad_in_a_row == MAX_BAD_STEPS:
                raise DivergedError(
                    f"the loss was not finite in {MAX_BAD_STEPS} steps in a row, the last one step {step}: lower the "
                    f"learning rate (now {schedule.get_last_lr()[0]:g}) or look at the data of these batches."
                )
        optimizer.step()
        note(step=step, epoch=epoch, loss=value.item(), learning_rate=float(schedule.get_last_lr()[0]))
        schedule.step()
        if step % validate_every == 0:
            best.look(step)
        seconds = time.monotonic() - started
        stopped_by = stop.reached(steps=step, accepted=accepted, seconds=seconds, stale=best.stale)
        if stopped_by:
            break
    best.look(step)
    model.eval()
    return TuningResult(
        steps=step,
        epochs=epoch + (stopped_by is None),
        accepted=accepted,
        seconds=time.monotonic() - started,
        stopped_by=stopped_by or "epochs",
        skipped=skipped,
        best_step=best.restore(),
        history=history,
    )


class _Best:
    """Keeps the weights with the best score; without a score, the latest."""

    def __init__(
        self, model: nn.Module, loss: Loss, validate: Callable[[nn.Module], float] | None, note: Callable[..., None]
    ) -> None:
        self._parts = [part for part in (model, loss) if isinstance(part, nn.Module)]
        self._model, self._validate, self._note = model, validate, note
        self._score, self._step, self._last = -math.inf, 0, -1
        self._weights: list[dict[str, Tensor]] = []
        self.stale = 0
        self.look(0)

    def look(self, step: int) -> None:
        """Score the weights after `step`, once, and remember them if they are better than any before."""
        if self._validate is None:
            self._step = step
            return
        if step == self._last:
            return
        with evaluating(self._model):
            score = self._validate(self._model)
        self._note(step=step, score=score)
        self._last, self.stale = step, self.stale + 1
        if score > self._score:
            self._score, self._step, self.stale = score, step, 0
            self._weights = [deepcopy(part.state_dict()) for part in self._parts]

    def restore(self) -> int:
        """Put the best weights back; returns their step."""
        for part, weights in zip(self._parts, self._weights, strict=False):
            part.load_state_dict(weights)
        return self._step


def _epochs(batches: Iterable[tuple[Any, Any]], epochs: int | None) -> Iterator[tuple[int, Any, Any]]:
    """(epoch, inputs, targets) of pass after pass."""
    for epoch in itertools.count() if epochs is None else range(epochs):
        for owner in (batches, getattr(batches, "sampler", None), getattr(batches, "batch_sampler", None)):
            getattr(owner, "set_epoch", lambda epoch: None)(epoch)
        empty = True
        for inputs, targets in batches:
            empty = False
            yield epoch, inputs, targets
        if empty:
            raise LowAcceptanceError(
                f"epoch {epoch} has no batch of accepted samples: lower the envelope (`rate=` or `max_tv=`), raise "
                "`retain_fraction`, or use smaller batches."
            )


def _schedule(steps: int | None, warmup_fraction: float) -> Callable[[int], float]:
    """Factor of the learning rate at each step: linear warm-up, then a cosine to 0 at `steps`, or constant."""
    warmup = max(1, round(warmup_fraction * (steps or WARMUP_STEPS)))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if steps is None:
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))

    return factor


def _batch_size(inputs: Any) -> int:
    return len(inputs if isinstance(inputs, Tensor) else next(iter(inputs)))
