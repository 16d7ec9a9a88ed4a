"""Experiment trackers of a run: TensorBoard, MLflow and Weights & Biases, through those of accelerate.

They get numbers and settings only: no path, no name of a person or picture. What is logged:

- "plan/...": what the plan expects, once;
- "loss", "learning_rate" and "score" of each step of the training that is used, "fold-N/..." of the others;
- "accepted" and "clipped_mass" of each epoch of the training that is used, from the pictures that it accepts;
- "gate/...": what is kept of the training, once.
"""

import importlib.util
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rsft.data.apart import resolved
from rsft.errors import InputError, did_you_mean
from rsft.face.adaptation.candidates import draws_of
from rsft.face.adaptation.gate import Gate
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.selection import by_rule
from rsft.face.adaptation.tune import KEPT
from rsft.face.runs.open_pool import Chosen
from rsft.plan import Plan
from rsft.run_folder import adding_to
from rsft.tuning.distributed import is_first
from rsft.types import PathLike

PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}  # tracker -> what it imports
PROJECT = "rsft"
LOGGED = ("loss", "learning_rate", "score")

log = logging.getLogger(__name__)


def check_trackers(names: Iterable[str]) -> None:
    """Raise InputError if a tracker is unknown or not installed."""
    for name in names:
        if name not in PACKAGES:
            known = ", ".join(PACKAGES)
            raise InputError(f"unknown tracker '{name}'{did_you_mean(name, PACKAGES)}: choose from {known}.")
        package = PACKAGES[name]
        if importlib.util.find_spec(package) is None:
            raise InputError(f"the tracker '{name}' is not installed: pip install {package}.")


def beside(out: Path) -> Path:
    """Return the folder beside a run in which its trackers write."""
    whole = resolved(out)
    return whole.with_name(whole.name + ".tracked")


