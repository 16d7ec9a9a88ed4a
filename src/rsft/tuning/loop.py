"""The training loop: batches of accepted samples in, a tuned model and its history out."""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rsft.errors import DivergedError
from rsft.tuning.checkpoint import Checkpoints, load_weights, restore_strides
from rsft.tuning.engine import Loss, Objective, Penalty, default_accelerator, to_device
from rsft.tuning.freezing import evaluating, set_training_mode
from rsft.tuning.passes import Passes
from rsft.tuning.random_state import random_state
from rsft.tuning.schedule import parameter_groups, warmup_cosine
from rsft.tuning.stopping import Interruption, Stopping

if TYPE_CHECKING:
    from accelerate import Accelerator

MAX_BAD_STEPS = 5
ITEMS_SHOWN = 10
TRACKER_PROJECT = "rsft"


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
    run = _Run(
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
    result = run.result(stopped_by)
    objective.to(origin)
    model.eval()
    return result


@dataclass
class _Progress:
    step: int = 0
    accepted: int = 0
    skipped: int = 0
    bad_in_a_row: int = 0
    seconds: float = 0.0


class _Run:
    """A training under way."""

    def __init__(
        self,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        accelerator: "Accelerator",
        passes: Passes,
        *,
        stop: Stopping,
        schedule: torch.optim.lr_scheduler.LambdaLR,
        clip_norm: float,
        channels_last: bool,
        validate: Callable[[nn.Module], float] | None,
        on_step: Callable[[dict[str, float]], None],
    ) -> None:
        self._objective, self._accelerator = objective, accelerator
        self._wrapped = accelerator.prepare_model(objective)
        self._optimizer = accelerator.prepare_optimizer(optimizer)
        self._schedule, self._passes, self._stop = schedule, passes, stop
        self._clip_norm, self._channels_last, self._on_step = clip_norm, channels_last, on_step
        trained = [[p for p in part.parameters() if p.requires_grad] for part in objective.parts().values()]
        self._trained = [group for group in trained if group]
        self._history: list[dict[str, float]] = []
        self._progress = _Progress()
        self._best = _Best(objective, validate, self._note)
        self._bad_items: list[Any] = []
        if accelerator.log_with and not accelerator.trackers:
            accelerator.init_trackers(TRACKER_PROJECT)

    def train(
        self,
        validate_every: int,
        checkpoints: Checkpoints | None = None,
        config: Mapping[str, Any] | None = None,
        interruption: Interruption | None = None,
    ) -> str:
        """Steps until something ends it; returns what."""
        config = config or {}
        state = checkpoints.load(config) if checkpoints else None
        if state:
            self._load(state)
        else:
            self._best.look(0)
        saved = self._progress.step if state else -1
        set_training_mode(self._objective.model)
        started, before = time.monotonic(), self._progress.seconds
        stopped_by = self._reached() if state else None
        steps = _grouped(self._passes, self._accelerator.gradient_accumulation_steps)
        while stopped_by is None:
            batches = next(steps, None)
            if batches is None:
                stopped_by = "epochs"
                break
            interrupted = self._step(batches, before + time.monotonic() - started, interruption)
            step = self._progress.step
            if step % validate_every == 0:
                self._best.look(step)
            stopped_by = interrupted or self._reached()
            if checkpoints and step % checkpoints.every == 0:
                self._save(checkpoints, config)
                saved = step
        if interruption is None or interruption.name is None:
            self._best.look(self._progress.step)
        if checkpoints and saved != self._progress.step:
            self._save(checkpoints, config)
        return stopped_by

    def _step(
        self, batches: Sequence[tuple[int, Sequence[Any]]], seconds: float, interruption: Interruption | None
    ) -> str | None:
        """One optimiser step on one or several batches; returns the signal that came meanwhile."""
        self._optimizer.zero_grad(set_to_none=True)
        value, samples = torch.zeros((), device=self._accelerator.device), 0
        for number, (_, batch) in enumerate(batches, 1):
            last = number == len(batches)
            inputs, targets = to_device(batch[:2], self._accelerator.device, channels_last=False)
            if self._channels_last:
                inputs = to_device(inputs, self._accelerator.device, channels_last=True)
            with nullcontext() if last else self._accelerator.no_sync(self._wrapped):
                part = self._wrapped(inputs, targets)
                self._accelerator.backward(part)
            value, samples = value + part.detach() / len(batches), samples + _batch_size(inputs)
        self._accelerator.unscale_gradients(self._optimizer)
        norms = [nn.utils.clip_grad_norm_(group, self._clip_norm) for group in self._trained]
        signals = float(interruption is not None and interruption.name is not None)
        value, samples, signals, seconds = self._over_processes(value, samples, signals, seconds)
        progress = self._progress
        progress.step, progress.accepted, progress.seconds = progress.step + 1, progress.accepted + samples, seconds
        if torch.stack([value, *norms]).isfinite().all():
            progress.bad_in_a_row, self._bad_items = 0, []
        else:
            self._optimizer.zero_grad(set_to_none=True)  # the step below then changes nothing
            self._count_bad(batches)
        self._optimizer.step()
        rate = float(self._schedule.get_last_lr()[0])
        self._note(step=progress.step, epoch=batches[-1][0], loss=value.item(), learning_rate=rate)
        self._schedule.step()
        if not signals:
            return None
        return interruption.name if interruption is not None and interruption.name else "signal elsewhere"

    def _over_processes(
        self, value: Tensor, samples: int, signals: float, seconds: float
    ) -> tuple[Tensor, int, float, float]:
        """The mean loss, the sum of samples, and what all processes decide by alike; in one exchange."""
        processes = self._accelerator.num_processes
        if processes == 1:
            return value, samples, signals, seconds
        own = torch.tensor([samples, signals, seconds], dtype=value.dtype, device=value.device)
        total = self._accelerator.reduce(torch.cat([value[None], own]), "sum")
        return total[0] / processes, round(total[1].item()), total[2].item(), total[3].item() / processes

    def _count_bad(self, batches: Sequence[tuple[int, Sequence[Any]]]) -> None:
        progress = self._progress
        progress.bad_in_a_row, progress.skipped = progress.bad_in_a_row + 1, progress.skipped + 1
        self._bad_items += itertools.chain.from_iterable(batch[2] for _, batch in batches if len(batch) > 2)
        if progress.bad_in_a_row == MAX_BAD_STEPS:
            shown = ", ".join(str(item) for item in self._bad_items[:ITEMS_SHOWN])
            raise DivergedError(
                f"the loss was not finite in {MAX_BAD_STEPS} steps in a row, the last one step {progress.step}: lower "
                f"the learning rate (now {self._schedule.get_last_lr()[0]:g}) or look at the data of these batches"
                + (f": {shown}{', ...' if len(self._bad_items) > ITEMS_SHOWN else ''}." if shown else "."),
                self._bad_items,
            )

    def _reached(self) -> str | None:
        progress, best = self._progress, self._best
        return self._stop.reached(
            steps=progress.step,
            accepted=progress.accepted,
            seconds=progress.seconds,
            stale=best.stale,
            score=best.score,
        )

    def _note(self, **record: float) -> None:
        self._history.append(record)
        self._on_step(record)
        if self._accelerator.trackers:
            figures = {name: value for name, value in record.items() if name != "step"}
            self._accelerator.log(figures, step=int(record["step"]))

    def _save(self, checkpoints: Checkpoints, config: Mapping[str, Any]) -> None:
        """Every process gives its random state; the first writes."""
        from accelerate.utils import gather_object

        random_states = gather_object([random_state()])
        if self._accelerator.is_main_process:
            scaler = self._accelerator.scaler
            state = {
                "parts": {name: part.state_dict() for name, part in self._objective.parts().items()},
                "optimizer": self._optimizer.state_dict(),
                "schedule": self._schedule.state_dict(),
                "scaler": scaler.state_dict() if scaler else None,
                "passes": self._passes.state_dict(),
                "random": random_states,
                "progress": asdict(self._progress),
                "best": self._best.state_dict(),
                "history": self._history,
            }
            checkpoints.save(self._progress.step, state, config)
        self._accelerator.wait_for_everyone()

    def _load(self, state: Mapping[str, Any]) -> None:
        for name, part in self._objective.parts().items():
            load_weights(part, state["parts"].get(name, {}), f"the checkpoint's {name}")
        self._optimizer.load_state_dict(state["optimizer"])
        restore_strides(self._optimizer)
        self._schedule.load_state_dict(state["schedule"])
        if self._accelerator.scaler and state["scaler"]:
            self._accelerator.scaler.load_state_dict(state["scaler"])
        rank, random_states = self._accelerator.process_index, state["random"]
        own = random_states[rank] if rank < len(random_states) else random_state()
        self._passes.load_state_dict(state["passes"] | {"random": own})
        self._progress = _Progress(**state["progress"])
        self._best.load_state_dict(state["best"])
        for record in state["history"]:
            self._note(**record)

    def result(self, stopped_by: str) -> TuningResult:
        """What was done; the model has its best weights."""
        progress = self._progress
        return TuningResult(
            steps=progress.step,
            epochs=self._passes.epoch,
            accepted=progress.accepted,
            seconds=progress.seconds,
            stopped_by=stopped_by,
            skipped=progress.skipped,
            best_step=self._best.restore(progress.step),
            history=self._history,
        )


class _Best:
    """Keeps the weights with the best score; without a score, the latest."""

    def __init__(
        self, objective: Objective, validate: Callable[[nn.Module], float] | None, note: Callable[..., None]
    ) -> None:
        self._objective, self._validate, self._note = objective, validate, note
        self._step, self._last = 0, -1
        self._weights: dict[str, dict[str, Tensor]] = {}
        self.score, self.stale = -math.inf, 0

    def look(self, step: int) -> None:
        """Score the weights after `step`, once, and remember them if they are better than any before."""
        if self._validate is None or step == self._last:
            return
        with evaluating(self._objective.model):
            score = self._validate(self._objective.model)
        self._note(step=step, score=score)
        self._last, self.stale = step, self.stale + 1
        if score > self.score:
            self.score, self._step, self.stale = score, step, 0
            self._weights = {name: deepcopy(part.state_dict()) for name, part in self._objective.parts().items()}

    def restore(self, step: int) -> int:
        """Put the best weights back; returns their step, which is `step` without validation."""
        for name, weights in self._weights.items():
            self._objective.parts()[name].load_state_dict(weights)
        return self._step if self._validate else step

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self._step,
            "last": self._last,
            "score": self.score,
            "stale": self.stale,
            "weights": self._weights,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._step, self._last, self._weights = state["step"], state["last"], state["weights"]
        self.score, self.stale = state["score"], state["stale"]


def _grouped(passes: Iterable[tuple[int, Any]], size: int) -> Iterator[list[tuple[int, Any]]]:
    """So many consecutive batches at a time; a rest is left out."""
    batches = iter(passes)
    while len(group := list(itertools.islice(batches, size))) == size:
        yield group


def _batch_size(inputs: Any) -> int:
    return len(inputs if isinstance(inputs, Tensor) else next(iter(inputs)))
