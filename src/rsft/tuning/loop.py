"""The training loop: batches of accepted samples in, a tuned model and its history out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rsft.tuning.checkpoint import Checkpoints
from rsft.tuning.engine import Loss, Objective, Penalty, default_accelerator
from rsft.tuning.passes import Passes
from rsft.tuning.run import Run
from rsft.tuning.schedule import parameter_groups, warmup_cosine
from rsft.tuning.stopping import Interruption, Stopping

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class TuningResult:
    """What a call of `fine_tune` did, what came before a resume included.

    Attributes:
        steps: optimiser steps taken.
        epochs: passes over the batches that were completed.
        accepted: samples trained on, by all processes together.
        seconds: wall time.
        stopped_by: the condition of `Stopping` that ended it, or the name of a signal.
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
    batches: Iterable[Sequence[Any]],
    loss: Loss,
    *,
    stop: Stopping,
    learning_rate: float | Mapping[str, float] = 3e-5,
    weight_decay: float = 0.0,
    warmup_fraction: float = 0.1,
    clip_norm: float = 5.0,
    optimizer: torch.optim.Optimizer | None = None,
    penalties: Sequence[Penalty] = (),
    validate: Callable[[nn.Module], float] | None = None,
    validate_every: int = 50,
    channels_last: bool = False,
    accelerator: "Accelerator | None" = None,
    checkpoints: Checkpoints | None = None,
    on_step: Callable[[dict[str, float]], None] = lambda record: None,
) -> TuningResult:
    """Train the parameters that require a gradient, in place, until a stopping condition.

    Frozen modules and normalisation layers stay in evaluation mode. The learning rate warms up linearly and falls as a
    cosine over `stop.steps`; without that limit it stays constant.

    Under `torchrun` or `accelerate launch`, every process gives its own part of each batch, such as that of a
    `RejectionSampler`; parts must be equally many and large. The batches are taken as they come, never sharded again.

    Args:
        model: what is trained. It is back on its device afterwards.
        batches: (inputs, targets) pairs, or triples with the ids of their items; passed over again each epoch. Where
            it, its `sampler` or its `batch_sampler` has `set_epoch`, that is called first, so a `RejectionSampler`
            draws anew.
        loss: (model(inputs), targets) -> scalar; the parameters of a loss that is a module are trained too.
        stop: when to end.
        learning_rate: of the default optimiser, AdamW; or a rate for each beginning of a parameter's name, those of
            the loss beginning with "loss.": `{"": 3e-5, "loss": 1e-3}`.
        weight_decay: likewise.
        warmup_fraction: share of `stop.steps`, or of 100 steps, in which the learning rate rises, in [0, 1].
        clip_norm: largest norm of the gradient, the model's and the loss's each.
        optimizer: one to use instead; its learning rates are scaled by the schedule.
        penalties: (model, inputs, outputs) -> scalar, each added to the loss; see `rsft.tuning.penalties`.
        validate: a score of the model, higher is better; the best weights seen, those at the start included, are kept.
            Every process calls it and must get the same.
        validate_every: steps between validations.
        channels_last: lay model and pictures out in that memory format, which convolutions prefer.
        accelerator: an `accelerate.Accelerator`, for mixed precision, accumulated gradients (of consecutive batches;
            a rest at the very end is left out), compilation or trackers; the plain one by default.
        checkpoints: where to save, and continue from. SIGINT and SIGTERM then end the training after the step.
        on_step: is called with every record of the history, on a resume first with those of the earlier part.

    Raises:
        ValueError: nothing trains, or `stop.patience` or `stop.score` stands without `validate`.
        InputError: a checkpoint does not fit; the message names the difference.
        LowAcceptanceError: an epoch has no batch.
        DivergedError: the loss was not finite five steps in a row; the message names items of these batches.

    >>> model = nn.Linear(2, 1)
    >>> batches = [(torch.randn(8, 2), torch.zeros(8, 1))]
    >>> fine_tune(model, batches, nn.functional.mse_loss, stop=Stopping(epochs=3)).stopped_by
    'epochs'
    """
    objective = Objective(model, loss, penalties)
    if not any(True for _ in objective.trained()):
        raise ValueError("`fine_tune(model=...)` has no parameter that requires a gradient: unfreeze some layers.")
    for name in ("patience", "score"):
        if getattr(stop, name) is not None and validate is None:
            raise ValueError(f"`fine_tune(stop=...)` with {name} needs `validate=...`.")
    accelerator = accelerator or default_accelerator()
    origin = next(objective.parameters()).device
    objective.to(accelerator.device)
    if channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if optimizer is None:
        groups = parameter_groups(objective.trained(), learning_rate)
        optimizer = torch.optim.AdamW(groups, weight_decay=weight_decay, fused=True)
    run = Run(
        objective,
        optimizer,
        accelerator,
        Passes(batches, stop.epochs),
        stop=stop,
        schedule=torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_cosine(stop.steps, warmup_fraction)),
        clip_norm=clip_norm,
        channels_last=channels_last,
        validate=validate,
        on_step=on_step,
    )
    config = {
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "warmup_fraction": warmup_fraction,
        "clip_norm": clip_norm,
        "steps of the schedule": stop.steps,
        "optimizer": type(optimizer).__name__,
        "trained parameters": sum(parameter.numel() for _, parameter in objective.trained()),
        "accumulated batches": accelerator.gradient_accumulation_steps,
        "precision": accelerator.mixed_precision,
    }
    if checkpoints is None:
        stopped_by = run.train(validate_every)
    else:
        with Interruption() as interruption:
            stopped_by = run.train(validate_every, checkpoints, config, interruption)
    best_step = run.best.restore(run.progress.step)
    objective.to(origin)
    model.eval()
    return TuningResult(
        steps=run.progress.step,
        epochs=run.passes.epoch,
        accepted=run.progress.accepted,
        seconds=run.progress.seconds,
        stopped_by=stopped_by,
        skipped=run.progress.skipped,
        best_step=best_step,
        history=run.history,
    )
