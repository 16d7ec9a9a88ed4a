"""Calibration of scores to log odds, by a line or by a piecewise-linear function that is flat in the upper tail.

A calibration never falls: a higher score never means a lower ratio. Scores that run backwards on held-out items are not
turned round, since that happens where the folds share items; they become one constant, a ratio of 1.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from rsft.ratio.logistic import fit_logistic

Calibration = Callable[[Tensor], Tensor]  # (n,) scores -> (n,) log odds

# Quantiles of the scores at which the slope may change. Above the last one the slope is 0.
STRAIGHT: tuple[float, ...] = ()
BENT = (0.5, 0.8, 0.95)
SLOPE_PENALTY, BEND_PENALTY = 1.0, 3.0


def fit_calibrations(scores: Tensor, y: Tensor, weight: Tensor, knots: Sequence[float]) -> list[Calibration]:
    """Fit one calibration for each of J weightings of the items.

    Without knots this is Platt scaling (J. Platt, 1999). A small penalty on the coefficients of the standardised scores
    keeps the slope finite under perfect separation. Parts that would fall are held flat.

    Args:
        scores: (n,) held-out scores.
        y: (n,) labels in {0, 1}.
        weight: (J, n) weights >= 0.
        knots: Quantiles of the scores at which the slope may change: `STRAIGHT` or `BENT`.

    Returns:
        J functions that map (n,) scores to (n,) log odds.
    """
    mean, spread = scores.mean(), scores.std()
    if not bool(spread > 0):
        spread = torch.ones_like(spread)
    at = torch.quantile((scores - mean) / spread, scores.new_tensor(knots))

    columns = _basis(mean, spread, at, scores)
    scale = columns.std(0).clamp(min=1e-6)
    scale[0] = math.sqrt(SLOPE_PENALTY / BEND_PENALTY)
    weights, shifts = fit_logistic(columns / scale, y, weight, weight.new_full((len(weight),), BEND_PENALTY), gap=1e-8)
    lines = list(zip(weights / scale, shifts, strict=True))
    for number, (slopes, _) in enumerate(lines):
        if bool((slopes.cumsum(0) < 0).any()):
            lines[number] = _rising(_segments(mean, spread, at, scores), scale, y, weight[number])
    # partial functions, since those inside another function cannot be pickled
    return [partial(_calibrated, mean, spread, at, w, shift) for w, shift in lines]


def _rising(segments: Tensor, scale: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Solve the same problem with slopes >= 0, by fixing one falling segment after the other at 0.

    Args:
        segments: (n, E) length of each segment up to the score.
        scale: (E,) units in which the changes of slope are penalised.
        y: (n,) labels in {0, 1}.
        weight: (n,) weights >= 0.

    Returns:
        The changes of slope (E,), as `_basis` takes them, and the intercept.
    """
    slopes = torch.zeros(segments.shape[1], dtype=torch.float64)
    changes = torch.diff(torch.eye(len(slopes), dtype=torch.float64), prepend=slopes[None], dim=0)  # of the slopes
    penalised = changes * scale.double()[:, None]
    left = list(range(len(slopes)))
    while left:
        root = torch.linalg.cholesky(penalised[:, left].T @ penalised[:, left])
        columns = torch.linalg.solve_triangular(root, segments[:, left].T.double(), upper=False).T.to(segments.dtype)
        found, shift = fit_logistic(columns, y, weight[None], weight.new_full((1,), BEND_PENALTY), gap=1e-8)
        free = torch.linalg.solve_triangular(root.T, found.T.double(), upper=True)[:, 0]
        if bool((free >= 0).all()):
            slopes[left] = free
            return (changes @ slopes).to(segments.dtype), shift[0]
        del left[int(free.argmin())]
    return slopes.to(segments.dtype), torch.logit((weight @ y) / weight.sum())


def _calibrated(mean: Tensor, spread: Tensor, at: Tensor, weight: Tensor, shift: Tensor, scores: Tensor) -> Tensor:
    """Return the calibrated log odds of scores: (n,)."""
    return _basis(mean, spread, at, scores) @ weight + shift


def _segments(mean: Tensor, spread: Tensor, at: Tensor, scores: Tensor) -> Tensor:
    """Return how far each segment between knots reaches up to the score: (n, E). The first has no lower end."""
    z = ((scores - mean) / spread)[:, None]
    if not len(at):
        return z
    return torch.cat([z.clamp(max=at[0]), z.clamp(at[:-1], at[1:]) - at[:-1]], 1)


def _basis(mean: Tensor, spread: Tensor, at: Tensor, scores: Tensor) -> Tensor:
    """Return the columns of the regression, with a change of slope at each knot but the last: (n, E)."""
    z = ((scores - mean) / spread)[:, None]
    if len(at):
        z = z.clamp(max=at[-1])
    return torch.cat([z, (z - at[:-1]).clamp(min=0)], 1)
