"""Classification heads over identities."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# cos is kept this far from -1 and 1, where acos has no gradient: a prototype of one picture starts at cos = 1 exactly.
COSINE_GAP = 1e-6


class PrototypeHead(nn.Module, ABC):
    """Cross-entropy over scaled cosines to one prototype per identity; its heirs say what margin the logits have.

    Args:
        prototypes: (C, D), of any norm.
        scale: of the cosines.
        margin_rad: in radians, in [0, pi / 2).
        ramp_batches: so many batches with gradients in which the margin grows from 0.
        learnt: whether the prototypes are trained.

    Raises:
        ValueError: the margin is out of range.
    """

    def __init__(
        self,
        prototypes: Tensor,
        *,
        scale: float = 32.0,
        margin_rad: float = 0.0,
        ramp_batches: int = 0,
        learnt: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= margin_rad < math.pi / 2:
            raise ValueError(f"`{type(self).__name__}(margin_rad=...)` needs a value in [0, pi / 2), got {margin_rad}.")
        self.prototypes = nn.Parameter(F.normalize(prototypes), requires_grad=learnt)
        self.register_buffer("batches", torch.zeros(()))
        self.scale, self.margin_rad, self._ramp_batches = scale, margin_rad, ramp_batches

    def forward(self, embeddings: Tensor, classes: Tensor, weights: Tensor | None = None) -> Tensor:
        """Mean loss of (B, D) embeddings of (B,) int64 classes, each times its weight (B,) where given."""
        if torch.is_grad_enabled():
            self._see(embeddings)
        losses = F.cross_entropy(self.logits(embeddings, classes), classes, reduction="none")
        if torch.is_grad_enabled():
            self.get_buffer("batches").add_(1)
        return losses.mean() if weights is None else (weights * losses).mean()

    def logits(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        """(B, C), with the margin on each item's own class. Computed in float32 also under autocast."""
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.float()
            prototypes = F.normalize(self.prototypes.float()) if self.prototypes.requires_grad else self.prototypes
            cosine = F.normalize(embeddings) @ prototypes.T
            if self.margin_rad:
                own = cosine.gather(1, classes[:, None]).clamp(-1 + COSINE_GAP, 1 - COSINE_GAP)
                cosine = cosine.scatter(1, classes[:, None], self._with_margin(own, embeddings))
            return self.scale * cosine

    def _margin(self) -> Tensor:
        batches = self.get_buffer("batches")
        grown = batches / self._ramp_batches if self._ramp_batches else torch.ones_like(batches)
        return self.margin_rad * grown.clamp(max=1)

    @abstractmethod
    def _with_margin(self, own: Tensor, embeddings: Tensor) -> Tensor:
        """(B, 1) cosines to the items' own prototypes, made harder."""

    def _see(self, embeddings: Tensor) -> None:
        """Is called with every batch that is learnt from, before its loss."""


class PrototypeLoss(PrototypeHead):
    """`PrototypeHead` with an additive angular margin.

    logit_k = scale * cos(angle_k + margin_rad if k is the item's class), with the angle between prototype k and the
    embedding (J. Deng et al., "ArcFace", 2019, eq. 3; prototypes after H. Qi et al.,
    "Low-shot learning with imprinted weights", 2018). Where the margin would take the angle past pi, the logit
    continues as a straight line, so it always falls as the angle grows.
    """

    def _with_margin(self, own: Tensor, embeddings: Tensor) -> Tensor:
        margin = self._margin()
        limit = torch.cos(math.pi - margin)
        return torch.where(own > limit, torch.cos(torch.acos(own) + margin), own - limit - 1)


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
