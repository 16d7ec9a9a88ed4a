"""The part shared by all estimators: folds, held-out scores, calibration and diagnostics of the ratio."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from rsft.ratio.base import DensityRatio
from rsft.ratio.calibration import BENT, STRAIGHT, Calibration, fit_calibrations
from rsft.ratio.rows import Rows, Table

MAX_ITEMS = 100_000
FOLDS = 10
FOLDS_OF_SLOW_MODELS = 5

Score = Callable[[Tensor], Tensor]  # (n, D) -> (n,) uncalibrated log odds


@dataclass(frozen=True)
class Alternative:
    """One candidate fit.

    Attributes:
        settings: Hyperparameters, which are copied to the diagnostics.
        scores: One score function for each fold, which takes standardised features.
    """

    settings: dict[str, float]
    scores: Sequence[Score]


@dataclass(frozen=True)
class Sample:
    """The training items of both sides, and the fold in which each item is held out.

    Attributes:
        x: (n, D) float32 standardised features, with the pool's items first.
        y: (n,) float32 labels, 0 for pool and 1 for target.
        fold: (n,) uint8 fold of each training item.
        mean: (D,) mean of the raw features.
        spread: (D,) standard deviation of the raw features; inf for a constant feature.
        pool_rows: (n_pool,) row numbers in the pool of the training items.
        pool_fold: (N,) uint8 fold of every pool item.
        target_fold: (K,) uint8 fold of every target item.
    """

    x: Tensor
    y: Tensor
    fold: Tensor
    mean: Tensor
    spread: Tensor
    pool_rows: np.ndarray
    pool_fold: np.ndarray
    target_fold: np.ndarray

    def standardise(self, x: Tensor) -> Tensor:
        """Standardise raw features (n, D) for the models. Constant features become 0."""
        return standardised(x, self.mean, self.spread)

    def others(self, fold: int) -> Tensor:
        """Return a mask (n,) bool of the items on which the model of `fold` is trained."""
        return self.fold != fold


def standardised(x: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """Return features (n, D) less their mean, over their standard deviation, as float32."""
    return ((x - mean.to(x.dtype)) / spread.to(x.dtype)).float()


class CrossFittedRatio(DensityRatio):
    """A ratio whose values at its training items come from models that did not see them.

    The log ratio of a new item is the mean over folds of the calibrated log odds, minus the log odds of the sample
    sizes.

    Attributes:
        held_out_loss: (n,) held-out cross-entropy of each training item, in nats.
        method: Name of the estimator, as in `fit_ratio`.
    """

    def __init__(
        self,
        scores: Sequence[Score],
        pool: Tensor,
        target: Tensor,
        width: int,
        folds: tuple[np.ndarray, np.ndarray],
        held_out_loss: Tensor,
        method: str,
        diagnostics: dict[str, float],
    ) -> None:
        self._scores, self._width = scores, width
        self.held_out_loss, self.method = held_out_loss, method
        self.pool_log_ratio, self.target_log_ratio = pool, target
        self.pool_fold, self.target_fold = folds
        self.diagnostics = diagnostics

    def log_ratio(self, x: Table) -> Tensor:
        parts = [
            torch.stack([score(block) for score in self._scores]).double().mean(0)
            for _, block in Rows(x, "DensityRatio.log_ratio(x)", self._width).blocks()
        ]
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.float64)


def draw_sample(
    pool: Rows, target: Rows, *, folds: int = FOLDS, groups: Any = None, max_items: int = MAX_ITEMS, seed: int = 0
) -> Sample:
    """Split both sides into folds, and draw at most `max_items` training items from each side at random.

    The variance of the log odds has one term of order 1 / n_pool and one of order 1 / n_target. With a few thousand
    target items, more than `max_items` pool items would take longer without improving the ratio.

    Args:
        pool: Features of the N pool items.
        target: Features of the K target items.
        folds: Number of folds, at least 3: one fold is held out while at least two serve for the calibration. More
            folds leave more training items for each model.
        groups: (N,) integers, or None to split item by item. Items of one group, such as views of one picture, stay in
            the same fold. Do not pass groups that also occur in the target, such as classes: a model that saw target
            items of a class, but no pool items of it, assigns the whole class to the target.
        max_items: Maximum number of training items from each side.
        seed: Seed for the folds and for the choice of training items.

    Returns:
        The training items and the folds.

    Raises:
        ValueError: If `folds` is below 3, `groups` does not have length N, or a side has fewer items or groups than
            folds.
    """
    generator = np.random.default_rng(seed)
    if groups is None:
        pool_fold = _deal(len(pool), folds, generator)
        units = len(pool)
    else:
        names, index = np.unique(np.asarray(groups), return_inverse=True)
        if len(index) != len(pool):
            raise ValueError(f"`fit_ratio(groups=...)` needs ({len(pool)},) groups, got ({len(index)},).")
        pool_fold, units = _deal(len(names), folds, generator)[index], len(names)
    if min(units, len(target)) < folds or folds < 3:
        raise ValueError(
            f"`fit_ratio` needs at least as many items on each side as folds, and 3 folds: got {units} pool items or "
            f"groups, {len(target)} target items, {folds} folds. Add target pictures or lower `folds`."
        )
    target_fold = _deal(len(target), folds, generator)
    taken = [_some(len(side), max_items, generator) for side in (pool, target)]
    x = torch.cat([side.take(rows) for side, rows in zip((pool, target), taken, strict=True)])
    fold = torch.from_numpy(np.concatenate([pool_fold[taken[0]], target_fold[taken[1]]]))
    y = torch.cat([torch.zeros(len(taken[0])), torch.ones(len(taken[1]))])
    spread, mean = torch.std_mean(x, 0, correction=0)
    constant = spread <= 8 * torch.finfo(x.dtype).eps * mean.abs()
    spread = torch.where(constant, math.inf, spread)
    sample = Sample(x, y, fold, mean, spread, taken[0], pool_fold, target_fold)
    return Sample(**{**vars(sample), "x": sample.standardise(x)})


def _deal(items: int, folds: int, generator: np.random.Generator) -> np.ndarray:
    """Assign items at random to folds of nearly equal size: (items,) uint8."""
    dealt = (np.arange(items, dtype=np.uint32) % folds).astype(np.uint8)
    generator.shuffle(dealt)
    return dealt


def _some(items: int, most: int, generator: np.random.Generator) -> np.ndarray:
    """Draw at most `most` of the row numbers 0 ... items - 1, in ascending order."""
    if items <= most:
        return np.arange(items)
    return np.sort(generator.choice(items, most, replace=False, shuffle=False))


def cross_fitted(
    method: str, pool: Rows, target: Rows, sample: Sample, alternatives: Sequence[Alternative], *, bend: bool = False
) -> CrossFittedRatio:
    """Build the ratio from the alternative with the lowest held-out cross-entropy.

    Each item is scored by the model of its fold, which was not trained on it. The scores of a fold are calibrated on
    the held-out scores of the other folds. The calibration corrects the shrinkage of regularised models.

    Args:
        method: Name of the estimator.
        pool: Features of all N pool items.
        target: Features of all K target items.
        sample: Training items and folds of the models.
        alternatives: Candidate fits, at least one.
        bend: Selects the preferred calibration; another one is used only if its held-out loss is lower by more than one
            standard error. If True, the piecewise-linear calibration with a flat upper tail is preferred to a line. Use
            it for models that overfit in the tails and would overestimate the largest ratios. If False, the order of
            preference is no calibration, a line, then the piecewise-linear one, which helps if the true ratio levels
            off and the model cannot represent this.

    Returns:
        The ratio, with its diagnostics.
    """
    held_out = [_held_out(alternative.scores, sample) for alternative in alternatives]
    losses = [float(_calibrate(scores, sample, STRAIGHT)[1].mean()) for scores in held_out]
    best = losses.index(min(losses))
    # In order of preference: the first shape that is as good as the best is used.
    shapes = (BENT, STRAIGHT) if bend else (None, STRAIGHT, BENT)
    calibrated = [_calibrate(held_out[best], sample, shape) for shape in shapes]
    least = min((loss for _, loss, _ in calibrated), key=lambda loss: float(loss.mean()))
    calibrations, loss, odds = next(one for one in calibrated if as_good(one[1], least))
    prior = float(torch.logit(sample.y.mean(dtype=torch.float64)))
    scores = [
        _Calibrated(sample.mean, sample.spread, score, calibration, prior)
        for score, calibration in zip(alternatives[best].scores, calibrations, strict=True)
    ]
    pool_log_ratio = _by_fold(pool, sample.pool_fold, scores)
    ratio = pool_log_ratio.exp()
    diagnostics = {
        "auc": float(roc_auc_score(sample.y, odds)),
        "cross_entropy": float(loss.mean()),
        **alternatives[best].settings,
        "constant_features": float(torch.isinf(sample.spread).sum()),
        "items_trained_on": float(len(sample.y)),
        "target_items_trained_on": float(sample.y.sum()),
        "mean_ratio": float(ratio.mean()),
        "mean_ratio_error": float(ratio.std() / math.sqrt(len(ratio))),
    }
    return CrossFittedRatio(
        scores,
        pool_log_ratio,
        _by_fold(target, sample.target_fold, scores),
        pool.width,
        (sample.pool_fold, sample.target_fold),
        loss,
        method,
        diagnostics,
    )


def as_good(loss: Tensor, other: Tensor) -> bool:
    """Return whether the mean of `loss` is at most one standard error above that of the paired losses `other`.

    This is the one-standard-error rule of L. Breiman et al., 1984.
    """
    worse = loss - other
    return bool(worse.mean() <= worse.std() / math.sqrt(len(worse)))


def _calibrate(
    scores: Tensor, sample: Sample, knots: Sequence[float] | None
) -> tuple[list[Calibration], Tensor, Tensor]:
    """Calibrate each fold on the held-out scores of the other folds.

    Args:
        scores: (n,) held-out scores.
        sample: Training items and folds.
        knots: Shape of the calibration, see `fit_calibrations`; None for no calibration.

    Returns:
        The calibration of each fold, and the (n,) cross-entropy and (n,) log odds of the held-out items.
    """
    folds = int(sample.fold.max()) + 1
    if knots is None:
        calibrations: list[Calibration] = [_unchanged] * folds
    else:
        others = torch.stack([sample.others(fold) for fold in range(folds)]).float()
        calibrations = fit_calibrations(scores, sample.y, others, knots)
    odds = torch.empty(len(sample.y))
    for fold, calibration in enumerate(calibrations):
        odds[sample.fold == fold] = calibration(scores[sample.fold == fold])
    return calibrations, (torch.nn.functional.softplus(odds) - sample.y * odds).double(), odds


def _unchanged(scores: Tensor) -> Tensor:
    return scores


@dataclass(frozen=True)
class _Calibrated:
    """The function from raw features to the calibrated log ratio of one fold; it can be pickled if its parts can."""

    mean: Tensor
    spread: Tensor
    score: Score
    calibration: Calibration
    prior: float

    def __call__(self, x: Tensor) -> Tensor:
        return self.calibration(self.score(standardised(x, self.mean, self.spread))) - self.prior


def _held_out(scores: Sequence[Score], sample: Sample) -> Tensor:
    """Score each training item with the model of its fold: (n,)."""
    result = torch.empty(len(sample.y))
    for fold, score in enumerate(scores):
        rows = sample.fold == fold
        result[rows] = score(sample.x[rows])
    return result


def _by_fold(rows: Rows, folds: np.ndarray, scores: Sequence[Score]) -> Tensor:
    """Score every item of a table with the function of its fold: (N,) float64."""
    result = torch.empty(len(rows), dtype=torch.float64)
    for start, block in rows.blocks():
        fold = torch.from_numpy(folds[start : start + len(block)])
        for number, score in enumerate(scores):
            mine = (fold == number).nonzero().flatten()
            result[start + mine] = score(block[mine]).double()
    return result
