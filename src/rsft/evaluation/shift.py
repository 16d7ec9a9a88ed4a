"""Tests of how far two samples differ, over all features together and in each covariate."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import ks_2samp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rsft.groups import effective_number
from rsft.types import Interval, normal_interval

FOLDS = 5
MAX_ITEMS = 5000
MAX_MMD_ITEMS = 1000
RESAMPLES = 200
STRENGTH = 0.01


@dataclass(frozen=True)
class TwoSample:
    """The result of a two-sample test.

    Attributes:
        auc: Area under the ROC curve of a cross-fitted logistic regression that separates the samples, in [0, 1]; 0.5
            if they have the same distribution (D. Lopez-Paz and M. Oquab, "Revisiting classifier two-sample tests",
            2017).
        mmd: Unbiased estimate of the squared maximum mean discrepancy with a Gaussian kernel (A. Gretton et al., 2012);
            its expectation is 0 if the samples have the same distribution.
    """

    auc: Interval
    mmd: Interval

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as a dictionary for JSON."""
        return {"auc": self.auc.to_dict(), "mmd": self.mmd.to_dict()}


@dataclass(frozen=True)
class CovariateShift:
    """How a covariate differs between the target and the pool, and between the target and the accepted items.

    Attributes:
        name: Name of the covariate.
        pool: Mean over the pool.
        accepted: Mean over the accepted items.
        target: Mean over the target.
        before: Difference of the means, target - pool, in standard deviations of the pool.
        after: Difference of the means, target - accepted items, in standard deviations of the pool.
        ks_before: Kolmogorov-Smirnov distance of target and pool, in [0, 1].
        ks_after: Kolmogorov-Smirnov distance of target and accepted items, in [0, 1].
    """

    name: str
    pool: float
    accepted: float
    target: float
    before: Interval
    after: Interval
    ks_before: float
    ks_after: float

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as a dictionary for JSON."""
        return asdict(self) | {"before": self.before.to_dict(), "after": self.after.to_dict()}


def auc_error(auc: float, positives: float, negatives: float) -> float:
    """Compute the standard error of an area under the ROC curve (J. Hanley and B. McNeil, 1982).

    Args:
        auc: The area, in [0, 1].
        positives: Number of positive items, at least 1; their effective number if they repeat.
        negatives: Number of negative items, in the same way.
    """
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positives - 1) * (q1 - auc**2) + (negatives - 1) * (q2 - auc**2)
    return math.sqrt(max(variance, 0) / (positives * negatives))


def two_sample(
    a: np.ndarray,
    b: np.ndarray,
    *,
    folds: tuple[np.ndarray, np.ndarray] | None = None,
    groups: tuple[np.ndarray, np.ndarray] | None = None,
    seed: int = 0,
) -> TwoSample:
    """Measure how well two samples can be told apart, by a classifier and by the maximum mean discrepancy.

    At most `MAX_ITEMS` items of each sample are used for the AUC, and at most `MAX_MMD_ITEMS` for the discrepancy.

    Args:
        a: (n, D) features of the first sample, such as the accepted items.
        b: (k, D) features of the second sample, such as the target.
        folds: (n,) and (k,) fold numbers for the cross-fitting; random folds by default. If `a` was selected by models
            that were cross-fitted on `b`, pass their folds. Each fold is then tested on items that neither model has
            seen, so the result is not too optimistic.
        groups: (n,) and (k,) integers >= 0; items of one number, on either side, show the same and count as one. All
            are different by default.
        seed: Seed for the random folds, the subsamples of large samples and the bootstrap.

    Returns:
        The AUC and the squared discrepancy, each with its interval.

    Raises:
        ValueError: The samples have different widths, or one has fewer than `FOLDS` items.

    >>> x = np.random.default_rng(0).normal(size=(3000, 2))
    >>> shifted = two_sample(x[:1000], x[1000:2000] + 1)
    >>> bool(abs(shifted.auc.value - 0.841) < 0.03)  # Phi(1) for two unit normals sqrt(2) apart
    True
    """
    generator = np.random.default_rng(seed)
    x, y, fold, rows = _drawn(a, b, folds, generator)
    n = int((y == 0).sum())
    auc = _cross_fitted_auc(x, y, fold)
    named = groups or (np.arange(len(a)), len(a) + np.arange(len(b)))
    of_a, of_b = (side[taken] for side, taken in zip(named, rows, strict=True))
    error = auc_error(auc, effective_number(of_b), effective_number(of_a))
    return TwoSample(normal_interval(auc, error), _mmd(x[:n], x[n:], of_a, of_b, generator))


def cross_fitted_auc(
    a: np.ndarray, b: np.ndarray, *, folds: tuple[np.ndarray, np.ndarray] | None = None, seed: int = 0
) -> float:
    """Compute only the AUC of `two_sample`, which is cheaper.

    Args:
        a: (n, D) features of the first sample.
        b: (k, D) features of the second sample.
        folds: (n,) and (k,) fold numbers for the cross-fitting; random folds by default (see `two_sample`).
        seed: Seed for the random folds and the subsamples of large samples.

    Returns:
        The AUC, in [0, 1]; 0.5 if no fold has items of both samples.

    Raises:
        ValueError: The samples have different widths, or one has fewer than `FOLDS` items.
    """
    return _cross_fitted_auc(*_drawn(a, b, folds, np.random.default_rng(seed))[:3])


def _drawn(
    a: np.ndarray, b: np.ndarray, folds: tuple[np.ndarray, np.ndarray] | None, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
    """Draw at most `MAX_ITEMS` items of each; return their features, sample (0 or 1), fold, and the rows of both."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"`two_sample` needs features of one width, got {a.shape} and {b.shape}.")
    if min(len(a), len(b)) < FOLDS:
        raise ValueError(f"`two_sample` needs at least {FOLDS} items on each side, got {len(a)} and {len(b)}.")
    part_a, part_b = folds or (generator.permutation(len(side)) % FOLDS for side in (a, b))
    rows = [np.sort(generator.permutation(len(side))[:MAX_ITEMS]) for side in (a, b)]
    x = np.concatenate([a[rows[0]], b[rows[1]]]).astype(np.float64)
    y = np.repeat([0, 1], [len(rows[0]), len(rows[1])])
    return x, y, np.concatenate([part_a[rows[0]], part_b[rows[1]]]), rows


