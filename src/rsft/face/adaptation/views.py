"""Cached activations of pictures and their views: batches of them for training, and their embeddings."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rsft.data.features import Features
from rsft.data.packed_views import Activations, PackedViews
from rsft.errors import InputError
from rsft.face.evaluation.pairs import AllPairs, PairList
from rsft.face.evaluation.trials import AnyTrial, scored
from rsft.face.networks.halves import as_input, sum_views
from rsft.sampling.full_batches import FullBatches
from rsft.tuning.distributed import on_device, rank_and_world_size

EMBEDDING_BATCH = 128


def read_views(activations: Activations, rows: np.ndarray, views: np.ndarray) -> Tensor:
    """Return view `views[i]` of item `rows[i]` as network input: (N, V, ...) float16 -> (n, ...) float32."""
    # copy, because activations read back from disk are mapped read-only, which torch does not accept
    return as_input(torch.from_numpy(np.array(activations[rows, views])))


def first_views(activations: Activations, rows: np.ndarray) -> Tensor:
    """Return the first computed view of some items, (n,) rows, as network input: (n, ...) float32."""
    views = np.zeros(len(rows), int)
    return read_views(
        activations, rows, activations.computed(rows, views) if isinstance(activations, PackedViews) else views
    )


def embed_activations(suffix: nn.Module, features: Features, rows: np.ndarray | None = None) -> np.ndarray:
    """Embed pictures from their cached activations, with other weights of the tuned stages, on the process's device.

    Args:
        suffix: The stages from the cut on.
        features: Features of the pictures, with activations.
        rows: (n,) rows to embed, or None for all.

    Returns:
        (n, D) float32 embeddings.
    """
    activations = features.activations
    assert activations is not None
    rows = np.arange(len(features)) if rows is None else rows
    parts = (rows[start : start + EMBEDDING_BATCH] for start in range(0, len(rows), EMBEDDING_BATCH))
    with on_device(suffix):
        return np.concatenate([sum_views(suffix, activations[part, :2]) for part in parts])


class AcceptedViews:
    """Batches of equal size of the cached activations of accepted views.

    Views left over from an epoch open the next batches. If there are several processes, each draws all batches and
    yields its own part of each.

    Args:
        activations: (N, V, ...) float16 activations.
        rows: (n,) rows of the items to train on.
        classes: (n,) int64 class of each of these items.
        ids: (N,) ids of all items.
        draw: Function from an epoch to the numbers of its views, in order. View v of item `rows[i]` is i * V + v. For a
            view that was not computed, the next one of the item is taken.
        batch_size: Number of views in a batch, summed over all processes.

    Attributes:
        times_given: (N,) int number of times that a view of each item was in a batch.

    Raises:
        InputError: If the processes cannot divide a batch evenly.
    """

    def __init__(
        self,
        activations: Activations,
        rows: np.ndarray,
        classes: Tensor,
        ids: Sequence[str],
        draw: Callable[[int], np.ndarray],
        batch_size: int,
    ) -> None:
        self._rank, self._processes = rank_and_world_size()
        if batch_size % self._processes:
            raise InputError(
                f"recipe.batch_size is {batch_size}, which {self._processes} processes cannot divide evenly: choose a "
                "multiple of their number."
            )
        self._activations, self._rows, self._classes, self._ids = activations, rows, classes, ids
        self._batches = FullBatches(lambda epoch: draw(epoch).tolist(), batch_size)
        self.times_given = np.zeros(len(activations), int)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, list[str]]]:
        """Yield (inputs, classes, ids) of the batches of a pass; see `FullBatches`."""
        for batch in self._batches:
            yield self._batch(batch)

    def state_dict(self) -> dict[str, Any]:
        """Return the position and `times_given`, as plain values."""
        return self._batches.state_dict() | {"times_given": self.times_given.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the position that `state_dict` returned."""
        self._batches.load_state_dict(state)
        self.times_given = np.array(state["times_given"])

    def _batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor, list[str]]:
        """Return this process's part of the batch with these numbers of views, and count its items."""
        item, view = np.divmod(indices, self._activations.shape[1])
        np.add.at(self.times_given, self._rows[item], 1)
        item, view = (np.split(part, self._processes)[self._rank] for part in (item, view))
        row = self._rows[item]
        if isinstance(self._activations, PackedViews):
            view = self._activations.computed(row, view)
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
