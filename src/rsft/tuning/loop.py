"""fine_tune: trains a model in place on batches of accepted samples."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rsft.tuning.checkpoint import Checkpoints
from rsft.tuning.epochs import Epochs
from rsft.tuning.objective import Loss, Objective, Penalty, default_accelerator
from rsft.tuning.schedule import parameter_groups, warmup_cosine
from rsft.tuning.stopping import Interruption, Stopping
from rsft.tuning.trainer import Trainer, Updates

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class TuningResult:
    """Result of `fine_tune`, including the part before a resume.

    Attributes:
        steps: Number of optimiser steps, including the skipped ones.
        epochs: Number of completed epochs.
        accepted: Number of samples trained on, summed over all processes.
        seconds: Wall time in seconds.
        stopped_by: Name of the `Stopping` condition or of the signal that ended the training; "signal elsewhere" if
            another process received the signal.
        skipped: Number of steps that were skipped because the loss or the gradient was not finite.
        best_step: Step whose weights the model has; the last step without validation.
        history: A record of every step ("step", "epoch", "loss", "learning_rate") and validation ("step", "score").
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
    """Train the parameters that require a gradient, in place, until a stopping condition is met.

    Frozen modules and normalisation layers stay in evaluation mode. The learning rate rises linearly and then follows a
    cosine to 0 at `stop.steps`; without that limit it stays constant after the warm-up.

    Under `torchrun` or `accelerate launch`, every process passes its own part of each batch, such as that of a
    `RejectionSampler`. The parts must have the same number and size in all processes. The batches are used as they are
    and are not sharded again.

    Args:
        model: Model to train. It is moved to the device of `accelerator`, and back at the end.
        batches: (inputs, targets) pairs, or triples with the ids of their items; iterated once per epoch. If it, its
            `sampler` or its `batch_sampler` has `set_epoch`, that is called first, so a `RejectionSampler` draws anew.
        loss: Function (model(inputs), targets) -> scalar. If it is a module, its parameters are trained too.
        stop: Conditions that end the training.
        learning_rate: Peak learning rate of the default optimiser, AdamW; or a mapping from prefixes of parameter names
            to rates, such as `{"": 3e-5, "loss": 1e-3}`. The names of the loss's parameters begin with "loss.".
        weight_decay: Weight decay of the default optimiser.
        warmup_fraction: Share of `stop.steps`, or of 100 steps without that limit, in which the learning rate rises, in
            [0, 1].
        clip_norm: Largest norm of the gradient. The model and the loss are clipped separately.
        optimizer: Optimiser to use instead of AdamW; the schedule scales its learning rates.
        penalties: Functions (model, inputs, outputs) -> scalar that are added to the loss; see `rsft.tuning.penalties`.
        validate: Function model -> score, higher is better. The best weights, including those at the start, are kept.
            Every process calls it and must get the same score.
        validate_every: Number of steps between validations.
        channels_last: If True, use the channels-last memory format for model and pictures, which suits convolutions.
        accelerator: `accelerate.Accelerator` for mixed precision, gradient accumulation, compilation or trackers; the
            default one uses none of them. Gradients are accumulated over consecutive batches; an incomplete group at
            the very end is not trained on.
        checkpoints: Where to save and to continue from. With it, SIGINT and SIGTERM end the training after the step.
        on_step: Callback that receives every record of the history; after a resume, first those of the earlier part.

    Returns:
        Counts, time, history and the reason for stopping. The model is in evaluation mode and has the best weights.

    Raises:
        ValueError: If no parameter requires a gradient, `stop.patience` or `stop.score` is set without `validate`, or
            `learning_rate` does not match the names.
        InputError: If a checkpoint does not fit; the message names the difference.
        LowAcceptanceError: If an epoch has no batch.
        DivergedError: If the loss or gradient was not finite in five steps in a row; the message names items of these
            batches.

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
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_cosine(stop.steps, warmup_fraction))
    trainer = Trainer(
        objective,
        Updates(optimizer, schedule, clip_norm, channels_last),
        accelerator,
        Epochs(batches, stop.epochs),
        stop=stop,
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
        stopped_by = trainer.train(validate_every)
    else:
        with Interruption() as interruption:
            stopped_by = trainer.train(validate_every, checkpoints, config, interruption)
    best_step = trainer.best.restore(trainer.progress.step)
    objective.to(origin)
    model.eval()
    return TuningResult(
        steps=trainer.progress.step,
        epochs=trainer.epochs.epoch,
        accepted=trainer.progress.accepted,
        seconds=trainer.progress.seconds,
        stopped_by=stopped_by,
        skipped=trainer.progress.skipped,
        best_step=best_step,
        history=trainer.history,
    )
