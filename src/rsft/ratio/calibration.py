"""Calibration of scores to log odds, by a line or by a piecewise-linear function that is flat in the upper tail."""

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
    keeps the slope finite under perfect separation.

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
    # partial functions, since those inside another function cannot be pickled
    return [partial(_calibrated, mean, spread, at, w, shift) for w, shift in zip(weights / scale, shifts, strict=True)]


def _calibrated(mean: Tensor, spread: Tensor, at: Tensor, weight: Tensor, shift: Tensor, scores: Tensor) -> Tensor:
    """Return the calibrated log odds of scores: (n,)."""
    return _basis(mean, spread, at, scores) @ weight + shift


def _basis(mean: Tensor, spread: Tensor, at: Tensor, scores: Tensor) -> Tensor:
    """Return the columns of the regression, with a change of slope at each knot but the last: (n, E)."""
    z = ((scores - mean) / spread)[:, None]
    if len(at):
        z = z.clamp(max=at[-1])
    return torch.cat([z, (z - at[:-1]).clamp(min=0)], 1)
