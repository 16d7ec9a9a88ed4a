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
from rsft.face.adaptation.whitening import Whitening, fold_in, whitenings_of
from rsft.face.networks.backbones.dlib import Affine
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.fusion import PartByPart
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
    if not recipe.whitening:
        return suffix, class_means(embeddings, classes), False
    assert pool.activations is not None
    likeness = np.ones(len(rows)) if likeness is None else likeness
    parts, whitened = [], False
    for part, of_part, example in _parts(suffix, embeddings, first_views(pool.activations, rows[:EXAMPLES])):
        found = whitenings_of(of_part.numpy(), classes.numpy(), likeness, recipe.whitening)
        made = next((each for each in found if _folded(part, each, example)), None)
        parts.append(nn.functional.normalize(of_part if made is None else made.of(of_part)))
        whitened |= made is not None
    return suffix, class_means(torch.cat(parts, 1), classes), whitened


def _parts(suffix: nn.Sequential, embeddings: Tensor, example: Tensor) -> Iterable[tuple[nn.Module, Tensor, Tensor]]:
    """Return what is whitened by itself, each with its embeddings and example input: the networks of a fusion."""
    last = suffix[-1]
    if not isinstance(last, PartByPart):
        return [(suffix, embeddings, example)]
    return zip(last.maps, embeddings.split(last.widths, 1), example.split(last.widths, 1), strict=True)


def _folded(part: nn.Module, whitening: Whitening, example: Tensor) -> bool:
    """Fold a map into the end of a network if it allows it."""
    try:
        fold_in(part, whitening, example)
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
