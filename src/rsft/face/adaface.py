"""A margin that depends on how well a picture can be recognised, told by the norm of its embedding."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsft.face.heads import COSINE_GAP
from rsft.tuning.processes import total

NORM_GAP = 1e-3


class AdaFaceLoss(nn.Module):
    """Cross-entropy over cosines to one prototype per identity; pictures of small norm get the easier margin.

    With z = (norm - mean) * concentration / deviation, clipped to [-1, 1], the item's own logit is
    scale * (cos(angle - margin * z) - margin * (1 + z)): ArcFace's at z = -1, CosFace's at 0. Mean and deviation are
    running ones of the norms, which carry no gradient (M. Kim et al., "AdaFace", 2022, eq. 15-18).

    The first batch sets mean and deviation: the paper's own start values are for norms of its networks.

    Args:
        prototypes: (C, D), of any norm.
        scale: of the cosines.
        margin_rad: added to angles, in radians, and to cosines, in [0, pi / 2).
        concentration: how many norms lie within the clipping; larger makes fewer.
        momentum: weight of a new batch in mean and deviation.
        ramp_batches: so many batches with gradients in which the margin grows from 0.
        learnt: whether the prototypes are trained.
    """

    def __init__(
        self,
        prototypes: Tensor,
        *,
        scale: float = 32.0,
        margin_rad: float = 0.4,
        concentration: float = 1 / 3,
        momentum: float = 0.01,
        ramp_batches: int = 0,
        learnt: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= margin_rad < math.pi / 2:
            raise ValueError(f"`AdaFaceLoss(margin_rad=...)` needs a value in [0, pi / 2), got {margin_rad}.")
        self.prototypes = nn.Parameter(F.normalize(prototypes), requires_grad=learnt)
        for name in ("batches", "norm_mean", "norm_deviation"):
            self.register_buffer(name, torch.zeros(()))
        self.scale, self.margin_rad = scale, margin_rad
        self._concentration, self._momentum, self._ramp_batches = concentration, momentum, ramp_batches

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        """Mean loss of (B, D) embeddings of (B,) int64 classes; with gradients, their norms are learnt from first."""
        if torch.is_grad_enabled():
            self._note_norms(embeddings.detach().float().norm(dim=1))
        loss = F.cross_entropy(self.logits(embeddings, classes), classes)
        if torch.is_grad_enabled():
            self.get_buffer("batches").add_(1)
        return loss

    def logits(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        """(B, C), with the margin on each item's own class. Computed in float32 also under autocast."""
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.float()
            cosine = F.normalize(embeddings) @ F.normalize(self.prototypes.float()).T
            own = cosine.gather(1, classes[:, None]).clamp(-1 + COSINE_GAP, 1 - COSINE_GAP)
            z, margin = self.quality(embeddings)[:, None], self._margin()
            angle = (torch.acos(own) - margin * z).clamp(NORM_GAP, math.pi - NORM_GAP)
            return self.scale * cosine.scatter(1, classes[:, None], torch.cos(angle) - margin * (1 + z))

    def quality(self, embeddings: Tensor) -> Tensor:
        """(B,) z of (B, D) embeddings, in [-1, 1]."""
        mean, deviation = self.get_buffer("norm_mean"), self.get_buffer("norm_deviation")
        norms = embeddings.detach().norm(dim=1)
        return ((norms - mean) * self._concentration / (deviation + NORM_GAP)).clamp(-1, 1)

    def _margin(self) -> Tensor:
        batches = self.get_buffer("batches")
        grown = batches / self._ramp_batches if self._ramp_batches else torch.ones_like(batches)
        return self.margin_rad * grown.clamp(max=1)

    def _note_norms(self, norms: Tensor) -> None:
        """Of the whole batch, all processes' parts together."""
        count, added, squares = total(torch.stack([torch.ones_like(norms), norms, norms.square()]).sum(1).double())
        mean = added / count
        deviation = ((squares - count * mean.square()).clamp(min=0) / (count - 1).clamp(min=1)).sqrt()
        weight = self._momentum if self.get_buffer("batches") else 1.0
        for name, value in (("norm_mean", mean), ("norm_deviation", deviation)):
            buffer = self.get_buffer(name)
            buffer.lerp_(value.to(buffer.dtype), weight)
