"""Tune the last stages on the accepted items, as far as held-out people gain by it."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from rsft.data.features import Features
from rsft.errors import InputError, InterruptedTrainingError
from rsft.face.adaptation.candidates import Candidates, draws_of
from rsft.face.adaptation.gate import Gate, decide
from rsft.face.adaptation.held_out import Validation
from rsft.face.adaptation.label_noise import trusted_labels
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.training import classes_of, train_stages, whitened_stages
from rsft.face.adaptation.views import AcceptedViews
from rsft.face.networks.bundle import FaceModel
from rsft.tuning.checkpoint import Checkpoints
from rsft.tuning.distributed import on_first
from rsft.tuning.freezing import interpolate
from rsft.tuning.loop import TuningResult
from rsft.tuning.stopping import Stopping

CHECKPOINT_STEPS = 50
MAX_VALIDATION_ITEMS = 3000
WHITENED = 0.25  # share of the way at which the weights are the whitened ones
KEPT = -1  # "fold" in the records of the training whose weights are used

OnStep = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Line:
    """The line of weights from the pretrained to the tuned stages, by way of the whitened ones if there are any.

    Attributes:
        suffix: The tuned stages. Only their structure is used.
        start: The pretrained weights.
        whitened: The weights after whitening, before training, which are at `WHITENED` of the way; None for a straight
            line.
        end: The tuned weights.
        is_whitened: Whether the embedding was whitened.
        result: Result of the training.
        times_trained: (N,) int number of times that a view of each item of the pool was trained on.
        length: The share of the training's steps after which its best weights were found.
    """

    suffix: nn.Sequential
    start: dict[str, Tensor]
    whitened: dict[str, Tensor] | None
    end: dict[str, Tensor]
    is_whitened: bool
    result: TuningResult
    times_trained: np.ndarray
    length: float

    def at(self, share: float) -> nn.Sequential:
        """Return new stages with the weights at a share of the way to the tuned weights, in [0, 1]."""
        suffix = copy.deepcopy(self.suffix)
        if self.whitened is None:
            weights = interpolate(self.start, self.end, share)
        elif share <= WHITENED:
            weights = interpolate(self.start, self.whitened, share / WHITENED)
        else:
            weights = interpolate(self.whitened, self.end, (share - WHITENED) / (1 - WHITENED))
        suffix.load_state_dict(weights)
        return suffix


@dataclass(frozen=True)
class Tuned:
    """A tuned network.

    Attributes:
        prefix: The frozen stages.
        line: The line of weights of the last training.
        gate: How far to go from the pretrained weights, and why.
        samples: Number of samples trained on, including those of the cross-validation.
        doubtful: Number of items left out because their labels are doubtful.
    """

    prefix: nn.Sequential
    line: Line
    gate: Gate
    samples: int
    doubtful: int

    def at(self, share: float) -> nn.Sequential:
        """Return a new network, with all stages, at a share of the way from the pretrained to the tuned weights."""
        return nn.Sequential(*self.prefix, *self.line.at(share))

    def suffix(self) -> nn.Sequential | None:
        """Return new stages with the weights that the gate keeps, or None if it keeps the pretrained ones."""
        return self.line.at(self.gate.share) if self.gate.share else None


def check_identities(identities: int, recipe: Recipe) -> None:
    """Raise an error if the pool has too few identities to tune on. This check needs no embeddings.

    Args:
        identities: Number of identities in the pool.
        recipe: Settings, of which the number of folds is used.

    Raises:
        InputError: If a fold would have nobody to hold out, or fewer than two identities to train on.
    """
    folds = recipe.folds_of(identities)
    least = max(folds, 4 if folds == 2 else 3)
    if identities < least:
        raise InputError(f"tuning in {folds} folds needs {least} identities or more, got {identities}.")


def tune(
    model: FaceModel,
    pool: Features,
    candidates: Candidates,
    recipe: Recipe,
    *,
    folds: int,
    seed: int = 0,
    checkpoints: Path | None = None,
    on_step: OnStep = lambda record: None,
) -> Tuned:
    """Tune the stages from `recipe.cut` on with the accepted items, as far as held-out identities gain by it.

    How far to go from the pretrained towards the tuned weights is chosen by cross-validation over the candidates'
    identities. Then the network is tuned on all of them. With one fold, the identities of fold 0 are held out, and the
    network tuned on the others is used.

    Args:
        model: The pretrained network. It is not changed.
        pool: Features of the candidates, with activations.
        candidates: How each of them is drawn, see `draws_of`, and its fold. The likeness weights the validation pairs.
        recipe: Settings of the training and the gate.
        folds: Number of folds that are held out in turn, from fold 0 on.
        seed: Seed for the accept decisions and their order.
        checkpoints: Folder in which the trainings are saved and from which they continue, or None.
        on_step: Called with every record of the training history. Its "fold" is `KEPT` for the training that is used.

    Raises:
        InputError: If the pool has no activations or too few identities.
        InterruptedTrainingError: If a signal ended a training. Its state is saved.
    """
    trusted = trusted_labels(pool.embeddings, pool.people, recipe.min_label_margin)
    check_identities(len(np.unique(pool.people[trusted])), recipe.model_copy(update={"folds": folds}))
    trainer = _Trainer(model, pool, candidates, recipe, seed, checkpoints, on_step)
    scores, lines = [], []
    for number, training, held_out in _splits(candidates, trusted, folds):
        validation = Validation(pool, _some(held_out, MAX_VALIDATION_ITEMS, seed), candidates.likeness)
        line = trainer.train(
            training,
            f"fold-{number}",
            fold=number if folds > 1 else KEPT,
            validation=validation if recipe.patience else None,
        )
        lines.append(line)
        scores.append(validation.of_line(line.at, recipe.shares, seed))
    gate = on_first(lambda: decide(scores, recipe.max_retention_loss, seed=seed))
    if folds > 1:
        length = float(np.mean([line.length for line in lines]))
        lines.append(trainer.train(np.flatnonzero(trusted), "everyone", fold=KEPT, length=length))
    prefix, _ = model.split(recipe.cut)
    samples = sum(line.result.accepted for line in lines)
    return Tuned(prefix, lines[-1], gate, samples, int((~trusted).sum()))


def _splits(candidates: Candidates, trusted: np.ndarray, folds: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield (fold, rows to train on, rows to judge by) of each fold."""
    for number in range(folds):
        held_out = candidates.fold == number
        if not (trusted & held_out & candidates.judged).any() or not (trusted & ~held_out).any():
            raise InputError(f"nobody of fold {number} can be held out: choose another seed, or `recipe.folds`.")
        yield number, np.flatnonzero(trusted & ~held_out), np.flatnonzero(trusted & held_out & candidates.judged)


