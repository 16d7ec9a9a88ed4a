"""Domain adaptation as others do it, with the inputs of rejection: a labelled pool and unlabelled target pictures."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.cluster import AgglomerativeClustering
from torch import Tensor, nn
from torch.nn import functional as F

from rsft.data.features import Features
from rsft.errors import InputError
from rsft.face.adaptation.heads import PrototypeLoss, class_means
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.views import read_views
from rsft.face.evaluation.pairs import list_all_pairs
from rsft.face.evaluation.trials import cosine_scores
from rsft.tuning.freezing import NORMALISATION
from rsft.tuning.moments import coral, mmd

MMD, CORAL, PSEUDO_LABELS, STATISTICS = "MMD", "CORAL", "pseudo-labels", "normalisation statistics"
PEERS = (MMD, CORAL, PSEUDO_LABELS, STATISTICS)
# Weights with which each penalty was about as large as the classification loss at the end of a training.
WEIGHTS = {MMD: 1.0, CORAL: 100.0, PSEUDO_LABELS: 1.0}
CLUSTER_FMR = 0.001  # two target pictures may be one person from the score on that reaches this FMR in the pool
MAX_CLUSTER_POOL = 2000


class TargetPenalty(nn.Module):
    """Penalty that compares the embeddings of a batch with those of a random batch of target pictures.

    Args:
        target: Features of the target, with activations.
        rows: (n,) rows of the target to draw from.
        distance: Function (pool embeddings (B, D), target embeddings (B, D), rows (B,)) -> scalar.
        weight: Factor of the distance.
        batch_size: Number of target pictures in a batch.
        seed: Seed of the draws.
    """

    def __init__(
        self,
        target: Features,
        rows: np.ndarray,
        distance: Callable[[Tensor, Tensor, np.ndarray], Tensor],
        weight: float,
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        self._target, self._rows, self._distance, self._weight = target, rows, distance, weight
        self._size, self._generator = min(batch_size, len(rows)), np.random.default_rng(seed)
        if isinstance(distance, nn.Module):
            self.distance = distance  # so that it moves along with the model

    def forward(self, model: nn.Module, inputs: Any, outputs: Tensor) -> Tensor:
        activations = self._target.activations
        assert activations is not None
        rows = self._generator.choice(self._rows, self._size, replace=False)
        views = self._generator.integers(activations.shape[1], size=len(rows))
        target = model(read_views(activations, rows, views).to(outputs.device))
        return self._weight * self._distance(outputs.float(), target.float(), rows)


class ClusterLoss(nn.Module):
    """Loss of target embeddings whose classes are clusters of the target by the pretrained network.

    Source: clusters as further classes, as M. Wang and W. Deng, "Deep face recognition with clustering based domain
    adaptation", 2020, and W. Lin et al. ("LaFR", 2022) use them.

    Args:
        embeddings: (K, D) embeddings of the target by the pretrained network.
        labels: (K,) int cluster of each picture.
        rows: (n,) rows in clusters of two pictures or more.
        scale: Factor of the cosines.
    """

    def __init__(self, embeddings: np.ndarray, labels: np.ndarray, rows: np.ndarray, scale: float) -> None:
        super().__init__()
        self._classes = np.full(len(labels), -1)
        _, self._classes[rows] = np.unique(labels[rows], return_inverse=True)
        means = class_means(torch.from_numpy(embeddings[rows]), torch.from_numpy(self._classes[rows]))
        self.head = PrototypeLoss(means, scale=scale)

    def forward(self, pool: Tensor, target: Tensor, rows: np.ndarray) -> Tensor:
        loss: Tensor = self.head(target, torch.from_numpy(self._classes[rows]).to(target.device))
        return loss


def peer_penalty(name: str, pool: Features, target: Features, recipe: Recipe, *, seed: int) -> TargetPenalty:
    """Make the penalty of a peer.

    Embeddings are normalised and multiplied by sqrt(D) before their moments are compared, so that each dimension has a
    mean square of 1.

    Args:
        name: `MMD`, `CORAL` or `PSEUDO_LABELS`.
        pool: Features of the pool.
        target: Features of the target, with activations.
        recipe: Settings, of which the size of batches and the scale of the loss are used.
        seed: Seed of the draws.

    Raises:
        InputError: If no two target pictures look like one person, for pseudo-labels.
    """
    rows = np.arange(len(target))
    if name == PSEUDO_LABELS:
        labels = cluster(target, pool, seed=seed)
        rows = np.flatnonzero(np.bincount(labels)[labels] > 1)
        if not len(rows):
            raise InputError("no two target pictures look like one person, so there are no pseudo-labels to train on.")
        distance: Callable[[Tensor, Tensor, np.ndarray], Tensor] = ClusterLoss(
            target.embeddings, labels, rows, recipe.scale
        )
    else:
        of_moments = {MMD: mmd, CORAL: coral}[name]

        def distance(first: Tensor, second: Tensor, rows: np.ndarray) -> Tensor:
            return of_moments(_spread(first), _spread(second))

    return TargetPenalty(target, rows, distance, WEIGHTS[name], batch_size=recipe.batch_size, seed=seed)


def cluster(target: Features, pool: Features, *, seed: int) -> np.ndarray:
    """Return a cluster (K,) int of each target picture, by average linkage of cosines.

    Clusters are merged as long as their mean cosine is above the threshold that `CLUSTER_FMR` has on the pool.

    Args:
        target: Features of the target.
        pool: Features of the pool by the same model. Of its pictures, at most `MAX_CLUSTER_POOL` are compared.
        seed: Seed for the choice of these pictures.
    """
    some = np.random.default_rng(seed).permutation(len(pool))[:MAX_CLUSTER_POOL]
    pairs = list_all_pairs(pool.people[some])
    impostors = cosine_scores(pool.embeddings[some], pairs)[~pairs.genuine]
    threshold = float(np.quantile(impostors, 1 - CLUSTER_FMR))
    unit = target.embeddings / np.linalg.norm(target.embeddings, axis=1, keepdims=True)
    clusters = AgglomerativeClustering(
        n_clusters=None, metric="cosine", linkage="average", distance_threshold=1 - threshold
    ).fit_predict(unit)
    return np.asarray(clusters)


def has_statistics(suffix: nn.Module) -> bool:
    """Return whether the stages have running statistics, so that they can be those of the target."""
    return any(isinstance(module, NORMALISATION) and module.running_mean is not None for module in suffix.modules())


def adapt_statistics(suffix: nn.Module, target: Features) -> None:
    """Replace the running statistics of batch normalisation by those of the target, in place.

    Source: Y. Li et al., "Adaptive batch normalization for practical domain adaptation", 2018.

    Args:
        suffix: Stages from the cut on. They are in evaluation mode afterwards.
        target: Features of the target, with activations. All are one batch.
    """
    assert target.activations is not None
    layers = [m for m in suffix.modules() if isinstance(m, NORMALISATION) and m.running_mean is not None]
    momentum = [layer.momentum for layer in layers]
    suffix.eval()
    for layer in layers:
        layer.train()
        layer.momentum = 1.0  # the statistics of this batch alone
    rows, views = (index.ravel() for index in np.indices((len(target), 2)))
    with torch.no_grad():
        suffix(read_views(target.activations, rows, views).to(next(suffix.parameters()).device))
    for layer, before in zip(layers, momentum, strict=True):
        layer.momentum = before
    suffix.eval()


def _spread(embeddings: Tensor) -> Tensor:
    """Normalise embeddings (B, D) to a mean square of 1 in each dimension."""
    return F.normalize(embeddings) * embeddings.shape[1] ** 0.5
