"""Whitening and training the last stages of a network on cached activations."""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rsft.data.features import Features
from rsft.errors import InputError
from rsft.face.adaptation.heads import class_means
from rsft.face.adaptation.losses import make_loss
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.views import first_views
from rsft.face.adaptation.whitening import fold_in, whitening_of
from rsft.face.networks.backbones.dlib import Affine
from rsft.face.networks.bundle import FaceModel
from rsft.tuning.freezing import AFFINE
from rsft.tuning.loop import TuningResult
from rsft.tuning.recipe import tune_by
from rsft.tuning.stopping import Stopping

EXAMPLES = 8  # pictures on which a changed last layer is checked


def classes_of(pool: Features, rows: np.ndarray) -> Tensor:
    """Number the identities of some rows of a pool: (n,) int64 in 0 ... C - 1."""
    return torch.from_numpy(np.unique(pool.people[rows], return_inverse=True)[1])


def whitened_stages(
    model: FaceModel, pool: Features, rows: np.ndarray, recipe: Recipe, likeness: np.ndarray | None = None
) -> tuple[nn.Sequential, Tensor, bool]:
    """Copy the stages from `recipe.cut` on, whitened if the recipe has it and enough pairs are like the target.

    Args:
        model: The pretrained network. It is not changed.
        pool: Features of the pool by this network, with activations.
        rows: (n,) rows of the items that are trained on.
        recipe: Settings, of which the cut and the whitening are used.
        likeness: (n,) likeness of the rows to the target, in [0, 1], which weights their pairs; see
            `within_person_covariance`. By default all count alike.

    Returns:
        The stages, the class means (C, D) of the rows by them, and whether they are whitened: not if the recipe has no
        whitening, too few pairs of one person are like the target, or the network does not end as `fold_in` needs it.
    """
    suffix, classes = copy.deepcopy(model.split(recipe.cut)[1]), classes_of(pool, rows)
    embeddings = torch.from_numpy(pool.embeddings[rows] / 2)  # the embeddings are sums over two views
    alike = np.ones(len(rows)) if likeness is None else likeness
    made = whitening_of(pool.embeddings[rows], classes.numpy(), alike, recipe.whitening) if recipe.whitening else None
    whitened = made is not None and _folded(suffix, made, pool, rows)
    if made is not None and whitened:
        embeddings = embeddings @ made.float()
    return suffix, class_means(embeddings, classes), whitened


def _folded(suffix: nn.Sequential, linear_map: Tensor, pool: Features, rows: np.ndarray) -> bool:
    """Fold a map into the stages if they allow it."""
    assert pool.activations is not None
    try:
        fold_in(suffix, linear_map, first_views(pool.activations, rows[:EXAMPLES]))
    except InputError:
        return False
    return True


def train_stages(
    suffix: nn.Sequential,
    prototypes: Tensor,
    batches: Iterable[Sequence[Any]],
    recipe: Recipe,
    *,
    steps: int,
    wrap: Callable[[nn.Module], nn.Module] = lambda loss: loss,
    **options: Any,
) -> TuningResult:
    """Tune the last stages of a network, in place.

    Args:
        suffix: The stages, such as those of `whitened_stages`.
        prototypes: (C, D) initial prototypes of the classes.
        batches: Batches as for `fine_tune`.
        recipe: Settings of the training.
        steps: Number of steps of the training, which sets the length of the ramp of the margin. With 0, nothing is
            trained.
        wrap: Function that makes the loss accept the targets of the batches.
        **options: Further arguments of `tune_by`. By default the training stops after the steps.

    Returns:
        The result of the training.
    """
    if not steps:
        suffix.eval()
        return TuningResult(0, 0, 0, 0.0, "steps", 0, 0, [])
    loss = make_loss(recipe, prototypes, steps)
    options.setdefault("stop", Stopping(steps=steps))
    return tune_by(recipe, suffix, batches, wrap(loss), affine=(*AFFINE, Affine), **options)
