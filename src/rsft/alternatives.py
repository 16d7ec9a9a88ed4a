"""What a user could do in place of rejection: the ways to draw training batches from a pool that `compare` compares."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from rsft.plan import Plan
from rsft.sampler import RejectionSampler

# items (B,) int64, and the weights (B,) of their losses, of mean 1 over the pool, or None where all count alike
Batch = tuple[Tensor, Tensor | None]

UNIFORM, SUBSET, WEIGHTED, LOSS_WEIGHTS, REJECTION, ORACLE = (
    "uniform",
    "fresh subset",
    "weighted sampling",
    "loss weights",
    "rejection",
    "oracle",
)
MAX_EMPTY_EPOCHS = 1000


@dataclass(frozen=True)
class Method:
    """One way to draw batches.

    Attributes:
        epochs: seed -> endless epochs, each the items (n,) int64 in the order they are trained on.
        weights: (N,) of each item's loss, or None where all count alike.
        steps: in place of those of the comparison, such as for the same time in place of the same number of samples.
    """

    epochs: Callable[[int], Iterator[np.ndarray]]
    weights: Tensor | None = None
    steps: int | None = None

    def batches(self, steps: int, batch_size: int, seed: int) -> Iterator[Batch]:
        """So many batches, all of one size: what is left of an epoch opens the next.

        Raises:
            ValueError: a thousand epochs in a row are empty.
        """
        items = self._items(seed)
        for _ in range(self.steps or steps):
            batch = torch.tensor(list(itertools.islice(items, batch_size)))
            yield batch, None if self.weights is None else self.weights[batch]

    def _items(self, seed: int) -> Iterator[int]:
        empty = 0
        for epoch in self.epochs(seed):
            empty = 0 if len(epoch) else empty + 1
            if empty == MAX_EMPTY_EPOCHS:
                raise ValueError(
                    f"{MAX_EMPTY_EPOCHS} epochs accept nothing: there is nothing to compare; see the plan."
                )
            yield from epoch.tolist()


def alternatives(plan: Plan, *, oracle: np.ndarray | None = None) -> dict[str, Method]:
    """Rejection by a plan, and what it is compared with by default.

    * "uniform": all of the pool, shuffled.
    * "fresh subset": each item with the probability that makes the epoch as large as that of rejection.
    * "weighted sampling": with replacement, in proportion to the ratio (the `WeightedRandomSampler` way).
    * "loss weights": all of the pool, shuffled, each item's loss times its ratio.
    * "rejection": by the plan, its envelope and its retained share.
    * "oracle": the items that are known to be of the target, shuffled.

    The ratio is that of the plan's target, the retained share included, not clipped by its envelope.

    Args:
        plan: of the pool.
        oracle: (N,) bool, where it is known which items are of the target.

    Raises:
        ValueError: `oracle` has another length than the pool, or names no item.
    """
    items = len(plan.acceptance)
    ratio = torch.exp(plan.log_ratio - plan.log_ratio.max())
    methods = {
        UNIFORM: uniform(items),
        SUBSET: Method(partial(_accepted, torch.full((items,), float(plan.inclusion().mean())))),
        WEIGHTED: Method(partial(_weighted, ratio.numpy(), items)),
        LOSS_WEIGHTS: Method(uniform(items).epochs, (ratio / ratio.mean()).float()),
        REJECTION: rejection(plan),
    }
    if oracle is not None:
        known = np.flatnonzero(oracle)
        if len(oracle) != items or not len(known):
            raise ValueError(
                f"`alternatives(oracle=...)` needs ({items},) booleans, some of them true; got {len(oracle)} with "
                f"{len(known)} true: leave it out where it is not known which items are of the target."
            )
        methods[ORACLE] = Method(partial(_shuffled, known))
    return methods


def rejection(plan: Plan) -> Method:
    """Rejection by a plan; each seed draws other accept decisions."""
    return Method(partial(_planned, plan))


def uniform(items: int, steps: int | None = None) -> Method:
    """All items, shuffled anew every epoch."""
    return Method(partial(_shuffled, np.arange(items)), steps=steps)


def _shuffled(items: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(seed)
    while True:
        yield generator.permutation(items)


def _weighted(weights: np.ndarray, items: int, seed: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(seed)
    shares = weights / weights.sum()
    while True:
        yield generator.choice(items, items, p=shares)


def _planned(plan: Plan, seed: int) -> Iterator[np.ndarray]:
    return _epochs(plan.sampler(seed=seed, rank=0, world_size=1))


def _accepted(acceptance: Tensor, seed: int) -> Iterator[np.ndarray]:
    return _epochs(RejectionSampler(acceptance, seed=seed, rank=0, world_size=1))


def _epochs(sampler: RejectionSampler) -> Iterator[np.ndarray]:
    for epoch in itertools.count():
        sampler.set_epoch(epoch)
        yield sampler.sequence().numpy()
