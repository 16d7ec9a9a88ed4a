"""The heart of a face run: plan, tune the last stages on what is accepted, and keep what validation says is better."""

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rsft.data.features import Features
from rsft.errors import InputError, InterruptedTrainingError
from rsft.face.bundle import FaceModel
from rsft.face.gate import Gate, decide
from rsft.face.labels import trusted_labels
from rsft.face.recipe import Recipe
from rsft.face.training import default_steps, train_stages
from rsft.face.validation import Validation
from rsft.face.views import AcceptedViews, accept_views
from rsft.sampler import RejectionSampler
from rsft.tuning.checkpoint import Checkpoints
from rsft.tuning.freezing import interpolate
from rsft.tuning.loop import TuningResult
from rsft.tuning.processes import first
from rsft.tuning.stopping import Stopping

CHECKPOINT_STEPS = 50
MAX_VALIDATION_ITEMS = 3000
HOLD_OUT = 1 / 5  # of the identities, where there is one fold
KEPT = -1


@dataclass(frozen=True)
class Tuned:
    """A tuned network.

    Attributes:
        at: the network, all stages, at a share of the tuned weights; each call changes the one before.
        gate: how far it went from the pretrained weights, and why.
        result: of the last training, on all identities.
        times_trained: (N,) int, how often a view of each item was trained on in it.
        samples: trained on in all, the cross-validation included.
        doubtful: how many items were left out for their labels.
    """

    at: Callable[[float], nn.Sequential]
    gate: Gate
    result: TuningResult
    times_trained: np.ndarray
    samples: int
    doubtful: int

    @property
    def network(self) -> nn.Sequential:
        """With the weights that are kept."""
        return self.at(self.gate.share)

    @property
    def changed(self) -> nn.Sequential | None:
        """The same, or None where the pretrained weights are kept."""
        return self.network if self.gate.share else None


def check_identities(identities: int, recipe: Recipe) -> None:
    """Refuse a pool of too few; nothing needs to be embedded for that.

    Raises:
        InputError: a fold would have nobody to hold out, or fewer than two to train on.
    """
    least = max(recipe.folds, 4 if recipe.folds == 2 else 3)
    if identities < least:
        raise InputError(f"tuning in {recipe.folds} folds needs {least} identities or more, got {identities}.")


def tune(
    model: FaceModel,
    pool: Features,
    people: np.ndarray,
    acceptance: Tensor,
    likeness: Tensor,
    recipe: Recipe,
    *,
    seed: int,
    checkpoints: Path | None = None,
    on_step: Callable[[dict[str, float]], None] = lambda record: None,
) -> Tuned:
    """Tune the stages from `recipe.cut` on, on what is accepted, as far as other identities gain by it.

    How far to go from the pretrained towards the tuned weights is chosen by cross-validation over the pool's
    identities; then the network is tuned on all of them. With one fold, `HOLD_OUT` of them are held out, and what is
    tuned on the others is used.

    Args:
        model: the pretrained network; it is not changed.
        pool: with activations.
        people: (N,) int identity of each item.
        acceptance: (N,) probability of each item, and of each of its views by itself, in an epoch; where the recipe
            says so, of its identity with all its views, or with a floor of views for each accepted identity.
        likeness: (N,) in [0, 1], how much each item looks like the target; weighs the validation pairs.
        recipe: the settings.
        seed: of the folds, the accept decisions and their order.
        checkpoints: a folder to save the trainings in, and to continue from.
        on_step: is called with every record of the training history; "fold" is `KEPT` for the training that is used.

    Raises:
        InputError: the pool has no activations, or too few identities.
        InterruptedTrainingError: a signal ended a training, and what was done is saved.
    """
    trusted = trusted_labels(pool.embeddings, people, recipe.min_label_margin)
    names = np.unique(people[trusted])
    check_identities(len(names), recipe)
    fold_of = dict(zip(np.random.default_rng(seed).permutation(names), itertools.cycle(range(_groups(recipe)))))
    fold = np.array([fold_of.get(person, -1) for person in people])
    folds, lengths, samples = [], [], 0
    train = partial(_train, model, pool, people=people, acceptance=acceptance, recipe=recipe, seed=seed)
    for number in range(recipe.folds):
        rows, others = np.flatnonzero(trusted & (fold != number)), np.flatnonzero(trusted & (fold == number))
        validation = Validation(pool, _some(others, MAX_VALIDATION_ITEMS, seed), people, likeness)
        line = train(
            rows,
            validation=validation if recipe.patience else None,
            checkpoints=_below(checkpoints, f"fold-{number}"),
            on_step=_tagged(on_step, number if recipe.folds > 1 else KEPT),
        )
        samples += line.result.accepted
        lengths.append(line.length)
        folds.append(validation.of_line(line.at, recipe.shares, seed))
    gate = first(lambda: decide(folds, recipe.max_retention_loss, seed=seed))
    if recipe.folds > 1:
        line = train(
            np.flatnonzero(trusted),
            length=float(np.mean(lengths)),
            checkpoints=_below(checkpoints, "everyone"),
            on_step=_tagged(on_step, KEPT),
        )
        samples += line.result.accepted
    prefix, _ = model.split(recipe.cut)
    return Tuned(
        lambda share: nn.Sequential(*prefix, *line.at(share)),
        gate,
        line.result,
        line.times_trained,
        samples,
        int((~trusted).sum()),
    )


