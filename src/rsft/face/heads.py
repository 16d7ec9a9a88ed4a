"""Classification heads over identities."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# cos is kept this far from -1 and 1, where acos has no gradient: a prototype of one picture starts at cos = 1 exactly.
COSINE_GAP = 1e-6


class PrototypeLoss(nn.Module):
    """Cross-entropy over cosines to one prototype per identity, with an additive angular margin.

    logit_k = scale * cos(angle_k + margin_rad if k is the item's class), with the angle between prototype k and the
    embedding (J. Deng et al., "ArcFace", 2019, eq. 3; prototypes after H. Qi et al.,
    "Low-shot learning with imprinted weights", 2018). Where the margin would take the angle past pi, the logit
    continues as a straight line, so it always falls as the angle grows.

    Args:
        prototypes: (C, D), of any norm.
        scale: of the cosines.
        margin_rad: in radians, in [0, pi / 2).
        ramp_batches: so many batches with gradients in which the margin grows from 0.
        learnt: whether the prototypes are trained.
    """

    def __init__(
        self,
        prototypes: Tensor,
        *,
        scale: float = 32.0,
        margin_rad: float = 0.1,
        ramp_batches: int = 0,
        learnt: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= margin_rad < math.pi / 2:
            raise ValueError(f"`PrototypeLoss(margin_rad=...)` needs a value in [0, pi / 2), got {margin_rad}.")
        self.prototypes = nn.Parameter(F.normalize(prototypes), requires_grad=learnt)
        self.register_buffer("batches", torch.zeros(()))
        self.scale = scale
        self.margin_rad = margin_rad
        self._ramp_batches = ramp_batches

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        """Mean loss of (B, D) embeddings of (B,) int64 classes."""
        loss = F.cross_entropy(self.logits(embeddings, classes), classes)
        if torch.is_grad_enabled():
            self.get_buffer("batches").add_(1)
        return loss

    def logits(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        """(B, C), with the margin on each item's own class. Computed in float32 also under autocast."""
        with torch.autocast(embeddings.device.type, enabled=False):
            prototypes = F.normalize(self.prototypes.float()) if self.prototypes.requires_grad else self.prototypes
            cosine = F.normalize(embeddings.float()) @ prototypes.T
            if self.margin_rad:
                own = cosine.gather(1, classes[:, None]).clamp(-1 + COSINE_GAP, 1 - COSINE_GAP)
                cosine = cosine.scatter(1, classes[:, None], self._with_margin(own))
            return self.scale * cosine

    def _with_margin(self, cosine: Tensor) -> Tensor:
        batches = self.get_buffer("batches")
        grown = batches / self._ramp_batches if self._ramp_batches else torch.ones_like(batches)
        margin = self.margin_rad * grown.clamp(max=1)
        limit = torch.cos(math.pi - margin)
        shifted = torch.cos(torch.acos(cosine) + margin)
        return torch.where(cosine > limit, shifted, cosine - limit - 1)


def class_means(embeddings: Tensor, classes: Tensor) -> Tensor:
    """The direction of each identity: the mean of its normalised embeddings.

    Args:
        embeddings: (N, D).
        classes: (N,) int64 in 0 ... C - 1, each at least once.

    Returns:
        (C, D), not normalised.

    >>> class_means(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0]))
    tensor([[0.5000, 0.5000]])
    """
    unit = F.normalize(embeddings)
    sums = torch.zeros(int(classes.max()) + 1, embeddings.shape[1], dtype=unit.dtype).index_add_(0, classes, unit)
    return sums / torch.bincount(classes)[:, None]
