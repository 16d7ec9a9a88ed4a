"""Cached activations of pictures and their views: what trains on them, and what they embed to."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rsft.data.features import Features
from rsft.data.shards import Shards
from rsft.errors import InputError, LowAcceptanceError
from rsft.face.embed import as_input, sum_views
from rsft.face.recipe import Recipe
from rsft.identities import FloorAcceptance, IdentityAcceptance, mind_identities
from rsft.sampler import RejectionSampler
from rsft.tuning.processes import place

MAX_EMPTY_EPOCHS = 1000
EMBEDDING_BATCH = 128


def read_views(activations: np.ndarray | Shards, rows: np.ndarray, views: np.ndarray) -> Tensor:
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
        activations: np.ndarray | Shards,
        rows: np.ndarray,
        classes: Tensor,
        ids: Sequence[str],
        sampler: RejectionSampler,
        batch_size: int,
    ) -> None:
        self._rank, self._processes = place()
        if batch_size % self._processes:
            raise InputError(
                f"recipe.batch_size is {batch_size}, which {self._processes} processes cannot divide evenly: choose a "
                "multiple of their number."
            )
        self._activations, self._rows, self._classes, self._ids = activations, rows, classes, ids
        self._sampler, self._batch_size = sampler, batch_size
        self._epoch, self._under_way = 0, False
        self._waiting: deque[int] = deque()
        self.times_given = np.zeros(len(activations), int)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, list[str]]]:
        """Yield the batches that are left of a pass under way, or of the next epoch, or of as many as fill one.

        Raises:
            LowAcceptanceError: a thousand epochs do not fill a batch.
        """
        if not self._under_way:
            self._fill()
        self._under_way = True
        while len(self._waiting) >= self._batch_size:
            yield self._batch(np.array([self._waiting.popleft() for _ in range(self._batch_size)]))
        self._under_way = False

    def state_dict(self) -> dict[str, Any]:
        """What is still to be given, and what was."""
        return {
            "epoch": self._epoch,
            "under_way": self._under_way,
            "waiting": list(self._waiting),
            "times_given": self.times_given.tolist(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self._epoch, self._under_way, self._waiting = state["epoch"], state["under_way"], deque(state["waiting"])
        self.times_given = np.array(state["times_given"])

    def _fill(self) -> None:
        for _ in range(MAX_EMPTY_EPOCHS):
            if len(self._waiting) >= self._batch_size:
                return
            self._sampler.set_epoch(self._epoch)
            self._epoch += 1
            self._waiting += self._sampler
        raise LowAcceptanceError(
            f"{MAX_EMPTY_EPOCHS} epochs accept fewer than one batch of {self._batch_size}: the pool holds almost "
            "nothing like the target; raise `retain_fraction` or lower the envelope."
        )

    def _batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor, list[str]]:
        item, view = np.divmod(indices, self._activations.shape[1])
        np.add.at(self.times_given, self._rows[item], 1)
        item, view = (np.split(part, self._processes)[self._rank] for part in (item, view))
        row = self._rows[item]
        inputs = read_views(self._activations, row, view)
        return inputs, self._classes[item], [self._ids[index] for index in row]
