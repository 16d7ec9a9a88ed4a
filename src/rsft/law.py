"""The frozen rule of a plan: from the features of any item to its acceptance probability."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsft.ratio.base import DensityRatio
from rsft.ratio.combine import retain_pool
from rsft.ratio.rows import Table
from rsft.sampling.acceptance import acceptance_probability

# (n,) ascending items of the pool -> their features (n, D), or (features, usable) with a mask (n,) bool
Score = Callable[[np.ndarray], Any]


@dataclass(frozen=True)
class Law:
    """A pure function from an item's features to its acceptance probability, for items that the plan was not made from.

    Attributes:
        ratio: The fitted ratio of target and pool.
        log_mean: Log of the mean ratio of the items that the plan was made from. All ratios are divided by this mean.
        retain_fraction: Share of the pool in the target, in [0, 1].
        log_m: Log of the envelope M.
        likeness_log_m: Log of the envelope for the target alone.
    """

    ratio: DensityRatio
    log_mean: float
    retain_fraction: float
    log_m: float
    likeness_log_m: float

    def log_ratio(self, features: Table) -> Tensor:
        """Return log target - log pool, where the target includes the retained share: (n, D) -> (n,) float64."""
        return retain_pool(self._alone(features), self.retain_fraction)

    def acceptance(self, features: Table) -> Tensor:
        """Return the acceptance probabilities: (n, D) -> (n,) float64."""
        return acceptance_probability(self.log_ratio(features), self.log_m)

    def likeness(self, features: Table) -> Tensor:
        """Return the acceptance probabilities without the retained share: (n, D) -> (n,) float64."""
        return acceptance_probability(self._alone(features), self.likeness_log_m)

    def _alone(self, features: Table) -> Tensor:
        return self.ratio.log_ratio(features) - self.log_mean


class Scored:
    """The function from items (n,) int64 to log ratios (n,) float64, through their features.

    Args:
        law: The rule.
        score: Function that computes the features of items.
    """

    def __init__(self, law: Law, score: Score) -> None:
        self._law, self._score = law, score

    def __call__(self, items: np.ndarray) -> Tensor:
        call = "Plan.sampler(score=...)"
        features, usable = features_of(self._score, items, call)
        log_ratio = torch.full((len(items),), -math.inf, dtype=torch.float64)
        if usable.any():
            try:
                log_ratio[usable] = self._law.log_ratio(features[usable])
            except ValueError as error:  # of another width than those of the plan
                raise ValueError(f"`{call}`, from item {items[0]} on: {error}") from None
        return log_ratio


def features_of(score: Score, items: np.ndarray, call: str) -> tuple[Tensor, Tensor]:
    """Return the features of items, (n, D), and which of the items can be used, (n,) bool.

    Args:
        score: The function that computes them.
        items: (n,) int64 items, at least one.
        call: Names the argument in the messages.

    Raises:
        ValueError: If the shapes do not fit, or a feature of a usable item is NaN or infinite; the message names the
            item.
    """
    found = score(items)
    features, usable = found if isinstance(found, tuple) else (found, np.ones(len(items), bool))
    features, usable = torch.as_tensor(features), torch.as_tensor(usable)
    if features.ndim != 2 or len(features) != len(items) or usable.shape != (len(items),):
        raise ValueError(
            f"`{call}` needs a row of features for each of {len(items)} items, from item {items[0]} on, got "
            f"{tuple(features.shape)} with a mask {tuple(usable.shape)}."
        )
    wrong = usable & ~torch.isfinite(features).all(1)
    if wrong.any():
        raise ValueError(
            f"`{call}` gave NaN or infinity for item {items[int(wrong.nonzero()[0])]}: return (features, usable) to "
            "leave out items that cannot be read."
        )
    return features, usable
