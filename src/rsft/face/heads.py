"""Classification heads over identities."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# cos is kept this far from -1 and 1, where acos has no gradient: a prototype of one picture starts at cos = 1 exactly.
COSINE_GAP = 1e-6


class PrototypeLoss(nn.Module):
    """Cross-entropy over cosines to one fixed prototype per identity, with an additive angular margin.

    logit_k = scale * cos(angle_k + margin_rad if k is the item's class), with the angle between prototype k and the
    embedding (J. Deng et al., "ArcFace", 2019, eq. 3; prototypes after H. Qi et al.,
    "Low-shot learning with imprinted weights", 2018). Where the margin would take the angle past pi, the logit
    continues as a straight line, so it always falls as the angle grows.

    Args:
        prototypes: (C, D), of any norm; they are not trained.
        scale: of the cosines.
        margin_rad: in radians, in [0, pi / 2).
    """

    def __init__(self, prototypes: Tensor, *, scale: float = 32.0, margin_rad: float = 0.1) -> None:
        super().__init__()
        if not 0 <= margin_rad < math.pi / 2:
            raise ValueError(f"`PrototypeLoss(margin_rad=...)` needs a value in [0, pi / 2), got {margin_rad}.")
        self.register_buffer("prototypes", F.normalize(prototypes))
        self.scale = scale
        self.margin_rad = margin_rad

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        """Mean loss of (B, D) embeddings of (B,) int64 classes."""
        return F.cross_entropy(self.logits(embeddings, classes), classes)

    def logits(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        """(B, C), with the margin on each item's own class. Computed in float32 also under autocast."""
        with torch.autocast(embeddings.device.type, enabled=False):
            cosine = F.normalize(embeddings.float()) @ self.get_buffer("prototypes").T
            if self.margin_rad:
                own = cosine.gather(1, classes[:, None]).clamp(-1 + COSINE_GAP, 1 - COSINE_GAP)
                cosine = cosine.scatter(1, classes[:, None], self._with_margin(own))
            return self.scale * cosine

    def _with_margin(self, cosine: Tensor) -> Tensor:
        limit = math.cos(math.pi - self.margin_rad)
        shifted = torch.cos(torch.acos(cosine) + self.margin_rad)
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
