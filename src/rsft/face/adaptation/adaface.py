"""A margin that depends on how well a picture can be recognised, told by the norm of its embedding."""

import math
from typing import Any

import torch
from torch import Tensor

from rsft.face.adaptation.heads import PrototypeHead
from rsft.tuning.distributed import sum_over_processes

NORM_GAP = 1e-3


class AdaFaceLoss(PrototypeHead):
    """`PrototypeHead` with a margin by the norm: pictures of small norm get the easier one.

    With z = (norm - mean) * concentration / deviation, clipped to [-1, 1], the item's own logit is
    scale * (cos(angle - margin * z) - margin * (1 + z)): ArcFace's at z = -1, CosFace's at 0. Mean and deviation are
    running ones of the norms, which carry no gradient (M. Kim et al., "AdaFace", 2022, eq. 15-18).

    The first batch sets mean and deviation: the paper's own start values are for norms of its networks.

    Args:
        prototypes: see `PrototypeHead`.
        margin_rad: added to angles, in radians, and to cosines, in [0, pi / 2).
        concentration: how many norms lie within the clipping; larger makes fewer.
        momentum: weight of a new batch in mean and deviation.
        **options: of `PrototypeHead`.
    """

    def __init__(
        self,
        prototypes: Tensor,
        *,
        margin_rad: float = 0.4,
        concentration: float = 1 / 3,
        momentum: float = 0.01,
        **options: Any,
    ) -> None:
        super().__init__(prototypes, margin_rad=margin_rad, **options)
        for name in ("norm_mean", "norm_deviation"):
            self.register_buffer(name, torch.zeros(()))
        self._concentration, self._momentum = concentration, momentum

    def quality(self, embeddings: Tensor) -> Tensor:
        """(B,) z of (B, D) embeddings, in [-1, 1]."""
        mean, deviation = self.get_buffer("norm_mean"), self.get_buffer("norm_deviation")
        norms = embeddings.detach().norm(dim=1)
        return ((norms - mean) * self._concentration / (deviation + NORM_GAP)).clamp(-1, 1)

    def _with_margin(self, own: Tensor, embeddings: Tensor) -> Tensor:
        z, margin = self.quality(embeddings)[:, None], self._margin()
        angle = (torch.acos(own) - margin * z).clamp(NORM_GAP, math.pi - NORM_GAP)
        return torch.cos(angle) - margin * (1 + z)

    def _see(self, embeddings: Tensor) -> None:
        """Norms of the whole batch, all processes' parts together."""
        norms = embeddings.detach().float().norm(dim=1)
        count, added, squares = sum_over_processes(
            torch.stack([torch.ones_like(norms), norms, norms.square()]).sum(1).double()
        )
        mean = added / count
        deviation = ((squares - count * mean.square()).clamp(min=0) / (count - 1).clamp(min=1)).sqrt()
        weight = self._momentum if self.get_buffer("batches") else 1.0
        for name, value in (("norm_mean", mean), ("norm_deviation", deviation)):
            buffer = self.get_buffer(name)
            buffer.lerp_(value.to(buffer.dtype), weight)
