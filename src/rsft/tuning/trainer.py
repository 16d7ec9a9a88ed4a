"""Trainer: a training under way, with its steps, validations, checkpoints and end."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rsft.errors import DivergedError
from rsft.per_item import check_parts
from rsft.tuning.best_weights import BestWeights
from rsft.tuning.checkpoint import Checkpoints, load_weights, restore_strides
from rsft.tuning.epochs import Epochs
from rsft.tuning.freezing import set_training_mode
from rsft.tuning.objective import Objective, in_channels_last
from rsft.tuning.random_state import random_state
from rsft.tuning.stopping import Interruption, Stopping

if TYPE_CHECKING:
    from accelerate import Accelerator

MAX_BAD_STEPS = 5
ITEMS_SHOWN = 10
TRACKER_PROJECT = "rsft"


@dataclass
class Progress:
    """Counters of a training under way."""

    step: int = 0
    accepted: int = 0
    skipped: int = 0
    bad_in_a_row: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Updates:
    """How the weights are updated; see `fine_tune`.

    Attributes:
        optimizer: Optimiser of the trained parameters.
        schedule: Schedule of its learning rates.
        clip_norm: Largest norm of the gradient of each part.
        channels_last: Inputs are laid out with the channels last.
    """

    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    clip_norm: float
    channels_last: bool


class Trainer:
    """A training under way; see `fine_tune` for the arguments.

    Attributes:
        epochs: Batches and the position in them.
        progress: Counters so far.
        best: Best weights so far.
        history: Records of all steps and validations so far.
    """

    def __init__(
        self,
        objective: Objective,
        updates: Updates,
        accelerator: "Accelerator",
        epochs: Epochs,
        *,
        stop: Stopping,
        validate: Callable[[nn.Module], float] | None,
        on_step: Callable[[dict[str, float]], None],
    ) -> None:
        self._objective, self._accelerator = objective, accelerator
        self._wrapped = accelerator.prepare_model(objective)
        self._optimizer = accelerator.prepare_optimizer(updates.optimizer)
        self._updates, self.epochs, self._stop, self._on_step = updates, epochs, stop, on_step
        trained = [[p for p in part.parameters() if p.requires_grad] for part in objective.parts().values()]
        self._trained = [group for group in trained if group]
        self.history: list[dict[str, float]] = []
        self.progress = Progress()
        self.best = BestWeights(objective, validate, self._note)
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
        """Train until a stopping condition or a signal; return its name."""
        config = config or {}
        state = checkpoints.load(config) if checkpoints else None
        if state:
            self._load(state)
        else:
            self.best.look(0)
        saved = self.progress.step if state else -1
        set_training_mode(self._objective.model)
        started, before = time.monotonic(), self.progress.seconds
        stopped_by, interrupted = self._reached() if state else None, None
        steps = _grouped(self.epochs, self._accelerator.gradient_accumulation_steps)
        while stopped_by is None:
            batches = next(steps, None)
            if batches is None:
                stopped_by = "epochs"
                break
            interrupted = self._step(batches, before + time.monotonic() - started, interruption)
            step = self.progress.step
            if step % validate_every == 0:
                self.best.look(step)
            stopped_by = interrupted or self._reached()
            if checkpoints and step % checkpoints.every == 0:
                self._save(checkpoints, config)
                saved = step
        if not interrupted:
            self.best.look(self.progress.step)
        if checkpoints and saved != self.progress.step:
            self._save(checkpoints, config)
        return stopped_by

    def _step(
        self, batches: Sequence[tuple[int, Sequence[Any]]], seconds: float, interruption: Interruption | None
    ) -> str | None:
        """Take one optimiser step on one or more batches; return the name of a signal received meanwhile, or None."""
        from accelerate.utils import send_to_device

        self._optimizer.zero_grad(set_to_none=True)
        value, samples = torch.zeros((), device=self._accelerator.device), 0
        for number, (_, batch) in enumerate(batches, 1):
            last = number == len(batches)
            check_parts(batch, "fine_tune(batches=...)", "batches (inputs, targets) or (inputs, targets, ids)", (2, 3))
            inputs, targets = send_to_device(batch[:2], self._accelerator.device)
            if self._updates.channels_last:
                inputs = in_channels_last(inputs)
            with nullcontext() if last else self._accelerator.no_sync(self._wrapped):
                part = self._wrapped(inputs, targets)
                self._accelerator.backward(part)
            value, samples = value + part.detach() / len(batches), samples + _batch_size(inputs)
        self._accelerator.unscale_gradients(self._optimizer)
        norms = [nn.utils.clip_grad_norm_(group, self._updates.clip_norm) for group in self._trained]
        signals = float(interruption is not None and interruption.name is not None)
        value, samples, signals, seconds = self._over_processes(value, samples, signals, seconds)
        progress = self.progress
        progress.step, progress.accepted, progress.seconds = progress.step + 1, progress.accepted + samples, seconds
        if torch.stack([value, *norms]).isfinite().all():
            progress.bad_in_a_row, self._bad_items = 0, []
        else:
            self._optimizer.zero_grad(set_to_none=True)  # so that the step below changes nothing
            self._count_bad(batches, overflown=bool(value.isfinite()) and self._scale() > 1)
        self._optimizer.step()
        rate = float(self._updates.schedule.get_last_lr()[0])
        self._note(step=progress.step, epoch=batches[-1][0], loss=value.item(), learning_rate=rate)
        self._updates.schedule.step()
        if not signals:
            return None
        return interruption.name if interruption is not None and interruption.name else "signal elsewhere"

    def _over_processes(
        self, value: Tensor, samples: int, signals: float, seconds: float
    ) -> tuple[Tensor, int, float, float]:
        """Average loss and seconds, and sum samples and signals, over all processes in one exchange."""
        processes = self._accelerator.num_processes
        if processes == 1:
            return value, samples, signals, seconds
        own = torch.tensor([samples, signals, seconds], dtype=value.dtype, device=value.device)
        total = self._accelerator.reduce(torch.cat([value[None], own]), "sum")
        return total[0] / processes, round(total[1].item()), total[2].item(), total[3].item() / processes

    def _scale(self) -> float:
        """Return the factor by which the loss is multiplied in half precision."""
        return float(self._accelerator.scaler.get_scale()) if self._accelerator.scaler else 1.0

    def _count_bad(self, batches: Sequence[tuple[int, Sequence[Any]]], *, overflown: bool) -> None:
        progress = self.progress
        progress.skipped += 1
        if overflown:  # the scaler halves its scale for the next step, as often as needed
            return
        progress.bad_in_a_row += 1
        self._bad_items += itertools.chain.from_iterable(batch[2] for _, batch in batches if len(batch) > 2)
        if progress.bad_in_a_row == MAX_BAD_STEPS:
            shown = ", ".join(str(item) for item in self._bad_items[:ITEMS_SHOWN])
            rate = self._updates.schedule.get_last_lr()[0]
            raise DivergedError(
                f"the loss was not finite in {MAX_BAD_STEPS} steps in a row, up to step {progress.step}: lower "
                f"the learning rate (now {rate:g}) or check the data of these batches"
                + (f": {shown}{', ...' if len(self._bad_items) > ITEMS_SHOWN else ''}." if shown else "."),
                self._bad_items,
            )

    def _reached(self) -> str | None:
        progress, best = self.progress, self.best
        return self._stop.reached(
            steps=progress.step,
            accepted=progress.accepted,
            seconds=progress.seconds,
            stale=best.stale,
            score=best.score,
        )

    def _note(self, **record: float) -> None:
        self.history.append(record)
        self._on_step(record)
        if self._accelerator.trackers:
            figures = {name: value for name, value in record.items() if name != "step"}
            self._accelerator.log(figures, step=int(record["step"]))

    def _save(self, checkpoints: Checkpoints, config: Mapping[str, Any]) -> None:
        """Save a checkpoint; every process contributes its random state, and the first one writes."""
        from accelerate.utils import gather_object

        random_states = gather_object([random_state()])
        if self._accelerator.is_main_process:
            scaler = self._accelerator.scaler
            state = {
                "parts": {name: part.state_dict() for name, part in self._objective.parts().items()},
                "optimizer": self._optimizer.state_dict(),
                "schedule": self._updates.schedule.state_dict(),
                "scaler": scaler.state_dict() if scaler else None,
                "epochs": self.epochs.state_dict(),
                "random": random_states,
                "progress": asdict(self.progress),
                "best": self.best.state_dict(),
                "history": self.history,
            }
            checkpoints.save(self.progress.step, state, config)
        self._accelerator.wait_for_everyone()

    def _load(self, state: Mapping[str, Any]) -> None:
        for name, part in self._objective.parts().items():
            load_weights(part, state["parts"].get(name, {}), f"the checkpoint's {name}")
        self._optimizer.load_state_dict(state["optimizer"])
        restore_strides(self._optimizer)
        self._updates.schedule.load_state_dict(state["schedule"])
        if self._accelerator.scaler and state["scaler"]:
            self._accelerator.scaler.load_state_dict(state["scaler"])
        rank, random_states = self._accelerator.process_index, state["random"]
        own = random_states[rank] if rank < len(random_states) else random_state()
        self.epochs.load_state_dict(state["epochs"] | {"random": own})
        self.progress = Progress(**state["progress"])
        self.best.load_state_dict(state["best"])
        self.history = list(state["history"])
        for record in self.history:  # trackers already have them
            self._on_step(record)


def _grouped(epochs: Iterable[tuple[int, Any]], size: int) -> Iterator[list[tuple[int, Any]]]:
    """Yield groups of `size` consecutive batches; an incomplete last group is left out."""
    batches = iter(epochs)
    while len(group := list(itertools.islice(batches, size))) == size:
        yield group


def _batch_size(inputs: Any) -> int:
    return len(inputs if isinstance(inputs, Tensor) else next(iter(inputs)))
