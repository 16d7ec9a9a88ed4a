"""The interface of all estimated density ratios."""

from abc import ABC, abstractmethod
from typing import Self

import numpy as np
from torch import Tensor

from rsft.ratio.rows import Table


class DensityRatio(ABC):
    """The log density ratio log target - log pool, estimated from a sample of each.

    Attributes:
        pool_log_ratio: (N,) float64 values at the pool's items, each from a model that was not trained on the item.
        target_log_ratio: (K,) float64 values at the target items, each from a model that was not trained on the item.
        pool_fold: (N,) uint8 fold in which each pool item was held out.
        target_fold: (K,) uint8 fold in which each target item was held out.
        diagnostics: Name -> value of statistics on the quality of the fit, such as "auc" and "mean_ratio" (see
            `fit_ratio`).
    """

    pool_log_ratio: Tensor
    target_log_ratio: Tensor
    pool_fold: np.ndarray
    target_fold: np.ndarray
    diagnostics: dict[str, float]

    @abstractmethod
    def log_ratio(self, x: Table) -> Tensor:
        """Compute the log ratio of new items.

        Args:
            x: (n, D) features of the items, with the columns used in the fit.

        Returns:
            (n,) float64 log ratios.

        Raises:
            ValueError: If the width differs from that of the fit, or a feature is NaN or infinite.
        """

    def frozen(self) -> Self:
        """Return a ratio that rates new items alike, without the values of the items that it was fitted on."""
        return self
