"""A sample of covariates kept as few numbers, and how far another sample is from it.

Kept are the means, the covariance and one share of at least `MIN_KEPT` items, so that no item can be told from it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy.stats import chi2, f, fisher_exact, ncf

from rsft.evaluation.shift import auc_error
from rsft.evaluation.support import USUAL, wilson
from rsft.groups import effective_number
from rsft.types import Interval, normal_interval

MIN_KEPT = 50  # items, in effect
DIGITS = 4  # significant ones that are kept
RIDGE = 1e-6  # variance in units of the sample's, so that a constant covariate has a distance too
POWER = 0.8
MAX_ITEMS = 100_000
MAX_WIDTH, ITEMS_OF_ONE = 20, 5  # principal components, and items that each takes
TOLERANCE = 1e-4  # of an AUC


@dataclass(frozen=True)
class Change:
    """How a covariate changed from one sample to another.

    Attributes:
        name: Name of the covariate.
        then: Mean over the first sample.
        now: Mean over the second one.
        difference: `now - then`, in standard deviations of the first sample.
    """

    name: str
    then: float
    now: float
    difference: Interval

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as a dictionary for JSON."""
        return asdict(self) | {"difference": self.difference.to_dict()}


@dataclass(frozen=True)
class CovariateDifference:
    """How a second sample differs from a first one.

    Attributes:
        auc: Area under the ROC curve of the best linear rule that tells the samples apart, if both are normal with one
            covariance: in [0.5, 1], without the part that chance adds on average.
        auc_p: Probability of such a difference if both samples have one law (H. Hotelling, 1931).
        unsupported: Share of the second sample that lies farther from the mean of the first than 99 % of a normal law.
        unsupported_then: The same share of the first sample, each item from the mean of the others.
        unsupported_p: Probability of such a share or a larger one if both have one law (R. Fisher's exact test).
    """

    auc: Interval
    auc_p: float
    unsupported: Interval
    unsupported_then: float
    unsupported_p: float


