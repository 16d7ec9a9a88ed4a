"""The heart of a face run: plan, tune the last stages on what is accepted, and keep what validation says is better."""

import copy
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rsft.data.features import Features
from rsft.data.shards import Shards
from rsft.errors import InputError, InterruptedTrainingError, LowAcceptanceError
from rsft.face.backbones.dlib import Affine
from rsft.face.embed import as_input, sum_views
from rsft.face.gate import Gate, HeldOut, decide, hold_out, target_score
from rsft.face.heads import class_means
from rsft.face.labels import label_margin
from rsft.face.losses import make_loss
from rsft.face.model import FaceModel
from rsft.face.recipe import Recipe
from rsft.face.verification import all_comparisons, cosine_scores
from rsft.identities import mind_identities
from rsft.sampler import RejectionSampler
from rsft.tuning.checkpoint import Checkpoints
from rsft.tuning.freezing import AFFINE, interpolate
from rsft.tuning.loop import TuningResult
from rsft.tuning.processes import first, place
from rsft.tuning.recipe import tune_by
from rsft.tuning.stopping import Stopping

TRAINED_FRACTION = 1.2
MIN_STEPS, MAX_STEPS = 60, 500
MAX_EMPTY_EPOCHS = 1000
CHECKPOINT_STEPS = 50
MAX_VALIDATION_ITEMS = 3000
HOLD_OUT = 1 / 5  # of the identities, where there is one fold
KEPT = -1
EMBEDDING_BATCH = 128


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


