"""Ways to draw training batches from a pool: rejection by a plan, and the baselines to compare it with."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from rsft.plan import Plan
from rsft.sampling.full_batches import FullBatches
from rsft.sampling.sampler import RejectionSampler
from rsft.types import UNIFORM

# Items (B,) int64 of a batch, and the weights (B,) of their losses, with mean 1 over the pool; None for equal weights.
Batch = tuple[Tensor, Tensor | None]

SUBSET, WEIGHTED, LOSS_WEIGHTS, REJECTION, ORACLE = (
    "fresh subset",
    "weighted sampling",
    "loss weights",
    "rejection",
    "oracle",
)


@dataclass(frozen=True)
class Method:
    """One way to draw training batches.

    Attributes:
        epochs: Function from a seed to an endless iterator of epochs. Each epoch is the items (n,) int64 in training
            order.
        weights: (N,) loss weight of each item, or None for equal weights.
        steps: Number of batches that replaces that of the comparison, for instance to give a method equal time instead
            of an equal number of samples. None keeps that of the comparison.
        likeness: (N,) likeness of each item to the target in [0, 1], for trainings that use it beyond the draws. None
            for a method that does not know it.
        adaptation: Name of what is done with the target's own items besides, or None; the training knows what it means.
    """

    epochs: Callable[[int], Iterator[np.ndarray]]
    weights: Tensor | None = None
    steps: int | None = None
    likeness: Tensor | None = None
    adaptation: str | None = None

    def steps_of(self, steps: int) -> int:
        """Return the number of batches in a comparison that has `steps`."""
        return steps if self.steps is None else self.steps

    def batches(self, steps: int, batch_size: int, seed: int) -> Iterator[Batch]:
        """Yield batches of equal size. The items left at the end of an epoch start the next batch.

        Args:
            steps: Number of batches, unless the method has its own.
            batch_size: Number of items in a batch.
            seed: Seed for the epochs.

        Yields:
            The items (B,) int64 and their loss weights (B,), or None.

        Raises:
            LowAcceptanceError: If `MAX_EMPTY_EPOCHS` epochs do not fill a batch.
        """
        epochs = self.epochs(seed)
        batches = FullBatches(lambda epoch: next(epochs).tolist(), batch_size).endless()
        for items in itertools.islice(batches, self.steps_of(steps)):
            batch = torch.from_numpy(items)
            yield batch, None if self.weights is None else self.weights[batch]


def alternatives(plan: Plan, *, oracle: np.ndarray | None = None) -> dict[str, Method]:
    """Return rejection by a plan and the default baselines.

    * "uniform": shuffle all items of the pool.
    * "fresh subset": accept all items with one probability, so that the expected size of an epoch is that of rejection.
    * "weighted sampling": draw with replacement in proportion to the ratio, as `WeightedRandomSampler` does.
    * "loss weights": shuffle all items of the pool, and multiply the loss of each by its ratio.
    * "rejection": accept by the plan, with its envelope and its retained share.
    * "oracle": shuffle the items that are known to belong to the target.

    The ratio includes the retained share of the plan and is not clipped by its envelope.

    Args:
        plan: Plan for the pool of N items.
        oracle: (N,) bool mask of the items that belong to the target, or None if this is not known.

    Returns:
        Name -> method; "oracle" only if the mask is given.

    Raises:
        ValueError: If `oracle` does not have length N, or no item is true.
    """
    items = len(plan.acceptance)
    ratio = torch.exp(plan.log_ratio - plan.log_ratio.max())
    methods = {
        UNIFORM: uniform(items),
        SUBSET: Method(partial(_accepted, torch.full((items,), float(plan.inclusion().mean())))),
        WEIGHTED: Method(partial(_weighted, ratio.numpy(), items), likeness=plan.likeness),
        LOSS_WEIGHTS: Method(uniform(items).epochs, (ratio / ratio.mean()).float(), likeness=plan.likeness),
        REJECTION: rejection(plan),
    }
    if oracle is not None:
        known = np.flatnonzero(oracle)
        if len(oracle) != items or not len(known):
            raise ValueError(
                f"`alternatives(oracle=...)` needs ({items},) booleans, some of them true; got {len(oracle)} with "
                f"{len(known)} true: leave it out if the items of the target are not known."
            )
        methods[ORACLE] = Method(partial(_shuffled, known), likeness=torch.from_numpy(np.asarray(oracle, np.float64)))
    return methods


def rejection(plan: Plan) -> Method:
    """Return rejection by a plan. Each seed draws different accept decisions."""
    return Method(partial(_planned, plan), likeness=plan.likeness)


def uniform(items: int, steps: int | None = None) -> Method:
    """Return uniform sampling, which shuffles all items in every epoch.

    Args:
        items: Number of items in the pool.
        steps: Number of batches that replaces that of the comparison, or None.
    """
    return Method(partial(_shuffled, np.arange(items)), steps=steps)


def _shuffled(items: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Yield epochs that are random permutations of the items."""
    generator = np.random.default_rng(seed)
    while True:
        yield generator.permutation(items)


def _weighted(weights: np.ndarray, items: int, seed: int) -> Iterator[np.ndarray]:
    """Yield epochs drawn with replacement in proportion to the weights."""
    generator = np.random.default_rng(seed)
    shares = weights / weights.sum()
    while True:
        yield generator.choice(items, items, p=shares)


def _planned(plan: Plan, seed: int) -> Iterator[np.ndarray]:
    """Yield the epochs that a plan accepts."""
    return _epochs(plan.sampler(seed=seed, rank=0, world_size=1))


def _accepted(acceptance: Tensor, seed: int) -> Iterator[np.ndarray]:
    """Yield epochs accepted with the given probabilities."""
    return _epochs(RejectionSampler(acceptance, seed=seed, rank=0, world_size=1))


def _epochs(sampler: RejectionSampler) -> Iterator[np.ndarray]:
    """Yield the epochs of a sampler without end."""
    for epoch in itertools.count():
        sampler.set_epoch(epoch)
        yield sampler.sequence().numpy()


class Batches:
    """The batches of one training, for a single pass.

    Args:
        method: The method that draws the batches.
        steps: Number of batches, unless the method has its own.
        batch_size: Number of items in a batch.
        seed: Seed for the draw.

    Attributes:
        method: As given.
        seen: The items (B,) of the batches passed so far.
    """

    def __init__(self, method: Method, steps: int, batch_size: int, seed: int) -> None:
        self.method, self._steps, self._batch_size, self._seed = method, steps, batch_size, seed
        self.seen: list[np.ndarray] = []

    def __len__(self) -> int:
        return self.method.steps_of(self._steps)

    def __iter__(self) -> Iterator[Batch]:
        for items, weights in self.method.batches(self._steps, self._batch_size, self._seed):
            self.seen.append(items.numpy())
            yield items, weights
