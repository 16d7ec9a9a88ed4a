"""Density ratio from the odds of a calibrated logistic regression, on the features or on functions of them.

With K target and N pool items, log p(x) / q(x) = log P(target | x) / P(pool | x) - log K / N (J. Qin, "Inferences for
case-control and semiparametric two-sample density ratio models", 1998).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rsft.ratio.bandwidth import median_distance
from rsft.ratio.crossfit import Alternative, CrossFittedRatio, Score, cross_fitted
from rsft.ratio.logistic import fit_logistic
from rsft.ratio.rows import Table, both_sides
from rsft.ratio.sample import FOLDS_OF_SLOW_MODELS, Sample, draw_sample

# L2 penalties per training item. One grid suits all data as features are standardised; 1e-6 is for correlated features.
PENALTIES = (0.3, 0.03, 0.01, 1e-3, 1e-6)
MAX_PRODUCTS = 600
RANDOM_FEATURES = 500
BANDWIDTHS = (0.5, 1.0, 2.0)

Expansion = Callable[[Tensor], Tensor]  # (n, D) standardised features -> (n, E) functions of them


def fit_classifier_ratio(pool: Table, target: Table, **options: Any) -> CrossFittedRatio:
    """Estimate a log ratio that is linear in the features.

    Args:
        pool: (N, D) features of the pool's items.
        target: (K, D) features of the target items.
        **options: `folds`, `groups`, `target_groups`, `max_items` and `seed` of `draw_sample`, and `penalties`, a
            sequence of L2 regularisation strengths > 0. The one with the lowest held-out cross-entropy is selected.

    Returns:
        The fitted ratio.

    Raises:
        ValueError: If the widths differ, a feature is NaN or infinite, or a side has fewer items or groups than folds.
    """
    return _fit("classifier", pool, target, lambda sample: iter([({}, _as_it_is)]), **options)


def fit_quadratic_ratio(pool: Table, target: Table, **options: Any) -> CrossFittedRatio:
    """Estimate a log ratio that is quadratic in the features.

    The regression uses the features, their squares and, if there are at most `MAX_PRODUCTS`, their pairwise products.
    This form is exact for two normal populations with any covariances, such as a target narrower than the pool. The
    arguments, return value and exceptions are those of `fit_classifier_ratio`.
    """
    return _fit("quadratic", pool, target, lambda sample: iter([({}, _squares)]), bend=True, **options)


def fit_kernel_ratio(pool: Table, target: Table, **options: Any) -> CrossFittedRatio:
    """Estimate a smooth log ratio of any form with random Fourier features of a Gaussian kernel.

    The regression uses the features and their random Fourier features (A. Rahimi and B. Recht, "Random features for
    large-scale kernel machines", 2007). The kernel's bandwidth is the median distance of two items times one of
    `BANDWIDTHS`, which is selected together with the penalty. The arguments, return value and exceptions are those of
    `fit_classifier_ratio`, with 5 folds by default.
    """
    seed = options.get("seed", 0)
    options = {"folds": FOLDS_OF_SLOW_MODELS, **options}
    return _fit("kernel", pool, target, lambda sample: _fourier_expansions(sample.x, seed), bend=True, **options)


def _fit(
    method: str,
    pool: Table,
    target: Table,
    expansions: Callable[[Sample], Iterator[tuple[dict[str, float], Expansion]]],
    *,
    penalties: Sequence[float] = PENALTIES,
    bend: bool = False,
    **options: Any,
) -> CrossFittedRatio:
    """Fit a regression for each expansion and penalty, and cross-fit the best of them."""
    sides = both_sides(pool, target)
    sample = draw_sample(*sides, **options)
    alternatives = [
        Alternative({**settings, "penalty": penalty}, scores)
        for settings, expand in expansions(sample)
        for penalty, scores in _fit_folds(sample, expand, penalties)
    ]
    return cross_fitted(method, *sides, sample, alternatives, bend=bend)


def _fit_folds(sample: Sample, expand: Expansion, penalties: Sequence[float]) -> Iterator[tuple[float, list[Score]]]:
    """Fit one regression for each fold and penalty, all at once; yield each penalty with its scores by fold."""
    x = expand(sample.x)
    spread, mean = torch.std_mean(x, 0, correction=0)
    spread = torch.where(spread > 1e-6, spread, math.inf)
    folds = int(sample.fold.max()) + 1
    others = torch.stack([sample.others(fold) for fold in range(folds)]).float()
    strength = torch.tensor(penalties).repeat_interleave(folds) * others.sum(1).repeat(len(penalties))
    weights, biases = fit_logistic((x - mean) / spread, sample.y, others.repeat(len(penalties), 1), strength)
    weights = weights / spread
    biases = biases - weights @ mean
    lines = [_line(expand, weight, bias) for weight, bias in zip(weights, biases, strict=True)]
    for number, penalty in enumerate(penalties):
        yield penalty, lines[number * folds : (number + 1) * folds]


def _line(expand: Expansion, weight: Tensor, bias: Tensor) -> Score:
    """Return the score function of one fitted regression."""
    return partial(_linear, expand, weight, bias)  # a function inside this one could not be pickled


def _linear(expand: Expansion, weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    return expand(x) @ weight + bias


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _squares(x: Tensor) -> Tensor:
    """Append the squares and, if there are at most `MAX_PRODUCTS`, the pairwise products: (n, D) -> (n, E)."""
    width = x.shape[1]
    if width * (width - 1) // 2 > MAX_PRODUCTS:
        return torch.cat([x, x**2], 1)
    first, second = torch.triu_indices(width, width)
    return torch.cat([x, x[:, first] * x[:, second]], 1)


def _fourier_expansions(x: Tensor, seed: int) -> Iterator[tuple[dict[str, float], Expansion]]:
    """Yield each bandwidth, as settings, with its random Fourier features."""
    generator = torch.Generator().manual_seed(seed)
    median = median_distance(x, generator)
    directions = torch.randn(x.shape[1], RANDOM_FEATURES, generator=generator)
    phases = 2 * math.pi * torch.rand(RANDOM_FEATURES, generator=generator)
    for bandwidth in BANDWIDTHS:
        yield {"bandwidth": bandwidth}, _waves(directions / (bandwidth * median), phases)


def _waves(frequencies: Tensor, phases: Tensor) -> Expansion:
    """Return the expansion that appends the cosines with these (D, E) frequencies and (E,) phases."""
    return partial(_with_waves, frequencies, phases)


def _with_waves(frequencies: Tensor, phases: Tensor, x: Tensor) -> Tensor:
    return torch.cat([x, torch.cos(x @ frequencies + phases)], 1)
