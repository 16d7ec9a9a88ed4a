"""The part shared by all estimators: held-out scores, calibration and diagnostics of the ratio."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from rsft.ratio.base import DensityRatio
from rsft.ratio.calibration import BENT, STRAIGHT, Calibration, fit_calibrations
from rsft.ratio.repeats import Repeats
from rsft.ratio.rows import Rows, Table
from rsft.ratio.sample import Sample, standardised

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


class CrossFittedRatio(DensityRatio):
    """A ratio whose values at its training items come from models that did not see them.

    The log ratio of a new item is the mean over folds of the calibrated log odds, minus the log odds of the sample
    sizes.

    Attributes:
        held_out_loss: (n,) held-out cross-entropy of each training item, in nats.
        repeats: Which rows of pool and target show the same item.
        item: (n,) int64 number of the item that each training row shows; None if nothing repeats.
        method: Name of the estimator, as in `fit_ratio`.
    """

    def __init__(
        self,
        scores: Sequence[Score],
        pool: Tensor,
        target: Tensor,
        sample: Sample,
        held_out_loss: Tensor,
        method: str,
        diagnostics: dict[str, float],
    ) -> None:
        self._scores, self._width = scores, sample.x.shape[1]
        self.held_out_loss, self.method = held_out_loss, method
        self.pool_log_ratio, self.target_log_ratio = pool, target
        self.pool_fold, self.target_fold = sample.pool_fold, sample.target_fold
        self.repeats, self.item = sample.repeats, sample.item
        self.diagnostics = diagnostics

    def frozen(self) -> Self:
        small = copy.copy(self)
        small.pool_log_ratio = small.target_log_ratio = small.held_out_loss = torch.empty(0, dtype=torch.float64)
        small.pool_fold = small.target_fold = np.empty(0, np.uint8)
        small.repeats, small.item = Repeats(np.empty(0, np.int64), np.empty(0, np.int64), 0), None
        return small

    def log_ratio(self, x: Table) -> Tensor:
        parts = [
            torch.stack([score(block) for score in self._scores]).double().mean(0)
            for _, block in Rows(x, "DensityRatio.log_ratio(x)", self._width).blocks()
        ]
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.float64)


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
    calibrations, loss, odds = next(one for one in calibrated if as_good(one[1], least, sample.item))
    prior = float(torch.logit(sample.y.mean(dtype=torch.float64)))
    scores = [
        _Calibrated(sample.mean, sample.spread, score, calibration, prior)
        for score, calibration in zip(alternatives[best].scores, calibrations, strict=True)
    ]
    pool_log_ratio = _by_fold(pool, sample.pool_fold, scores)
    ratio = pool_log_ratio.exp()
    diagnostics = {
        "auc": float(roc_auc_score(sample.y, odds)),
        "fold_auc": _fold_auc(held_out[best], sample),
        "cross_entropy": float(loss.mean()),
        **alternatives[best].settings,
        "constant_features": float(torch.isinf(sample.spread).sum()),
        "items_trained_on": float(len(sample.y)),
        "target_items_trained_on": float(sample.y.sum()),
        "mean_ratio": float(ratio.mean()),
        "mean_ratio_error": float(ratio.std() / math.sqrt(len(ratio))),
        **sample.repeats.figures(),
    }
    return CrossFittedRatio(
        scores,
        pool_log_ratio,
        _by_fold(target, sample.target_fold, scores),
        sample,
        loss,
        method,
        diagnostics,
    )


def _fold_auc(scores: Tensor, sample: Sample) -> float:
    """Return the AUC of held-out scores before calibration, compared within folds only.

    It is 0.5 on average if pool and target do not differ. The AUC over all folds is not: the calibration of a fold
    shows the share of target items in the others.
    """
    aucs, pairs = [], []
    for fold in range(int(sample.fold.max()) + 1):
        y = sample.y[sample.fold == fold]
        targets = int(y.sum())
        if 0 < targets < len(y):
            aucs.append(roc_auc_score(y, scores[sample.fold == fold]))
            pairs.append(targets * (len(y) - targets))
    return float(np.average(aucs, weights=pairs)) if aucs else 0.5


def as_good(loss: Tensor, other: Tensor, item: Tensor | None = None) -> bool:
    """Return whether the mean of `loss` is at most one standard error above that of the paired losses `other`.

    This is the one-standard-error rule of L. Breiman et al., 1984.

    Args:
        loss: (n,) losses.
        other: (n,) losses of the same rows.
        item: (n,) integers; rows of one number repeat one another and count as one. None if nothing repeats.
    """
    worse = loss - other
    error = worse.std() / math.sqrt(len(worse))
    if item is not None:
        sums = worse.new_zeros(int(item.max()) + 1).index_add_(0, item, worse - worse.mean())
        error = sums.square().sum().sqrt() / len(worse)
    return bool(worse.mean() <= error)


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
