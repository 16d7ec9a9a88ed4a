"""From scores to log odds: a line, or a line that may bend and ends flat where few items lie."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rsft.ratio.logistic import fit_logistic

Calibration = Callable[[Tensor], Tensor]  # (n,) scores -> (n,) log odds

# Quantiles of the scores at which the slope may change; above the last it is 0.
STRAIGHT: tuple[float, ...] = ()
BENT = (0.5, 0.8, 0.95)
SLOPE_PENALTY, BEND_PENALTY = 1.0, 3.0


def fit_calibrations(scores: Tensor, y: Tensor, weight: Tensor, knots: Sequence[float]) -> list[Calibration]:
    """One calibration for each of J weightings of the items (without knots: J. Platt, 1999).

    Standardised scores carry a small penalty, so that the slope stays finite where they separate perfectly.

    Args:
        scores: (n,).
        y: (n,) in {0, 1}.
        weight: (J, n) >= 0.
        knots: see `BENT`.
    """
    mean, spread = scores.mean(), scores.std()
    if not bool(spread > 0):
        spread = torch.ones_like(spread)
    at = torch.quantile((scores - mean) / spread, scores.new_tensor(knots))

    def basis(scores: Tensor) -> Tensor:
        z = ((scores - mean) / spread)[:, None]
        if len(at):
            z = z.clamp(max=at[-1])
        return torch.cat([z, (z - at[:-1]).clamp(min=0)], 1)

    columns = basis(scores)
    scale = columns.std(0).clamp(min=1e-6)
    scale[0] = math.sqrt(SLOPE_PENALTY / BEND_PENALTY)
    weights, shifts = fit_logistic(columns / scale, y, weight, weight.new_full((len(weight),), BEND_PENALTY), gap=1e-8)
    return [_calibration(basis, w, shift) for w, shift in zip(weights / scale, shifts, strict=True)]


def _calibration(basis: Callable[[Tensor], Tensor], weight: Tensor, shift: Tensor) -> Calibration:
    return lambda scores: basis(scores) @ weight + shift
