"""What every estimated ratio offers."""

from abc import ABC, abstractmethod

import numpy as np
from torch import Tensor

from rsft.ratio.rows import Table


class DensityRatio(ABC):
    """log target - log proposal, estimated from a pool and a target sample.

    Attributes:
        pool_log_ratio: (N,) float64 for the items of the pool it was fitted on, each from a model that did not see it.
        target_log_ratio: (K,) float64 likewise for the target sample.
        pool_fold: (N,) uint8, the part in which each pool item was held out.
        target_fold: (K,) uint8, likewise.
        diagnostics: figures that tell how far to trust it.
    """

    pool_log_ratio: Tensor
    target_log_ratio: Tensor
    pool_fold: np.ndarray
    target_fold: np.ndarray
    diagnostics: dict[str, float]

    @abstractmethod
    def log_ratio(self, x: Table) -> Tensor:
        """The log ratio of new items: (n, D) -> (n,) float64.

        Raises:
            ValueError: the width differs from that of the fit, or a feature is NaN or infinite.
        """
