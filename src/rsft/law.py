"""The frozen rule of a plan: from the features of any item to its acceptance probability."""

from dataclasses import dataclass

from torch import Tensor

from rsft.ratio.base import DensityRatio
from rsft.ratio.combine import retain_pool
from rsft.ratio.rows import Table
from rsft.sampling.acceptance import acceptance_probability


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
