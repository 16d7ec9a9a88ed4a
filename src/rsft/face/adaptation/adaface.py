"""AdaFace: a margin that depends on the quality of a picture, measured by the norm of its embedding."""

import math
from typing import Any

import torch
from torch import Tensor

from rsft.face.adaptation.heads import PrototypeHead
from rsft.tuning.distributed import sum_over_processes

NORM_GAP = 1e-3


class AdaFaceLoss(PrototypeHead):
    """`PrototypeHead` with a margin that depends on the norm of the embedding; small norms get an easier margin.

    With z = (norm - mean) * concentration / deviation, clipped to [-1, 1], the logit of the item's own class is
    scale * (cos(angle - margin * z) - margin * (1 + z)). This is the logit of ArcFace at z = -1 and that of CosFace at
    z = 0. Mean and deviation are running statistics of the norms. The norms carry no gradient (M. Kim et al.,
    "AdaFace", 2022, eq. 15-18).

    The first batch sets mean and deviation, because the initial values of the paper suit the norms of its networks.

    Args:
        prototypes: (C, D) initial prototypes, of any norm.
        margin_rad: Margin, in [0, pi / 2). It applies to angles, in radians, and to cosines.
        concentration: Factor of the standardised norm. With a larger factor, more norms are clipped.
        momentum: Weight of a new batch in the running mean and deviation, in [0, 1].
        **options: Further arguments of `PrototypeHead`.
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
        """Return z (B,), in [-1, 1], of embeddings (B, D)."""
        mean, deviation = self.get_buffer("norm_mean"), self.get_buffer("norm_deviation")
        norms = embeddings.detach().norm(dim=1)
        return ((norms - mean) * self._concentration / (deviation + NORM_GAP)).clamp(-1, 1)

    def _with_margin(self, own: Tensor, embeddings: Tensor) -> Tensor:
        z, margin = self.quality(embeddings)[:, None], self._margin()
        angle = (torch.acos(own) - margin * z).clamp(NORM_GAP, math.pi - NORM_GAP)
        return torch.cos(angle) - margin * (1 + z)

    def _see(self, embeddings: Tensor) -> None:
        """Update mean and deviation with the norms of the whole batch, which includes the parts of all processes."""
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