@dataclass(frozen=True)
class _Line:
    """The tuned stages, the line of weights they can be set to, and what share of the steps led to its end."""

    suffix: nn.Sequential
    length: float
    start: dict[str, Tensor]
    end: dict[str, Tensor]
    result: TuningResult
    times_trained: np.ndarray

    def at(self, share: float) -> nn.Sequential:
        self.suffix.load_state_dict(interpolate(self.start, self.end, share))
        return self.suffix


def _train(
    model: FaceModel,
    pool: Features,
    rows: np.ndarray,
    *,
    people: np.ndarray,
    acceptance: Tensor,
    recipe: Recipe,
    seed: int,
    checkpoints: Path | None,
    on_step: Callable[[dict[str, float]], None],
    validation: Validation | None = None,
    length: float = 1.0,
) -> _Line:
    """Tune on the accepted of some rows of the pool, to the best of a validation or a share of the steps."""
    if pool.activations is None:
        raise InputError("tuning needs the pool's activations: embed it with `views=2` or more.")
    classes = np.unique(people[rows], return_inverse=True)[1]
    views = pool.activations.shape[1]
    steps = recipe.steps or default_steps(len(rows) * views, recipe.batch_size)
    of_views, rule = accept_views(acceptance[rows], torch.from_numpy(classes), views, recipe)
    sampler = RejectionSampler(of_views if rule is None else rule, seed=seed, rank=0, world_size=1)
    batches = AcceptedViews(pool.activations, rows, torch.from_numpy(classes), pool.ids, sampler, recipe.batch_size)
    config = {"recipe": recipe.model_dump(), "seed": seed, "items": len(rows), "model": model.fingerprint}
    config |= {"accepted in an epoch, on average": float(acceptance[rows].sum())}
    suffix, result = train_stages(
        model,
        pool,
        rows,
        torch.from_numpy(classes),
        batches,
        recipe,
        steps=steps,
        stop=Stopping(
            steps=steps,
            accepted=max(1, round(length * steps)) * recipe.batch_size if length < 1 else None,
            patience=recipe.patience if validation else None,
        ),
        seed=seed,
        validate=validation.of_network if validation else None,
        validate_every=recipe.validate_every,
        checkpoints=Checkpoints(checkpoints, every=CHECKPOINT_STEPS, config=config) if checkpoints else None,
        on_step=on_step,
    )
    if result.stopped_by not in ("steps", "accepted", "patience"):
        raise InterruptedTrainingError(
            f"{result.stopped_by} came; step {result.steps} is saved. Run again with --resume to continue."
        )
    start = copy.deepcopy(model.split(recipe.cut)[1].state_dict())
    end = copy.deepcopy(suffix.state_dict())
    return _Line(suffix, result.best_step / steps, start, end, result, batches.times_given)


def _below(folder: Path | None, name: str) -> Path | None:
    return folder / name if folder else None


def _tagged(on_step: Callable[[dict[str, float]], None], fold: int) -> Callable[[dict[str, float]], None]:
    return lambda record: on_step(record | {"fold": fold})


def total_steps(items: int, recipe: Recipe) -> int:
    """About how many steps `tune` takes in all, for a progress bar."""
    groups = _groups(recipe)
    sizes = [items * (groups - 1) // groups] * recipe.folds + [items] * (recipe.folds > 1)
    return sum(recipe.steps or default_steps(size * recipe.views, recipe.batch_size) for size in sizes)


def _groups(recipe: Recipe) -> int:
    """Into how many the identities are divided."""
    return recipe.folds if recipe.folds > 1 else round(1 / HOLD_OUT)


def _some(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
