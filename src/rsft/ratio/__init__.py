"""log target - log proposal, one file an estimator."""

from typing import Any

from torch import Tensor

from rsft.ratio.base import DensityRatio
from rsft.ratio.classifier import fit_classifier_ratio

METHODS = {"classifier": fit_classifier_ratio}


def fit_ratio(pool: Tensor, target: Tensor, method: str = "classifier", **options: Any) -> DensityRatio:
    """Estimate log target(x) - log pool(x) from samples of both.

    Args:
        pool: (N, D) features of the pool's items.
        target: (K, D) features of pictures of the target population; no labels are needed.
        method: "classifier": a calibrated, cross-fitted logistic regression.
        **options: of the method; see `fit_classifier_ratio`.

    Returns:
        A ratio whose `pool_log_ratio` (N,) was computed for every item by a model that has not seen it.

    Raises:
        ValueError: widths differ, a feature is NaN or infinite, or there are too few items.

    >>> import torch
    >>> generator = torch.Generator().manual_seed(0)
    >>> pool = torch.randn(4000, 2, generator=generator)
    >>> target = torch.randn(1000, 2, generator=generator) + torch.tensor([1.0, 0.0])
    >>> ratio = fit_ratio(pool, target)
    >>> exact = pool[:, 0] - 0.5
    >>> bool((ratio.pool_log_ratio - exact).abs().mean() < 0.1)
    True
    """
    if method not in METHODS:
        raise ValueError(f"`fit_ratio(method=...)` knows {sorted(METHODS)}, got {method!r}.")
    return METHODS[method](pool, target, **options)
