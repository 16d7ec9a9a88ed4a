"""Losses that a recipe can choose. Each starts from prototypes of the identities."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsft.face.adaptation.adaface import AdaFaceLoss
from rsft.face.adaptation.heads import PrototypeHead, PrototypeLoss
from rsft.face.adaptation.recipe import Recipe


class CosFaceLoss(nn.Module):
    """Loss with a margin on the cosine (H. Wang et al., "CosFace", 2018), by pytorch-metric-learning.

    The loss is computed in float32 even under autocast, because the library would otherwise cast its weights to the
    dtype of the embeddings.

    Args:
        prototypes: (C, D) initial prototypes, of any norm.
        scale: Factor of the cosines.
        margin_cosine: Margin that is subtracted from the cosine of the item's own class.
        ramp_batches: Number of training batches (those with gradients enabled) in which the margin grows from 0.
        learnt: Whether the prototypes are trained.
    """

    def __init__(
        self,
        prototypes: Tensor,
        *,
        scale: float = 32.0,
        margin_cosine: float = 0.1,
        ramp_batches: int = 0,
        learnt: bool = False,
    ) -> None:
        super().__init__()
        from pytorch_metric_learning.losses import CosFaceLoss as Library

        classes, width = prototypes.shape
        self._loss = Library(num_classes=classes, embedding_size=width, margin=margin_cosine, scale=scale)
        self._loss.W = nn.Parameter(F.normalize(prototypes).T.contiguous(), requires_grad=learnt)
        self.register_buffer("batches", torch.zeros(()))
        self._margin_cosine, self._ramp_batches = margin_cosine, ramp_batches

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        """Return the mean loss of embeddings (B, D) of classes (B,) int64."""
        batches = self.get_buffer("batches")
        if self._ramp_batches:
            self._loss.margin = self._margin_cosine * (batches / self._ramp_batches).clamp(max=1)
        with torch.autocast(embeddings.device.type, enabled=False):
            loss: Tensor = self._loss(embeddings.float(), classes)
        if torch.is_grad_enabled():
            batches.add_(1)
        return loss


LOSSES: Mapping[str, tuple[Callable[..., nn.Module], str]] = {
    "arcface": (PrototypeLoss, "margin_rad"),
    "cosface": (CosFaceLoss, "margin_cosine"),
    "adaface": (AdaFaceLoss, "margin_rad"),
}


def takes_weights(loss: str) -> bool:
    """Return whether the loss of this name takes a weight for each item.

    >>> [name for name in LOSSES if takes_weights(name)]
    ['arcface', 'adaface']
    """
    make, _ = LOSSES[loss]
    return isinstance(make, type) and issubclass(make, PrototypeHead)


def make_loss(recipe: Recipe, prototypes: Tensor, steps: int) -> nn.Module:
    """Make the loss of a recipe.

    Args:
        recipe: The recipe, which names the loss and its settings.
        prototypes: (C, D) initial prototypes.
        steps: Number of steps of the training, which sets the length of the ramp of the margin.
    """
    make, name = LOSSES[recipe.loss]
    margin = getattr(recipe, name)
    return make(
        prototypes,
        scale=recipe.scale,
        ramp_batches=round(recipe.margin_ramp_fraction * steps),
        learnt=recipe.learnt_prototypes,
        **({} if margin is None else {name: margin}),
    )