def _cross_fitted_auc(x: np.ndarray, y: np.ndarray, fold: np.ndarray) -> float:
    """Average the AUC over the folds with items of both samples, weighted by their number of pairs."""
    aucs, pairs = [], []
    for held_out in np.unique(fold):
        train, test = fold != held_out, fold == held_out
        if len(np.unique(y[train])) == len(np.unique(y[test])) == 2:
            model = make_pipeline(
                StandardScaler(), LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=1000)
            )
            aucs.append(roc_auc_score(y[test], model.fit(x[train], y[train]).decision_function(x[test])))
            pairs.append(y[test].sum() * (1 - y[test]).sum())
    return float(np.average(aucs, weights=pairs)) if aucs else 0.5


def _mmd(a: np.ndarray, b: np.ndarray, of_a: np.ndarray, of_b: np.ndarray, generator: np.random.Generator) -> Interval:
    """Estimate the squared MMD with the median distance as bandwidth, and its error by a bootstrap over groups.

    Pairs within a group say nothing of the distance of two independent items, and are left out.
    """
    taken = [generator.permutation(len(side))[:MAX_MMD_ITEMS] for side in (a, b)]
    x = np.concatenate([a[taken[0]], b[taken[1]]])
    spread = x.std(0)
    x = x[:, spread > 0] / spread[spread > 0]
    norms = (x**2).sum(1)
    squared = np.maximum(norms[:, None] + norms - 2 * x @ x.T, 0)
    kernel = np.exp(-squared / max(float(np.median(squared)), 1e-12))
    n = len(taken[0])
    group = np.unique(np.concatenate([of_a[taken[0]], of_b[taken[1]]]), return_inverse=True)[1]
    apart = group[:, None] != group
    kernel[~apart] = 0

    def mean(u: np.ndarray, v: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """Average the kernel over the pairs of different groups, with (R, n) and (R, k) counts of the items."""
        pairs = ((u @ apart[rows, columns]) * v).sum(1)
        return ((u @ kernel[rows, columns]) * v).sum(1) / np.maximum(pairs, 1)

    def estimate(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Compute (R,) estimates from (R, n) and (R, k) counts of how often each resample holds each item."""
        first, second = slice(None, n), slice(n, None)
        return mean(u, u, first, first) + mean(v, v, second, second) - 2 * mean(u, v, first, second)

    value = float(estimate(np.ones((1, n)), np.ones((1, len(x) - n)))[0])
    resampled = estimate(*(_resampled(side, generator) for side in (group[:n], group[n:])))
    return normal_interval(value, float(np.std(resampled, ddof=1)))


def _resampled(group: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw the groups of a sample with replacement: (RESAMPLES, n) counts of how often each item is drawn."""
    _, first, index = np.unique(group, return_index=True, return_inverse=True)
    number = np.argsort(np.argsort(first))[index]  # in the order of the items
    m = len(first)
    return generator.multinomial(m, np.full(m, 1 / m), RESAMPLES).astype(float)[:, number]


def covariate_shift(
    pool: Mapping[str, np.ndarray],
    target: Mapping[str, np.ndarray],
    accepted: np.ndarray,
    target_groups: np.ndarray | None = None,
) -> list[CovariateShift]:
    """Compare pool, accepted items and target in every covariate that pool and target share.

    Args:
        pool: Covariate -> (N,) values of the pool.
        target: Covariate -> (K,) values of the target.
        accepted: (n,) integer rows of the accepted items in the pool.
        target_groups: (K,) integers >= 0; target items of one group count as one. None if all are different.

    Returns:
        One entry per covariate, by decreasing absolute difference between target and pool.
    """
    told = None if target_groups is None else effective_number(target_groups)
    rows = [_one_shift(name, pool[name], target[name], accepted, told) for name in pool if name in target]
    return sorted(rows, key=lambda row: -abs(row.before.value or 0))


def _one_shift(
    name: str, pool: np.ndarray, target: np.ndarray, accepted: np.ndarray, told: float | None
) -> CovariateShift:
    """Compare pool, accepted items and target, of which `told` are different in effect, in one covariate."""
    kept, unit = pool[accepted], float(pool.std()) or 1.0
    target_error = target.std() / math.sqrt(told or len(target))

    def difference(side: np.ndarray) -> Interval:
        error = math.hypot(target_error, side.std() / math.sqrt(len(side)))
        return normal_interval(float(target.mean() - side.mean()) / unit, error / unit)

    return CovariateShift(
        name,
        float(pool.mean()),
        float(kept.mean()),
        float(target.mean()),
        difference(pool),
        difference(kept),
        float(ks_2samp(target, pool).statistic),
        float(ks_2samp(target, kept).statistic),
    )
