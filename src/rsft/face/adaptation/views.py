"""Cached activations of pictures and their views: what trains on them, and what they embed to."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rsft.data.features import Features
from rsft.data.joined_arrays import JoinedArrays
from rsft.errors import InputError
from rsft.face.adaptation.recipe import Recipe
from rsft.face.evaluation.pairs import AllPairs, PairList
from rsft.face.evaluation.trials import AnyTrial, scored
from rsft.face.networks.halves import as_input, sum_views
from rsft.sampling.full_batches import FullBatches
from rsft.sampling.identities import FloorAcceptance, IdentityAcceptance, mind_identities
from rsft.sampling.sampler import RejectionSampler
from rsft.tuning.distributed import rank_and_world_size

EMBEDDING_BATCH = 128


def read_views(activations: np.ndarray | JoinedArrays, rows: np.ndarray, views: np.ndarray) -> Tensor:
    """View `views[i]` of item `rows[i]` as a network takes it: (N, V, ...) float16 -> (n, ...) float32."""
    # copied: those read back from disk are mapped read-only, which torch does not take
    return as_input(torch.from_numpy(np.array(activations[rows, views])))


def embed_activations(suffix: nn.Module, features: Features, rows: np.ndarray | None = None) -> np.ndarray:
    """Embeddings (n, D) of cached activations under other weights of the tuned stages, of all rows or some."""
    activations = features.activations
    assert activations is not None
    rows = np.arange(len(features)) if rows is None else rows
    parts = (rows[start : start + EMBEDDING_BATCH] for start in range(0, len(rows), EMBEDDING_BATCH))
    return np.concatenate([sum_views(suffix, activations[part, :2]) for part in parts])


def accept_views(
    acceptance: Tensor, classes: Tensor, views: int, recipe: Recipe
) -> tuple[Tensor, FloorAcceptance | IdentityAcceptance | None]:
    """Every view is accepted by itself, as its item; or its identity is minded as the recipe says.

    Args:
        acceptance: (n,) of the items.
        classes: (n,) int64, identity of each.
        views: V of each item.
        recipe: the settings.

    Returns:
        (n * V,) acceptance of view v of item i at i * V + v, and the rule that draws them, or None.
    """
    of_views = acceptance.repeat_interleave(views)
    return of_views, mind_identities(of_views, classes.repeat_interleave(views), recipe.accept_by, recipe.floor)


class AcceptedViews:
    """Batches of cached activations of accepted views, all of one size: what is left of an epoch opens the next.

    Each of several processes draws all batches, and is given its part of each.

    Args:
        activations: (N, V, ...) float16.
        rows: (n,) the items to train on.
        classes: (n,) int64.
        ids: (N,) of the items.
        sampler: over their n * V views, for one process; view v of item `rows[i]` is i * V + v.
        batch_size: of every batch, all processes' parts together.

    Raises:
        InputError: a batch cannot be divided evenly.
    """

    def __init__(
        self,
        activations: np.ndarray | JoinedArrays,
        rows: np.ndarray,
        classes: Tensor,
        ids: Sequence[str],
        sampler: RejectionSampler,
        batch_size: int,
    ) -> None:
        self._rank, self._processes = rank_and_world_size()
        if batch_size % self._processes:
            raise InputError(
                f"recipe.batch_size is {batch_size}, which {self._processes} processes cannot divide evenly: choose a "
                "multiple of their number."
            )
        self._activations, self._rows, self._classes, self._ids = activations, rows, classes, ids
        self._sampler = sampler
        self._batches = FullBatches(self._items_of, batch_size)
        self.times_given = np.zeros(len(activations), int)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, list[str]]]:
        """Yield the batches of a pass; see `FullBatches`."""
        for batch in self._batches:
            yield self._batch(batch)

    def state_dict(self) -> dict[str, Any]:
        """Return the position, and how often each item was given."""
        return self._batches.state_dict() | {"times_given": self.times_given.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self._batches.load_state_dict(state)
        self.times_given = np.array(state["times_given"])

    def _items_of(self, epoch: int) -> Iterable[int]:
        self._sampler.set_epoch(epoch)
        return self._sampler

    def _batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor, list[str]]:
        item, view = np.divmod(indices, self._activations.shape[1])
        np.add.at(self.times_given, self._rows[item], 1)
        item, view = (np.split(part, self._processes)[self._rank] for part in (item, view))
        row = self._rows[item]
        inputs = read_views(self._activations, row, view)
        return inputs, self._classes[item], [self._ids[index] for index in row]


def trial_of(suffixes: Mapping[str, nn.Module | None], pairs: PairList | AllPairs, features: Features) -> AnyTrial:
    """Score networks that differ in their last stages on pairs of embedded pictures.

    Args:
        suffixes: For each system's name, its stages from the cut on, or None for the network that embedded `features`.
        pairs: The pairs between the pictures.
        features: Features of the pictures, with activations.
    """
    embeddings = {
        name: features.embeddings if suffix is None else embed_activations(suffix, features)
        for name, suffix in suffixes.items()
    }
    return scored(embeddings, pairs)