class AcceptedViews:
    """Batches of cached activations of accepted views, all of one size: what is left of an epoch opens the next.

    Each of several processes draws all batches, and is given its part of each.

    Args:
        activations: (N, V, ...) float16.
        rows: (n,) the items to train on.
        classes: (n,) int64.
        ids: (N,) of the items.
        sampler: over their n * V views, for one process; view v of item `rows[i]` is i * V + v.
        batch_size: of every batch, all processes' parts together.

    Raises:
        InputError: a batch cannot be divided evenly.
    """

    def __init__(
        self,
        activations: np.ndarray | Shards,
        rows: np.ndarray,
        classes: Tensor,
        ids: Sequence[str],
        sampler: RejectionSampler,
        batch_size: int,
    ) -> None:
        self._rank, self._processes = place()
        if batch_size % self._processes:
            raise InputError(
                f"recipe.batch_size is {batch_size}, which {self._processes} processes cannot divide evenly: choose a "
                "multiple of their number."
            )
        self._activations, self._rows, self._classes, self._ids = activations, rows, classes, ids
        self._sampler, self._batch_size = sampler, batch_size
        self._epoch = 0
        self._waiting: deque[int] = deque()
        self.times_given = np.zeros(len(activations), int)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, list[str]]]:
        """Yield the batches that are left of the last epoch, or those of the next, or of as many as fill one.

        Raises:
            LowAcceptanceError: a thousand epochs do not fill a batch.
        """
        for _ in range(MAX_EMPTY_EPOCHS):
            if len(self._waiting) >= self._batch_size:
                break
            self._sampler.set_epoch(self._epoch)
            self._epoch += 1
            self._waiting += self._sampler
        else:
            raise LowAcceptanceError(
                f"{MAX_EMPTY_EPOCHS} epochs accept fewer than one batch of {self._batch_size}: the pool holds almost "
                "nothing like the target; raise `retain_fraction` or lower the envelope."
            )
        while len(self._waiting) >= self._batch_size:
            yield self._batch(np.array([self._waiting.popleft() for _ in range(self._batch_size)]))

    def state_dict(self) -> dict[str, Any]:
        """What is still to be given, and what was."""
        return {"epoch": self._epoch, "waiting": list(self._waiting), "times_given": self.times_given.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self._epoch, self._waiting = state["epoch"], deque(state["waiting"])
        self.times_given = np.array(state["times_given"])

    def _batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor, list[str]]:
        item, view = np.divmod(indices, self._activations.shape[1])
        np.add.at(self.times_given, self._rows[item], 1)
        item, view = (np.split(part, self._processes)[self._rank] for part in (item, view))
        row = self._rows[item]
        inputs = as_input(torch.from_numpy(self._activations[row, view]))
        return inputs, self._classes[item], [self._ids[index] for index in row]


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
        InputError: the pool has no activations, or fewer than two identities to train on.
        InterruptedTrainingError: a signal ended a training, and what was done is saved.
    """
    trusted = np.ones(len(people), bool)
    if recipe.min_label_margin is not None:
        trusted = label_margin(pool.embeddings, people) >= recipe.min_label_margin
    names = np.unique(people)
    fold_of = dict(zip(np.random.default_rng(seed).permutation(names), itertools.cycle(range(_groups(recipe)))))
    fold = np.array([fold_of[person] for person in people])
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


class Validation:
    """Held-out pictures of the pool, all compared.

    Args:
        pool: with activations.
        rows: (n,) of those held out.
        people: (N,) int identity of each item of the pool.
        likeness: (N,) in [0, 1].
    """

    def __init__(self, pool: Features, rows: np.ndarray, people: np.ndarray, likeness: Tensor) -> None:
        self._pool, self._rows = pool, rows
        self._comparisons, self._likeness = all_comparisons(people[rows]), likeness[rows].numpy()

    def of_line(self, at: Callable[[float], nn.Module], shares: Sequence[float], seed: int) -> HeldOut:
        """The scores of each share; the pretrained network has embedded all already."""

        def score(share: float) -> np.ndarray:
            return (
                self._scores(at(share))
                if share
                else cosine_scores(self._pool.embeddings[self._rows], self._comparisons)
            )

        return hold_out(self._comparisons, self._likeness, score, shares, seed=seed)

    def of_network(self, suffix: nn.Module) -> float:
        """The score on pairs like the target, 0 where there are none; the first process's."""
        return first(lambda: target_score(self._comparisons, self._likeness, self._scores(suffix)))

    def _scores(self, suffix: nn.Module) -> np.ndarray:
        return cosine_scores(embed_activations(suffix, self._pool, self._rows), self._comparisons)


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
    names, classes = np.unique(people[rows], return_inverse=True)
    if len(names) < 2:
        raise InputError(f"tuning needs at least two identities in every training fold, got {len(names)}.")
    embeddings = torch.from_numpy(pool.embeddings[rows] / 2)  # they are sums over two views
    prototypes = class_means(embeddings, torch.from_numpy(classes))
    views = pool.activations.shape[1]
    steps = recipe.steps or default_steps(len(rows) * views, recipe.batch_size)
    loss = make_loss(recipe, prototypes, steps)
    of_views = acceptance[rows].repeat_interleave(views)
    people_of_views = torch.from_numpy(classes).repeat_interleave(views)
    rule = mind_identities(of_views, people_of_views, recipe.accept_by, recipe.floor)
    sampler = RejectionSampler(of_views if rule is None else rule, seed=seed, rank=0, world_size=1)
    suffix = copy.deepcopy(model.split(recipe.cut)[1])
    start = copy.deepcopy(suffix.state_dict())
    batches = AcceptedViews(pool.activations, rows, torch.from_numpy(classes), pool.ids, sampler, recipe.batch_size)
    config = {"recipe": recipe.model_dump(), "seed": seed, "items": len(rows), "model": model.fingerprint}
    config |= {"accepted in an epoch, on average": float(acceptance[rows].sum())}
    result = tune_by(
        recipe,
        suffix,
        batches,
        loss,
        stop=Stopping(
            steps=steps,
            accepted=max(1, round(length * steps)) * recipe.batch_size if length < 1 else None,
            patience=recipe.patience if validation else None,
        ),
        affine=(*AFFINE, Affine),
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
    return _Line(
        suffix, result.best_step / steps, start, copy.deepcopy(suffix.state_dict()), result, batches.times_given
    )


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


def default_steps(views: int, batch_size: int) -> int:
    """So many steps that a share `TRAINED_FRACTION` of the pool's views is trained on, within limits."""
    return min(MAX_STEPS, max(MIN_STEPS, round(TRAINED_FRACTION * views / batch_size)))


def embed_activations(suffix: nn.Module, features: Features, rows: np.ndarray | None = None) -> np.ndarray:
    """Embeddings (n, D) of cached activations under other weights of the tuned stages, of all rows or some."""
    activations = features.activations
    assert activations is not None
    rows = np.arange(len(features)) if rows is None else rows
    parts = (rows[start : start + EMBEDDING_BATCH] for start in range(0, len(rows), EMBEDDING_BATCH))
    return np.concatenate([sum_views(suffix, activations[part, :2]) for part in parts])


def _some(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
