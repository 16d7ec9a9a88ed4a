"""uLSIF and RuLSIF: least-squares fit of the density ratio with Gaussian kernels centred at random target items.

References: T. Kanamori et al., "A least-squares approach to direct importance estimation", 2009; M. Yamada et al.,
"Relative density-ratio estimation for robust distribution comparison", 2011.
"""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rsft.ratio.bandwidth import median_distance
from rsft.ratio.crossfit import Alternative, CrossFittedRatio, Score, cross_fitted
from rsft.ratio.rows import Table, both_sides
from rsft.ratio.sample import FOLDS_OF_SLOW_MODELS, Sample, draw_sample

KERNELS = 200
BANDWIDTHS = (0.25, 0.5, 1.0)
PENALTIES = (1e-3, 1e-2, 1e-1)
# A relative ratio is below 1 / alpha. Estimates are clamped to (1 - BOUND_MARGIN) / alpha to keep the ratio finite.
BOUND_MARGIN = 1e-3


def fit_least_squares_ratio(pool: Table, target: Table, *, alpha: float = 0.0, **options: Any) -> CrossFittedRatio:
    """Estimate the ratio by least squares (uLSIF, or RuLSIF for `alpha` > 0).

    The fit minimises E_m (r_alpha - rho)^2, where m = alpha p + (1 - alpha) q mixes target p and pool q, r_alpha = p/m
    is the relative ratio, and rho is a combination of kernels with weights >= 0. For `alpha` > 0 the relative ratio is
    bounded by 1 / alpha, so its estimate has a lower variance; it is converted to the ratio by
    p / q = (1 - alpha) rho / (1 - alpha rho). The kernels include a constant, so that the ratio does not vanish far
    from all centres.

    Args:
        pool: (N, D) features of the pool's items.
        target: (K, D) features of the target items.
        alpha: Share of the target in m, in [0, 1).
        **options: `folds` (default 5), `groups`, `target_groups`, `max_items` and `seed` of `draw_sample`.

    Returns:
        The fitted ratio.

    Raises:
        ValueError: If `alpha` is not in [0, 1), the widths differ, a feature is NaN or infinite, or a side has fewer
            items or groups than folds.
    """
    if not 0 <= alpha < 1:
        raise ValueError(f"`fit_ratio(alpha=...)` needs a value in [0, 1), got {alpha}.")
    sides = both_sides(pool, target)
    sample = draw_sample(*sides, **{"folds": FOLDS_OF_SLOW_MODELS, **options})
    generator = torch.Generator().manual_seed(options.get("seed", 0))
    median = median_distance(sample.x, generator)
    order = torch.randperm(int(sample.y.sum()), generator=generator) + len(sample.pool_rows)
    folds = range(int(sample.fold.max()) + 1)
    alternatives = []
    for bandwidth in BANDWIDTHS:
        width = bandwidth * median
        fits = [_fit_fold(sample, fold, order, width, alpha) for fold in folds]
        alternatives += [
            Alternative({"bandwidth": bandwidth, "penalty": penalty}, [fit[number] for fit in fits])
            for number, penalty in enumerate(PENALTIES)
        ]
    return cross_fitted("least-squares", *sides, sample, alternatives, bend=True)


def _fit_fold(sample: Sample, fold: int, order: Tensor, width: float, alpha: float) -> list[Score]:
    """Return one score for each penalty, with centres at target items on which the model of `fold` is trained."""
    others = sample.others(fold)
    centres = sample.x[order[others[order]][:KERNELS]]
    pool, target = (_kernels(sample.x[others & (sample.y == side)], centres, width) for side in (0, 1))
    second = alpha * target.T @ target / len(target) + (1 - alpha) * pool.T @ pool / len(pool)
    first = target.mean(0)
    scores: list[Score] = []
    for penalty in PENALTIES:
        weight = torch.linalg.solve(second + penalty * torch.eye(len(second)), first).clamp(min=0)
        scores.append(partial(_score, centres, width, weight, alpha))
    return scores


def _score(centres: Tensor, width: float, weight: Tensor, alpha: float, x: Tensor) -> Tensor:
    """Return the log of the fitted ratio: (n,)."""
    relative = (_kernels(x, centres, width) @ weight).clamp(min=torch.finfo(torch.float32).tiny)
    if not alpha:
        return relative.log()
    relative = relative.clamp(max=(1 - BOUND_MARGIN) / alpha)
    return relative.log() + math.log1p(-alpha) - torch.log1p(-alpha * relative)


def _kernels(x: Tensor, centres: Tensor, width: float) -> Tensor:
    """Evaluate the C Gaussian kernels and a constant at x, (n, D): (n, C + 1)."""
    return torch.cat([torch.exp(-((torch.cdist(x, centres) / width) ** 2) / 2), torch.ones(len(x), 1)], 1)
