"""Did it arrive? How far one sample is from another, over all features and in each covariate."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import ks_2samp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rsft.types import Interval, normal_interval

FOLDS = 5
MAX_ITEMS = 5000
MAX_MMD_ITEMS = 1000
RESAMPLES = 200
STRENGTH = 0.01


@dataclass(frozen=True)
class TwoSample:
    """How well two samples can be told apart.

    Attributes:
        auc: of a cross-fitted logistic regression, in [0, 1]; 0.5 where they are alike (D. Lopez-Paz and M. Oquab,
            "Revisiting classifier two-sample tests", 2017).
        mmd: unbiased squared maximum mean discrepancy with a Gaussian kernel (A. Gretton et al., 2012); 0 where alike.
    """

    auc: Interval
    mmd: Interval

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"auc": self.auc.to_dict(), "mmd": self.mmd.to_dict()}


@dataclass(frozen=True)
class CovariateShift:
    """One covariate of pool, accepted and target.

    Attributes:
        name: of it.
        pool: mean over the pool.
        accepted: mean over the accepted.
        target: mean over the target.
        before: (target - pool) in standard deviations of the pool.
        after: (target - accepted), likewise.
        ks_before: largest distance of the distribution functions of target and pool, in [0, 1].
        ks_after: of target and accepted.
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
        """For JSON."""
        return asdict(self) | {"before": self.before.to_dict(), "after": self.after.to_dict()}


def auc_error(auc: float, positives: int, negatives: int) -> float:
    """Standard error of an area under the ROC curve (J. Hanley and B. McNeil, 1982)."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positives - 1) * (q1 - auc**2) + (negatives - 1) * (q2 - auc**2)
    return math.sqrt(max(variance, 0) / (positives * negatives))


def two_sample(
    a: np.ndarray,
    b: np.ndarray,
    *,
    folds: tuple[np.ndarray, np.ndarray] | None = None,
    seed: int = 0,
) -> TwoSample:
    """Compare two samples.

    Args:
        a: (n, D), such as the accepted.
        b: (k, D), such as the target.
        folds: (n,) and (k,), the parts of the cross-fitting. Where `a` was selected by models fitted to `b`, give the
            folds of these: then each test is of items that neither model has seen, and the answer is not flattered.
        seed: of the folds if not given, of what is taken of large samples and of the resamples.

    Raises:
        ValueError: widths differ, or a side has fewer items than folds.

    >>> x = np.random.default_rng(0).normal(size=(3000, 2))
    >>> shifted = two_sample(x[:1000], x[1000:2000] + 1)
    >>> bool(abs(shifted.auc.value - 0.841) < 0.03)  # Phi(1) for two unit normals sqrt(2) apart
    True
    """
    generator = np.random.default_rng(seed)
    x, y, fold = _drawn(a, b, folds, generator)
    n = int((y == 0).sum())
    auc = _cross_fitted_auc(x, y, fold)
    return TwoSample(normal_interval(auc, auc_error(auc, len(y) - n, n)), _mmd(x[:n], x[n:], generator))


def cross_fitted_auc(
    a: np.ndarray, b: np.ndarray, *, folds: tuple[np.ndarray, np.ndarray] | None = None, seed: int = 0
) -> float:
    """The AUC of `two_sample` alone, which costs less."""
    return _cross_fitted_auc(*_drawn(a, b, folds, np.random.default_rng(seed)))


def _drawn(
    a: np.ndarray, b: np.ndarray, folds: tuple[np.ndarray, np.ndarray] | None, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Items of both, at most `MAX_ITEMS` of each, which side each is of, and its fold."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"`two_sample` needs features of one width, got {a.shape} and {b.shape}.")
    if min(len(a), len(b)) < FOLDS:
        raise ValueError(f"`two_sample` needs at least {FOLDS} items on each side, got {len(a)} and {len(b)}.")
    part_a, part_b = folds or (generator.permutation(len(side)) % FOLDS for side in (a, b))
    rows = [np.sort(generator.permutation(len(side))[:MAX_ITEMS]) for side in (a, b)]
    x = np.concatenate([a[rows[0]], b[rows[1]]]).astype(np.float64)
    y = np.repeat([0, 1], [len(rows[0]), len(rows[1])])
    return x, y, np.concatenate([part_a[rows[0]], part_b[rows[1]]])


def _cross_fitted_auc(x: np.ndarray, y: np.ndarray, fold: np.ndarray) -> float:
    """The mean over the folds that hold both kinds, each weighed by its pairs."""
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


def _mmd(a: np.ndarray, b: np.ndarray, generator: np.random.Generator) -> Interval:
    """With the median distance as bandwidth, and a bootstrap over the items of both."""
    a, b = (side[generator.permutation(len(side))[:MAX_MMD_ITEMS]] for side in (a, b))
    x = np.concatenate([a, b])
    spread = x.std(0)
    x = x[:, spread > 0] / spread[spread > 0]
    norms = (x**2).sum(1)
    squared = np.maximum(norms[:, None] + norms - 2 * x @ x.T, 0)
    kernel = np.exp(-squared / max(float(np.median(squared)), 1e-12))
    np.fill_diagonal(kernel, 0)
    n = len(a)

    def estimate(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """For (R, n) and (R, k) counts of how often each item stands in a resample: (R,)."""
        within = [
            ((w @ block) * w).sum(1) / (w.sum(1) ** 2 - (w**2).sum(1))
            for w, block in ((u, kernel[:n, :n]), (v, kernel[n:, n:]))
        ]
        return within[0] + within[1] - 2 * ((u @ kernel[:n, n:]) * v).sum(1) / (u.sum(1) * v.sum(1))

    value = float(estimate(np.ones((1, n)), np.ones((1, len(b))))[0])
    resampled = estimate(*(generator.multinomial(m, np.full(m, 1 / m), RESAMPLES).astype(float) for m in (n, len(b))))
    return normal_interval(value, float(np.std(resampled, ddof=1)))


def covariate_shift(
    pool: Mapping[str, np.ndarray], target: Mapping[str, np.ndarray], accepted: np.ndarray
) -> list[CovariateShift]:
    """Every covariate that pool and target share, the one that differs most first.

    Args:
        pool: name -> (N,).
        target: name -> (K,).
        accepted: (n,) rows of the pool.
    """
    rows = [_one_shift(name, pool[name], target[name], accepted) for name in pool if name in target]
    return sorted(rows, key=lambda row: -abs(row.before.value or 0))


def _one_shift(name: str, pool: np.ndarray, target: np.ndarray, accepted: np.ndarray) -> CovariateShift:
    kept, unit = pool[accepted], float(pool.std()) or 1.0
    target_error = target.std() / math.sqrt(len(target))

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


def attribute_shares(
    pool: Sequence[Hashable], accepted: np.ndarray, target: Mapping[Hashable, float] | None = None
) -> dict[Hashable, dict[str, float]]:
    """Each value's share of the pool, of the accepted and, where known, of the target.

    >>> attribute_shares(["day", "day", "night"], np.array([0, 2]))
    {'day': {'pool': 0.6666666666666666, 'accepted': 0.5}, 'night': {'pool': 0.3333333333333333, 'accepted': 0.5}}
    """
    shares: dict[Hashable, dict[str, float]] = {}
    kept = [pool[int(row)] for row in accepted]
    for value in dict.fromkeys(pool):
        shares[value] = {"pool": pool.count(value) / len(pool), "accepted": kept.count(value) / max(len(kept), 1)}
        if target is not None:
            shares[value]["target"] = float(target.get(value, 0.0))
    return shares
