"""Classification heads over identities."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Cosines are kept this far from -1 and 1, where acos has no gradient. The cosine of a single picture starts at 1.
COSINE_GAP = 1e-6


class PrototypeHead(nn.Module, ABC):
    """Cross-entropy over scaled cosines to one prototype per identity. Subclasses define the margin of the logits.

    Args:
        prototypes: (C, D) initial prototypes, of any norm.
        scale: Factor of the cosines.
        margin_rad: Margin in radians, in [0, pi / 2).
        ramp_batches: Number of training batches (those with gradients enabled) in which the margin grows from 0.
        learnt: Whether the prototypes are trained.

    Raises:
        ValueError: If the margin is out of range.
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
        """Compute the mean loss of a batch.

        With gradients enabled, the batch also advances the ramp of the margin.

        Args:
            embeddings: (B, D) embeddings.
            classes: (B,) int64 classes.
            weights: (B,) weights of the losses, or None for equal weights.

        Returns:
            Scalar: the sum of the weighted losses over B.
        """
        if torch.is_grad_enabled():
            self._see(embeddings)
        losses = F.cross_entropy(self.logits(embeddings, classes), classes, reduction="none")
        if torch.is_grad_enabled():
            self.get_buffer("batches").add_(1)
        return losses.mean() if weights is None else (weights * losses).mean()

    def logits(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        """Return the logits (B, C), with the margin on each item's own class, in float32 even under autocast."""
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.float()
            prototypes = F.normalize(self.prototypes.float()) if self.prototypes.requires_grad else self.prototypes
            cosine = F.normalize(embeddings) @ prototypes.T
            if self.margin_rad:
                own = cosine.gather(1, classes[:, None]).clamp(-1 + COSINE_GAP, 1 - COSINE_GAP)
                cosine = cosine.scatter(1, classes[:, None], self._with_margin(own, embeddings))
            return self.scale * cosine

    def _margin(self) -> Tensor:
        """Return the current margin, which grows with the training batches so far."""
        batches = self.get_buffer("batches")
        grown = batches / self._ramp_batches if self._ramp_batches else torch.ones_like(batches)
        return self.margin_rad * grown.clamp(max=1)

    @abstractmethod
    def _with_margin(self, own: Tensor, embeddings: Tensor) -> Tensor:
        """Apply the margin to the cosines (B, 1) between the items and their own prototypes."""

    def _see(self, embeddings: Tensor) -> None:
        """Receive the embeddings of every training batch before its loss is computed. By default, do nothing."""


class PrototypeLoss(PrototypeHead):
    """`PrototypeHead` with an additive angular margin.

    Let angle_k be the angle between prototype k and the embedding. Then logit_k = scale * cos(angle_k + margin_rad) for
    the item's class, and scale * cos(angle_k) for all others (J. Deng et al., "ArcFace", 2019, eq. 3; prototypes after
    H. Qi et al., "Low-shot learning with imprinted weights", 2018). If the margin takes the angle past pi, the logit
    continues as a straight line in the cosine, so it always falls as the angle grows.
    """

    def _with_margin(self, own: Tensor, embeddings: Tensor) -> Tensor:
        margin = self._margin()
        limit = torch.cos(math.pi - margin)
        return torch.where(own > limit, torch.cos(torch.acos(own) + margin), own - limit - 1)


def class_means(embeddings: Tensor, classes: Tensor) -> Tensor:
    """Return the mean of the normalised embeddings of each identity.

    Args:
        embeddings: (N, D) embeddings.
        classes: (N,) int64 identities, in 0 ... C - 1. Each must occur at least once.

    Returns:
        (C, D) means, not normalised.

    >>> class_means(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0]))
    tensor([[0.5000, 0.5000]])
    """
    unit = F.normalize(embeddings)
    sums = torch.zeros(int(classes.max()) + 1, embeddings.shape[1], dtype=unit.dtype).index_add_(0, classes, unit)
    return sums / torch.bincount(classes)[:, None]
