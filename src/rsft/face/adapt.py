"""The heart of a face run: plan, tune the last stages on what is accepted, and keep what validation says is better."""

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rsft.data.features import Features
from rsft.errors import InputError, LowAcceptanceError
from rsft.face.embed import as_input, sum_views
from rsft.face.heads import PrototypeLoss, class_means
from rsft.face.model import FaceModel
from rsft.face.recipe import Recipe
from rsft.face.verification import all_comparisons, cosine_scores, weighted_tar
from rsft.sampler import RejectionSampler
from rsft.tuning.freezing import interpolate
from rsft.tuning.loop import TuningResult, fine_tune
from rsft.tuning.stopping import Stopping

TRAINED_FRACTION = 1.2
MIN_STEPS, MAX_STEPS = 60, 500
MAX_EMPTY_EPOCHS = 1000
VALIDATION_FMRS = tuple(np.logspace(-3, 0, 30, endpoint=False))
MAX_VALIDATION_ITEMS = 3000
MIN_GENUINE = 10.0
EMBEDDING_BATCH = 128


@dataclass(frozen=True)
class PathPoint:
    """Validation scores at one point of the line from the pretrained to the tuned weights, in [0, 1].

    Attributes:
        share: of the tuned weights.
        target: over pairs weighted by how much like the target both pictures are.
        pool: over all pairs.
        genuine: how many equally weighted genuine pairs the first is worth, (sum w)^2 / sum w^2.
    """

    share: float
    target: float
    pool: float
    genuine: float


@dataclass(frozen=True)
class Tuned:
    """A tuned network.

    Attributes:
        network: all stages, with the weights that are kept.
        share: of the tuned weights in them; 0 where the pretrained are kept.
        path: what the choice was made from.
        result: of the last training, on all identities.
        times_trained: (N,) int, how often a view of each item was trained on in it.
        samples: trained on in all, the cross-validation included.
    """

    network: nn.Sequential
    share: float
    path: Sequence[PathPoint]
    result: TuningResult
    times_trained: np.ndarray
    samples: int


class AcceptedViews:
    """Batches of cached activations of accepted views, all of one size: what is left of an epoch opens the next.

    Args:
        activations: (N, V, ...) float16.
        rows: (n,) the items to train on.
        classes: (n,) int64.
        sampler: over their n * V views; view v of item `rows[i]` is i * V + v.
        batch_size: of every batch.
    """

    def __init__(
        self, activations: np.ndarray, rows: np.ndarray, classes: Tensor, sampler: RejectionSampler, batch_size: int
    ) -> None:
        self._activations, self._rows, self._classes = activations, rows, classes
        self._sampler, self._batch_size = sampler, batch_size
        self._epoch = 0
        self._waiting: list[int] = []
        self.times_given = np.zeros(len(activations), int)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of the next epoch, or of as many as fill at least one.

        Raises:
            LowAcceptanceError: a thousand epochs do not fill a batch.
        """
        for _ in range(MAX_EMPTY_EPOCHS):
            self._sampler.set_epoch(self._epoch)
            self._epoch += 1
            self._waiting += self._sampler
            full = len(self._waiting) // self._batch_size * self._batch_size
            accepted, self._waiting = self._waiting[:full], self._waiting[full:]
            for start in range(0, full, self._batch_size):
                yield self._batch(np.array(accepted[start : start + self._batch_size]))
            if full:
                return
        raise LowAcceptanceError(
            f"{MAX_EMPTY_EPOCHS} epochs accept fewer than one batch of {self._batch_size}: the pool holds almost "
            "nothing like the target; raise `retain_fraction` or lower the envelope."
        )

    def _batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        item, view = np.divmod(indices, self._activations.shape[1])
        row = self._rows[item]
        np.add.at(self.times_given, row, 1)
        return as_input(torch.from_numpy(self._activations[row, view])), self._classes[item]


def tune(
    model: FaceModel,
    pool: Features,
    people: np.ndarray,
    acceptance: Tensor,
    likeness: Tensor,
    recipe: Recipe,
    *,
    seed: int,
    on_step: Callable[[dict[str, float]], None] = lambda record: None,
) -> Tuned:
    """Tune the stages from `recipe.cut` on, on what is accepted, as far as other identities gain by it.

    How far to go from the pretrained towards the tuned weights is chosen by cross-validation over the pool's
    identities; then the network is tuned on all of them.

    Args:
        model: the pretrained network; it is not changed.
        pool: with activations.
        people: (N,) int identity of each item.
        acceptance: (N,) probability of each item, and of each of its views by itself, in an epoch.
        likeness: (N,) in [0, 1], how much each item looks like the target; weighs the validation pairs.
        recipe: the settings.
        seed: of the folds, the accept decisions and their order.
        on_step: is called with every record of the training history; "fold" is -1 for the last training.

    Raises:
        InputError: the pool has no activations, or fewer than two identities to train on.
    """
    names = np.unique(people)
    fold_of = dict(zip(np.random.default_rng(seed).permutation(names), itertools.cycle(range(recipe.folds))))
    fold = np.array([fold_of[person] for person in people])
    paths, samples = [], 0
    for held_out in range(recipe.folds):
        rows, others = np.flatnonzero(fold != held_out), np.flatnonzero(fold == held_out)
        line = _train(model, pool, rows, people, acceptance, recipe, seed, _tagged(on_step, held_out))
        samples += line.result.accepted
        others = _some(others, MAX_VALIDATION_ITEMS, seed)
        paths.append(_validate(line, pool.subset(others), people[others], likeness[others].numpy(), recipe))
    path = [mean_point(points) for points in zip(*paths, strict=True)]
    share = choose_share(path, recipe.max_retention_loss)
    everyone = np.arange(len(people))
    line = _train(model, pool, everyone, people, acceptance, recipe, seed, _tagged(on_step, -1))
    prefix, _ = model.split(recipe.cut)
    return Tuned(
        nn.Sequential(*prefix, *line.at(share)),
        share,
        path,
        line.result,
        line.times_trained,
        samples + line.result.accepted,
    )


@dataclass(frozen=True)
class _Line:
    """The tuned stages, and the line of weights they can be set to."""

    suffix: nn.Sequential
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
    people: np.ndarray,
    acceptance: Tensor,
    recipe: Recipe,
    seed: int,
    on_step: Callable[[dict[str, float]], None],
) -> _Line:
    """Tune on the accepted of some rows of the pool."""
    if pool.activations is None:
        raise InputError("tuning needs the pool's activations: embed it with `views=2` or more.")
    names, classes = np.unique(people[rows], return_inverse=True)
    if len(names) < 2:
        raise InputError(f"tuning needs at least two identities in every training fold, got {len(names)}.")
    embeddings = torch.from_numpy(pool.embeddings[rows] / 2)  # they are sums over two views
    prototypes = class_means(embeddings, torch.from_numpy(classes))
    loss = PrototypeLoss(prototypes, scale=recipe.scale, margin_rad=recipe.margin_rad)
    views = pool.activations.shape[1]
    sampler = RejectionSampler(acceptance[rows].repeat_interleave(views), seed=seed)
    suffix = copy.deepcopy(model.split(recipe.cut)[1])
    start = copy.deepcopy(suffix.state_dict())
    batches = AcceptedViews(pool.activations, rows, torch.from_numpy(classes), sampler, recipe.batch_size)
    result = fine_tune(
        suffix,
        batches,
        loss,
        stop=Stopping(steps=recipe.steps or default_steps(len(rows) * views, recipe.batch_size)),
        learning_rate=recipe.learning_rate,
        on_step=on_step,
    )
    return _Line(suffix, start, copy.deepcopy(suffix.state_dict()), result, batches.times_given)


def _tagged(on_step: Callable[[dict[str, float]], None], fold: int) -> Callable[[dict[str, float]], None]:
    return lambda record: on_step(record | {"fold": fold})


def total_steps(items: int, recipe: Recipe) -> int:
    """About how many steps `tune` takes in all, for a progress bar."""
    per_fold = items * (recipe.folds - 1) // recipe.folds
    sizes = [items, *[per_fold] * recipe.folds]
    return sum(recipe.steps or default_steps(size * recipe.views, recipe.batch_size) for size in sizes)


def default_steps(views: int, batch_size: int) -> int:
    """So many steps that a share `TRAINED_FRACTION` of the pool's views is trained on, within limits."""
    return min(MAX_STEPS, max(MIN_STEPS, round(TRAINED_FRACTION * views / batch_size)))


