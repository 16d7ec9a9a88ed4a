"""What every estimated ratio offers."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class DensityRatio(ABC):
    """log target - log proposal, estimated from a pool and a target sample.

    Attributes:
        pool_log_ratio: (N,) float64 for the items of the pool it was fitted on, each from a model that did not see it.
        target_log_ratio: (K,) float64 likewise for the target sample.
        diagnostics: figures that tell how far to trust it.
    """

    pool_log_ratio: Tensor
    target_log_ratio: Tensor
    diagnostics: dict[str, float]

    @abstractmethod
    def log_ratio(self, x: Tensor) -> Tensor:
        """The log ratio of new items: (n, D) -> (n,) float64.

        Raises:
            ValueError: the width differs from that of the fit, or a feature is NaN or infinite.
        """


def check_features(x: Tensor, call: str, width: int | None = None) -> Tensor:
    """(n, D) as float64 on the CPU, or a `ValueError` that names `call`."""
    if x.ndim != 2 or (width is not None and x.shape[1] != width):
        expected = f"(n, {width})" if width is not None else "(n, D)"
        raise ValueError(
            f"`{call}` needs features of shape {expected}, got {tuple(x.shape)}. Were all embedded with one model?"
        )
    x = x.detach().to("cpu", torch.float64)
    rows = (~torch.isfinite(x)).any(1).nonzero().flatten()
    if len(rows):
        raise ValueError(
            f"`{call}` has NaN or infinite features in {len(rows)} rows, the first at row {int(rows[0])}: "
            "leave these items out or embed them again."
        )
    return x