class Trackers:
    """The trackers of a run. Without names, nothing happens.

    Args:
        names: Keys of `PACKAGES`.
        folder: Folder for what they write. MLflow writes where `MLFLOW_TRACKING_URI` says, and only artifacts here.
            Weights & Biases stay offline unless `WANDB_MODE` is set.
        out: Folder of the run, which must not hold this one; its name is that of the run.
        inputs: The paths that the command reads, which the folder must not overlap either.

    Raises:
        InputError: A tracker is unknown or not installed, or the folder cannot be used.
    """

    def __init__(self, names: Sequence[str], folder: PathLike, out: Path, *, inputs: Iterable[object]) -> None:
        check_trackers(names)
        if names and resolved(Path(folder)).is_relative_to(resolved(out)):
            raise InputError(f"the folder of the trackers '{folder}' lies in the output '{out}': choose another one.")
        self._names, self._run = list(dict.fromkeys(names)), resolved(out).name
        self._folder = adding_to(Path(folder), inputs=inputs) if names and is_first() else None
        self._started: list[Any] = []
        self._draw: Any = None
        self._epoch = -1

    @contextmanager
    def of(self, plan: Plan, chosen: Chosen, recipe: Recipe, seed: int) -> Iterator[None]:
        """Track the training in the block.

        Args:
            plan: The plan.
            chosen: The pictures to train on.
            recipe: The recipe.
            seed: The seed of the run.
        """
        if self._folder is None:
            yield
            return
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        try:
            for name in self._names:
                self._started.append(_started(name, LOGGER_TYPE_TO_CLASS[name], self._options(name)))
            settings = {"seed": seed} | {
                key: value if isinstance(value, bool | int | float | str) else str(value)
                for key, value in recipe.model_dump(exclude_none=True).items()
            }
            self._tell(lambda tracker: tracker.store_init_configuration(settings))
            envelope = plan.envelope
            figures = {
                "m": math.exp(min(envelope.log_m, 700.0)),
                "acceptance_rate": envelope.acceptance_rate,
                "clipped_mass": envelope.clipped_mass,
                "effective_size": envelope.effective_size,
                **plan.diagnostics,
            }
            self._log({f"plan/{key}": value for key, value in figures.items()}, 0)
            if not by_rule(recipe):
                people = torch.from_numpy(chosen.features.people)
                draw = draws_of(chosen.candidates, people, 1, recipe, seed=seed)
                self._draw = lambda epoch: accepted_and_clipped(chosen.log_ratio, draw(epoch), float(envelope.log_m))
            yield
        finally:
            self._tell(lambda tracker: tracker.finish())
            self._started = []

    def step(self, record: Mapping[str, float]) -> None:
        """Log a record of the history of a training, and the figures of an epoch that it opens."""
        if not self._started or "step" not in record:
            return
        kept = record.get("fold", KEPT) == KEPT
        before = "" if kept else f"fold-{record['fold']:.0f}/"
        step = int(record["step"])
        self._log({before + key: record[key] for key in LOGGED if key in record}, step)
        epoch = int(record.get("epoch", self._epoch))
        if kept and epoch > self._epoch and self._draw is not None:
            accepted, clipped = self._draw(epoch)
            self._log({"epoch": epoch, "accepted": accepted, "clipped_mass": clipped}, step)
        self._epoch = max(epoch, self._epoch) if kept else self._epoch

    def gate(self, gate: Gate) -> None:
        """Log what the gate decided."""
        told = {"share": gate.share, "gain": gate.gain.value, "loss": gate.loss.value}
        self._log({f"gate/{key}": value for key, value in told.items() if value is not None}, 0)

    def _options(self, name: str) -> dict[str, Any]:
        """Return the options with which a tracker begins."""
        where = str(self._folder)
        if name == "wandb":
            return {"dir": where, "name": self._run} | ({} if "WANDB_MODE" in os.environ else {"mode": "offline"})
        return {"logging_dir": where} | ({"run_name": self._run} if name == "mlflow" else {})

    def _log(self, values: Mapping[str, Any], step: int) -> None:
        finite = {key: float(value) for key, value in values.items() if math.isfinite(value)}
        self._tell(lambda tracker: tracker.log(finite, step=step))

    def _tell(self, tell: Callable[[Any], object]) -> None:
        """Tell all trackers. One that fails is warned of and told no more, so that no training is lost to it."""
        for tracker in list(self._started):
            try:
                tell(tracker)
            except Exception as error:  # trackers raise what they like
                self._started.remove(tracker)
                log.warning("the tracker '%s' failed and gets nothing more: %s", tracker.name, _first_line(error))


def _started(name: str, kind: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """Return a tracker that has started."""
    try:
        tracker = kind(PROJECT, **options)
        tracker.start()
    except Exception as error:  # trackers raise what they like
        raise InputError(
            f"the tracker '{name}' does not start: {_first_line(error)}. Mend its settings, or leave it out; --resume "
            "goes on with what was embedded."
        ) from error
    return tracker


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__


def accepted_and_clipped(log_ratio: np.ndarray, accepted: np.ndarray, log_m: float) -> tuple[int, float]:
    """Return the number of pictures that an epoch accepts, and the clipped mass as these pictures tell it.

    A picture of ratio r is accepted with probability min(1, r / M). So the sum of max(r, M) over the accepted ones
    estimates the sum of r over all, and the sum of r - M over those above M is what is clipped of it.

    Args:
        log_ratio: (n,) log ratio of each picture.
        accepted: (k,) rows of the accepted ones.
        log_m: Log of the envelope M.

    >>> accepted_and_clipped(np.log([1.0, 4.0, 0.5]), np.array([0, 1]), np.log(2.0))
    (2, 0.3333333333333333)
    """
    above = np.maximum(log_ratio[accepted] - log_m, 0.0)
    above = above[np.isfinite(above)]
    ratio = np.exp(np.minimum(above, 700.0))  # max(r, M) / M
    return len(ratio), float((ratio - 1).sum() / ratio.sum()) if len(ratio) else 0.0
