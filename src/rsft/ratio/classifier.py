"""The default ratio: the odds of a calibrated classifier between target and pool."""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from rsft.ratio.base import DensityRatio, check_features

# L2 strengths tried, as scikit-learn's C: features are standardised, so one scale fits all.
STRENGTHS = (0.0001, 0.001, 0.01, 0.1)


class Line(NamedTuple):
    """log odds = x @ weight + bias."""

    weight: np.ndarray
    bias: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x @ self.weight + self.bias


class ClassifierRatio(DensityRatio):
    """The mean of the folds' calibrated log odds less the log odds of the two sample sizes."""

    def __init__(self, lines: list[Line], pool: np.ndarray, target: np.ndarray, diagnostics: dict[str, float]) -> None:
        self._line = Line(np.mean([line.weight for line in lines], 0), float(np.mean([line.bias for line in lines])))
        self.pool_log_ratio = torch.from_numpy(pool)
        self.target_log_ratio = torch.from_numpy(target)
        self.diagnostics = diagnostics

    def log_ratio(self, x: Tensor) -> Tensor:
        x = check_features(x, "DensityRatio.log_ratio(x)", len(self._line.weight))
        return torch.from_numpy(self._line(x.numpy()))


def fit_classifier_ratio(
    pool: Tensor,
    target: Tensor,
    *,
    folds: int = 5,
    strengths: tuple[float, ...] = STRENGTHS,
    seed: int = 0,
) -> ClassifierRatio:
    """Logistic regression of target against pool, L2-regularised, cross-fitted and calibrated.

    log p/q = log P(target | x) / P(pool | x) - log K / N (J. Qin, "Inferences for case-control and semiparametric two-
    sample density ratio models", 1998). Every item is scored by the model of the folds it is not in; the strength of
    the regularisation is the one with the least held-out cross-entropy; a fold's scores are calibrated (J. Platt, 1999)
    on the held-out scores of the other folds, which undoes the shrinkage.

    Args:
        pool: (N, D).
        target: (K, D).
        folds: parts of the cross-fitting, at least 3.
        strengths: values of scikit-learn's C to choose from.
        seed: of the assignment to folds.

    Raises:
        ValueError: see `fit_ratio`.

    `diagnostics` holds "auc" (held-out; 0.5 where nothing differs), "cross_entropy" (held-out, nats), "strength",
    "mean_ratio" (over the pool; 1 for a consistent ratio) and "mean_ratio_error" (its standard error).
    """
    pool = check_features(pool, "fit_ratio(pool=...)")
    target = check_features(target, "fit_ratio(target=...)", pool.shape[1])
    if min(len(pool), len(target)) < folds or folds < 3:
        raise ValueError(
            f"`fit_ratio` needs at least as many items on each side as folds, and 3 folds: got {len(pool)} pool items, "
            f"{len(target)} target items, {folds} folds. Add target pictures or lower `folds`."
        )
    x = torch.cat([pool, target]).numpy()
    y = np.repeat([0, 1], [len(pool), len(target)])
    parts = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(x, y))
    fits = {strength: [_fit_line(x[train], y[train], strength) for train, _ in parts] for strength in strengths}
    scores = {strength: _held_out(lines, x, parts) for strength, lines in fits.items()}
    strength = min(
        strengths, key=lambda s: log_loss(y, _probability(_calibrate_folds(fits[s], scores[s], y, parts)[1]))
    )
    lines, odds = _calibrate_folds(fits[strength], scores[strength], y, parts)
    log_ratio = odds - np.log(len(target) / len(pool))
    pool_ratio = np.exp(log_ratio[: len(pool)])
    return ClassifierRatio(
        [Line(line.weight, line.bias - np.log(len(target) / len(pool))) for line in lines],
        log_ratio[: len(pool)],
        log_ratio[len(pool) :],
        {
            "auc": float(roc_auc_score(y, odds)),
            "cross_entropy": float(log_loss(y, _probability(odds))),
            "strength": strength,
            "mean_ratio": float(pool_ratio.mean()),
            "mean_ratio_error": float(pool_ratio.std(ddof=1) / np.sqrt(len(pool))),
        },
    )


def _fit_line(x: np.ndarray, y: np.ndarray, strength: float) -> Line:
    """A logistic regression on standardised features, expressed in the original ones; constant features weigh 0."""
    mean, spread = x.mean(0), x.std(0)
    spread[spread == 0] = np.inf
    model = LogisticRegression(C=strength, max_iter=1000).fit((x - mean) / spread, y)
    weight = model.coef_[0] / spread
    return Line(weight, float(model.intercept_[0] - mean @ weight))


def _held_out(lines: list[Line], x: np.ndarray, parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    scores = np.empty(len(x))
    for line, (_, held_out) in zip(lines, parts, strict=True):
        scores[held_out] = line(x[held_out])
    return scores


def _calibrate_folds(
    lines: list[Line], scores: np.ndarray, y: np.ndarray, parts: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[list[Line], np.ndarray]:
    """Each fold's line and held-out log odds after a slope and a shift learnt on the other folds' held-out scores."""
    calibrated, odds = [], np.empty(len(scores))
    for line, (others, held_out) in zip(lines, parts, strict=True):
        slope = _fit_line(scores[others, None], y[others], strength=1.0)
        calibrated.append(Line(line.weight * slope.weight[0], float(slope(np.array([line.bias])))))
        odds[held_out] = slope(scores[held_out, None])
    return calibrated, odds


def _probability(odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-odds))