def choose_share(path: Sequence[PathPoint], max_retention_loss: float) -> float:
    """The share with the best target score among those that lose at most so much over all pairs; 0 if none is better.

    With fewer than `MIN_GENUINE` pairs nothing can be told, and it is 0.

    >>> path = [PathPoint(0.0, 0.5, 0.9, 99.0), PathPoint(0.5, 0.6, 0.895, 99.0), PathPoint(1.0, 0.7, 0.8, 99.0)]
    >>> choose_share(path, max_retention_loss=0.01)
    0.5
    """
    start = next(point for point in path if point.share == 0)
    if start.genuine < MIN_GENUINE:
        return 0.0
    allowed = [point for point in path if point.pool >= start.pool - max_retention_loss and point.target > start.target]
    return max(allowed, key=lambda point: point.target, default=start).share


def mean_point(points: Sequence[PathPoint]) -> PathPoint:
    """The mean over the folds that have pairs of both kinds, 0 if none has; and the number of pairs of all folds."""
    scores = np.ma.masked_invalid([(point.target, point.pool) for point in points]).mean(0)
    target, pool = np.ma.filled(scores, 0.0).tolist()
    return PathPoint(points[0].share, target, pool, sum(point.genuine for point in points))


def embed_activations(suffix: nn.Module, features: Features) -> np.ndarray:
    """Embeddings (N, D) of cached activations under other weights of the tuned stages."""
    activations = features.activations
    assert activations is not None
    parts = range(0, len(features), EMBEDDING_BATCH)
    return np.concatenate([sum_views(suffix, activations[start : start + EMBEDDING_BATCH, :2]) for start in parts])


def _some(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _validate(
    line: _Line, held_out: Features, people: np.ndarray, likeness: np.ndarray, recipe: Recipe
) -> list[PathPoint]:
    comparisons = all_comparisons(people)
    genuine = comparisons.genuine
    pair_likeness = likeness[comparisons.a] * likeness[comparisons.b]
    of_genuine = pair_likeness[genuine]
    worth = float(of_genuine.sum() ** 2 / max((of_genuine**2).sum(), np.finfo(float).tiny))
    path = []
    for share in recipe.shares:
        scores = cosine_scores(embed_activations(line.at(share), held_out), comparisons)
        target, pool = (
            weighted_tar(scores, genuine, weights, VALIDATION_FMRS) for weights in (pair_likeness, np.ones(len(scores)))
        )
        path.append(PathPoint(share, target, pool, worth))
    return path