@dataclass(frozen=True)
class _Trainer:
    """Trains the last stages on some rows of the pool."""

    model: FaceModel
    pool: Features
    candidates: Candidates
    recipe: Recipe
    seed: int
    checkpoints: Path | None
    on_step: OnStep

    def train(
        self, rows: np.ndarray, name: str, *, fold: int, validation: Validation | None = None, length: float = 1.0
    ) -> Line:
        """Train on some rows until no validation improves, or for a share `length` of the steps.

        Checkpoints are kept in the subfolder `name`.
        """
        recipe, pool, drawn = self.recipe, self.pool, self.candidates.subset(rows)
        if pool.activations is None:
            raise InputError("tuning needs the pool's activations: embed it with `views=2` or more.")
        classes = classes_of(pool, rows)
        views = pool.activations.shape[1]
        steps = recipe.steps
        draw = draws_of(drawn, classes, views, recipe, seed=self.seed)
        batches = AcceptedViews(pool.activations, rows, classes, pool.ids, draw, recipe.batch_size)
        suffix, prototypes, is_whitened = whitened_stages(self.model, pool, rows, recipe, drawn.likeness.numpy())
        whitened = copy.deepcopy(suffix.state_dict()) if is_whitened and steps else None
        result = train_stages(
            suffix,
            prototypes,
            batches,
            recipe,
            steps=steps,
            stop=Stopping(
                steps=max(1, steps),
                accepted=max(1, round(length * steps)) * recipe.batch_size if length < 1 else None,
                patience=recipe.patience if validation else None,
            ),
            seed=self.seed,
            validate=validation.of_network if validation else None,
            validate_every=recipe.validate_every,
            checkpoints=self._checkpoints(name, len(rows), float(drawn.acceptance.sum())),
            on_step=lambda record: self.on_step(record | {"fold": fold}),
        )
        if result.stopped_by not in ("steps", "accepted", "patience"):
            raise InterruptedTrainingError(
                f"stopped by {result.stopped_by}; step {result.steps} is saved. Run again with --resume to continue."
            )
        start = copy.deepcopy(self.model.split(recipe.cut)[1].state_dict())
        end = copy.deepcopy(suffix.state_dict())
        return Line(
            suffix, start, whitened, end, is_whitened, result, batches.times_given, result.best_step / max(1, steps)
        )

    def _checkpoints(self, name: str, items: int, accepted: float) -> Checkpoints | None:
        """Return the checkpoints of one training, with the configuration that a resume must match."""
        if self.checkpoints is None:
            return None
        config = {"recipe": self.recipe.model_dump(), "seed": self.seed, "items": items}
        config |= {"model": self.model.fingerprint, "accepted in an epoch, on average": accepted}
        return Checkpoints(self.checkpoints / name, every=CHECKPOINT_STEPS, config=config)


def total_steps(folds: int, recipe: Recipe) -> int:
    """Return the number of steps of all trainings of `tune`, for a progress bar."""
    return recipe.steps * (folds + (folds > 1))


def _some(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Return at most `most` random rows, sorted."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