@dataclass(frozen=True)
class CovariateSummary:
    """A sample of covariates as few numbers; `summarise_covariates` makes it.

    Attributes:
        items: Number of items.
        effective: Number of different items with the same weight, see `effective_number`.
        names: Names of the D covariates.
        means: (D,) their means.
        covariance: (D, D) their covariance.
        outside_fraction: Share of the items that lie farther from the mean of the others than 99 % of a normal law.
    """

    items: int
    effective: float
    names: Sequence[str]
    means: Sequence[float]
    covariance: Sequence[Sequence[float]]
    outside_fraction: float

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as a dictionary for JSON."""
        return asdict(self)

    def difference(self, covariates: Mapping[str, np.ndarray], groups: np.ndarray) -> CovariateDifference:
        """Compare a second sample with this one.

        Args:
            covariates: Name -> (n,) values, for all of `names`; n is at least 2.
            groups: (n,) integers >= 0; items of one group count as one.
        """
        rows = self._standardised(covariates)
        n, m, width = self.effective, effective_number(groups), len(self.names)
        squared, p = _hotelling(rows.mean(0), self._own, _covariance(rows), n, m)
        unbiased = max(0.0, (n + m - width - 3) / (n + m - 2) * squared - width * (n + m) / (n * m))
        auc = auc_of(math.sqrt(unbiased))
        share = float(_outside(np.einsum("nd,de,ne->n", rows, self._inverse, rows), width).mean())
        counts = [[round(part * size), round((1 - part) * size)] for part, size in ((share, m), self._usual)]
        return CovariateDifference(
            normal_interval(auc, auc_error(auc, n, m)),
            p,
            wilson(share, m),
            self.outside_fraction,
            float(fisher_exact(counts, alternative="greater").pvalue),
        )

    def changes(self, covariates: Mapping[str, np.ndarray], groups: np.ndarray) -> list[Change]:
        """Return the change of each covariate, by decreasing absolute difference; the arguments are as above."""
        told = effective_number(groups)
        found = []
        for place, name in enumerate(self.names):
            unit, then, values = float(self._spread[place]), self.means[place], covariates[name]
            own = math.sqrt(self.covariance[place][place] / self.effective)
            error = math.hypot(own, float(values.std()) / math.sqrt(told))
            now = float(values.mean())
            found.append(Change(name, then, now, normal_interval((now - then) / unit, error / unit)))
        return sorted(found, key=lambda change: -abs(change.difference.value or 0))

    @property
    def _usual(self) -> tuple[float, float]:
        return self.outside_fraction, self.effective

    @cached_property
    def _spread(self) -> np.ndarray:
        return _spread_of(np.diag(np.asarray(self.covariance)))

    @cached_property
    def _own(self) -> np.ndarray:
        """The covariance in units of the spread: (D, D)."""
        return np.asarray(self.covariance) / np.outer(self._spread, self._spread)

    @cached_property
    def _inverse(self) -> np.ndarray:
        return np.linalg.inv(self._own + RIDGE * np.eye(len(self.names)))

    def _standardised(self, covariates: Mapping[str, np.ndarray]) -> np.ndarray:
        rows = np.column_stack([np.asarray(covariates[name], float) for name in self.names])
        return (rows - np.asarray(self.means)) / self._spread


def summarise_covariates(covariates: Mapping[str, np.ndarray], groups: np.ndarray) -> CovariateSummary | None:
    """Keep a sample of covariates as few numbers, rounded to `DIGITS` digits; None if it has too few items.

    Args:
        covariates: Name -> (n,) values.
        groups: (n,) integers >= 0; items of one group count as one.
    """
    effective = effective_number(groups) if len(groups) else 0.0
    if effective < MIN_KEPT:
        return None
    rows = np.column_stack([np.asarray(values, float) for values in covariates.values()])
    items, width = rows.shape
    covariance, middle = _covariance(rows), rows.mean(0)
    spread = _spread_of(np.diag(covariance))
    unit = (rows - middle) / spread
    inverse = np.linalg.inv(covariance / np.outer(spread, spread) + RIDGE * np.eye(width))
    share = np.einsum("nd,de,ne->n", unit, inverse, unit) / (items - 1)
    # the distance of each item from the mean of the others, by the covariance of the others
    alone = (items - 2) * (items / (items - 1)) ** 2 * share / (1 - items * share / (items - 1))
    return CovariateSummary(
        items,
        _rounded(effective),
        list(covariates),
        [_rounded(value) for value in middle],
        [[_rounded(value) for value in row] for row in covariance],
        _rounded(float(_outside(alone, width).mean())),
    )


def one_law_p(first: np.ndarray, second: np.ndarray, sizes: tuple[float, float]) -> float:
    """Return the probability that the means of two samples differ so much if both have one law (Hotelling, 1931).

    Of more than `MAX_WIDTH` features their principal components are compared, found without telling the samples apart,
    so that the probability stays what it is.

    Args:
        first: (n, D) features of the first sample.
        second: (k, D) features of the second.
        sizes: Numbers of different items of both, in effect; see `effective_number`.
    """
    rows = np.concatenate([first, second]).astype(np.float64)
    rows = (rows - rows.mean(0)) / _spread_of(rows.var(0))
    width = min(MAX_WIDTH, max(1, int(sum(sizes) / ITEMS_OF_ONE)))
    if rows.shape[1] > width:
        values, vectors = np.linalg.eigh(rows.T @ rows)
        rows = rows @ vectors[:, np.argsort(-values)[:width]]
        rows /= _spread_of(rows.var(0))
    a, b = rows[: len(first)], rows[len(first) :]
    return _hotelling(b.mean(0) - a.mean(0), _covariance(a), _covariance(b), *sizes)[1]


def _hotelling(gap: np.ndarray, first: np.ndarray, second: np.ndarray, n: float, m: float) -> tuple[float, float]:
    """Return the squared distance of two means in units of the pooled covariance, and its probability under one law."""
    width = len(gap)
    free = n + m - width - 1
    if free < 1:
        raise ValueError(f"a comparison of {width} features needs more than {width} items, got {n + m:.0f}.")
    both = ((n - 1) * first + (m - 1) * second) / (n + m - 2) + RIDGE * np.eye(width)
    squared = float(gap @ np.linalg.solve(both, gap))
    return squared, float(f.sf(free / ((n + m - 2) * width) * n * m / (n + m) * squared, width, free))


def auc_of(distance: float) -> float:
    """Return the AUC of two normal laws of one covariance whose means are so many standard deviations apart.

    >>> round(auc_of(0.0), 3), round(auc_of(1.0), 3)
    (0.5, 0.76)
    """
    return NormalDist().cdf(distance / math.sqrt(2))


def told_auc(first: float, second: float, width: int, p: float) -> float | None:
    """Return the AUC that two samples tell from chance with a probability of 80 %.

    Args:
        first: Number of items of one sample, in effect.
        second: The same of the other.
        width: Number of covariates.
        p: The difference is told if a larger one has at most this probability under one law.

    Returns:
        The AUC, or None if the samples have too few items for any.
    """
    low, high = 0.5, 1.0 - 1e-9
    if _power(high, first, second, width, p) < POWER:
        return None
    while high - low > TOLERANCE:
        middle = (low + high) / 2
        low, high = (low, middle) if _power(middle, first, second, width, p) >= POWER else (middle, high)
    return high


def _power(auc: float, first: float, second: float, width: int, p: float) -> float:
    """Return the probability that two samples of so many items tell an AUC from chance."""
    free = first + second - width - 1
    if free < 1:
        return 0.0
    squared = 2 * NormalDist().inv_cdf(auc) ** 2
    return float(ncf.sf(f.isf(p, width, free), width, free, squared * first * second / (first + second)))


def items_to_tell(auc: float, first: float, width: int, p: float) -> int | None:
    """Return how many items a second sample needs to tell an AUC from chance with a probability of 80 %.

    Args:
        auc: The AUC, in (0.5, 1).
        first: Number of items of the first sample, in effect.
        width: See `told_auc`.
        p: See `told_auc`.

    Returns:
        The number, or None if no number is enough, because the first sample is too small.
    """
    low, high = 1, MAX_ITEMS
    if _power(auc, first, high, width, p) < POWER:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(auc, first, middle, width, p) >= POWER else (middle, high)
    return high


def _covariance(rows: np.ndarray) -> np.ndarray:
    return np.atleast_2d(np.cov(rows, rowvar=False))


def _spread_of(variance: np.ndarray) -> np.ndarray:
    """Return standard deviations; 1 for what is constant."""
    return np.sqrt(np.where(variance > 0, variance, 1.0))


def _outside(squared: np.ndarray, width: int) -> np.ndarray:
    """Return which squared distances exceed those of 99 % of a normal law."""
    return squared > chi2.ppf(USUAL, width)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
