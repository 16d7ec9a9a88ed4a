"""What all estimators have in common: folds, held-out scores, calibration, and the sanity figures of the ratio."""

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

Score = Callable[[Tensor], Tensor]  # (n, D) -> (n,) log odds, as the model has them


@dataclass(frozen=True)
class Alternative:
    """One way to fit: its settings, for the diagnostics, and a score per fold over standardised features."""

    settings: dict[str, float]
    scores: Sequence[Score]


@dataclass(frozen=True)
class Sample:
    """The items that models are trained on, and the part each is held out in.

    Attributes:
        x: (n, D) float32, standardised; pool first.
        y: (n,) float32, 1 for the target.
        fold: (n,) uint8.
        mean: (D,) of the raw features.
        spread: (D,) standard deviation, inf for a constant feature.
        pool_rows: (n_pool,) their numbers in the pool.
        pool_fold: (N,) uint8 of all items of the pool.
        target_fold: (K,) uint8.
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
        """Raw features as the models take them."""
        return ((x - self.mean.to(x.dtype)) / self.spread.to(x.dtype)).float()

    def others(self, fold: int) -> Tensor:
        """(n,) bool: the items that the model of a fold is trained on."""
        return self.fold != fold


class CrossFittedRatio(DensityRatio):
    """The mean of the folds' calibrated log odds, less the log odds of the two sample sizes.

    Attributes:
        held_out_loss: (n,) cross-entropy of each item trained on, from the model that did not see it.
        method: the name of the estimator, as in `fit_ratio`.
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
    """Divide both sides into folds, and take what is trained on: all, or `max_items` of each side at random.

    Of the log odds' variance the pool's part is 1 / n_pool and the target's 1 / n_target: with a few thousand target
    items more of the pool than `max_items` would not make the ratio better, only slower.

    Args:
        pool: N items.
        target: K items.
        folds: at least 3, for two are calibrated on while one is held out; with more, models are trained on more.
        groups: (N,) integers; items of one group, such as views of one picture, stay in one fold. Each by itself
            otherwise. Not for groups that the target shows as well, such as classes: a model that has seen the target's
            pictures of a class and none of the pool's takes all of the class for target.
        max_items: largest number of each side.
        seed: of the folds and of what is taken.

    Raises:
        ValueError: there are fewer items, or groups, than folds on a side.
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
    dealt = (np.arange(items, dtype=np.uint32) % folds).astype(np.uint8)
    generator.shuffle(dealt)
    return dealt


def _some(items: int, most: int, generator: np.random.Generator) -> np.ndarray:
    if items <= most:
        return np.arange(items)
    return np.sort(generator.choice(items, most, replace=False, shuffle=False))


def cross_fitted(
    method: str, pool: Rows, target: Rows, sample: Sample, alternatives: Sequence[Alternative], *, bend: bool = False
) -> CrossFittedRatio:
    """The ratio of the alternative with the least held-out cross-entropy.

    Each item is scored by the model of the fold it is in, which did not see it; a fold's scores are calibrated on the
    held-out scores of the other folds, which undoes the shrinkage of regularised models.

    Args:
        method: the name of the estimator.
        pool: all of it.
        target: all of it.
        sample: what the models were trained on.
        alternatives: at least one.
        bend: whether the calibration bends and ends flat unless a line does better by more than a standard error: for
            models that overfit in the tails, whose largest ratios would otherwise be too large. If not, there is none
            unless a line, or else bending, does better by as much: where the ratio levels off and the model cannot.
    """
    held_out = [_held_out(alternative.scores, sample) for alternative in alternatives]
    losses = [float(_calibrate(scores, sample, STRAIGHT)[1].mean()) for scores in held_out]
    best = losses.index(min(losses))
    # In the order of preference: the first that is as good as the best.
    shapes = (BENT, STRAIGHT) if bend else (None, STRAIGHT, BENT)
    calibrated = [_calibrate(held_out[best], sample, shape) for shape in shapes]
    least = min((loss for _, loss, _ in calibrated), key=lambda loss: float(loss.mean()))
    calibrations, loss, odds = next(one for one in calibrated if as_good(one[1], least))
    prior = float(torch.logit(sample.y.mean(dtype=torch.float64)))
    scores = [
        _calibrated(sample, score, calibration, prior)
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
    """Whether the mean of paired losses is at most a standard error above the others' (L. Breiman et al., 1984)."""
    worse = loss - other
    return bool(worse.mean() <= worse.std() / math.sqrt(len(worse)))


def _calibrate(
    scores: Tensor, sample: Sample, knots: Sequence[float] | None
) -> tuple[list[Calibration], Tensor, Tensor]:
    """A calibration per fold, learnt on the other folds, or none; cross-entropy and log odds of all held-out items."""
    folds = int(sample.fold.max()) + 1
    if knots is None:
        calibrations: list[Calibration] = [lambda scores: scores] * folds
    else:
        others = torch.stack([sample.others(fold) for fold in range(folds)]).float()
        calibrations = fit_calibrations(scores, sample.y, others, knots)
    odds = torch.empty(len(sample.y))
    for fold, calibration in enumerate(calibrations):
        odds[sample.fold == fold] = calibration(scores[sample.fold == fold])
    return calibrations, (torch.nn.functional.softplus(odds) - sample.y * odds).double(), odds


def _calibrated(sample: Sample, score: Score, calibration: Calibration, prior: float) -> Score:
    return lambda x: calibration(score(sample.standardise(x))) - prior


def _held_out(scores: Sequence[Score], sample: Sample) -> Tensor:
    result = torch.empty(len(sample.y))
    for fold, score in enumerate(scores):
        rows = sample.fold == fold
        result[rows] = score(sample.x[rows])
    return result


def _by_fold(rows: Rows, folds: np.ndarray, scores: Sequence[Score]) -> Tensor:
    """Every item by the score of its fold: (N,) float64."""
    result = torch.empty(len(rows), dtype=torch.float64)
    for start, block in rows.blocks():
        fold = torch.from_numpy(folds[start : start + len(block)])
        for number, score in enumerate(scores):
            mine = (fold == number).nonzero().flatten()
            result[start + mine] = score(block[mine]).double()
    return result
