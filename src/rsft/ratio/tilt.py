"""A target that is the pool, tilted by a score: towards what is hard, well lit, learnable.

All return the (N,) float64 log ratio of the tilted pool to the pool, with mean ratio 1 over the pool. The score is any
number per item: a loss (for hard items), a quality, or a loss less that of a reference model (for learnable items: S.
Mindermann et al., "Prioritized training on points that are learnable, worth learning, and not yet learnt", 2022).
"""

import math

import torch
from torch import Tensor


def exponential_tilt(score: Tensor, strength: float) -> Tensor:
    """Tilt by exp(strength * score): the tilt of least divergence from the pool for its mean score.

    Args:
        score: (N,) finite. The ratio is bounded by that of the largest score of the pool: bound the score first where
            one item must not decide the envelope.
        strength: in 1 / unit of the score; negative for a tilt towards small scores.

    Raises:
        ValueError: a score is not finite.

    >>> exponential_tilt(torch.tensor([0.0, 1.0]), math.log(3)).exp()
    tensor([0.5000, 1.5000], dtype=torch.float64)
    """
    return _normalised(strength * _checked(score, "exponential_tilt"))


def percentile_tilt(score: Tensor, power: float) -> Tensor:
    """Tilt by u^power, u the score's mid-rank in (0, 1): bounded by power + 1, whatever the scores' distribution.

    Args:
        score: (N,) finite; equal scores have equal ranks.
        power: > 0 prefers large scores, < 0 is refused: negate the score.

    Raises:
        ValueError: a score is not finite, or `power` is negative.

    >>> percentile_tilt(torch.tensor([10.0, 30.0, 20.0]), 1.0).exp()
    tensor([0.3333, 1.6667, 1.0000], dtype=torch.float64)
    """
    if not 0 <= power < math.inf:
        raise ValueError(f"`percentile_tilt(power=...)` needs a value >= 0, got {power}; negate the score instead.")
    return _normalised(power * _mid_ranks(_checked(score, "percentile_tilt")).log())


def band_tilt(score: Tensor, low: float, high: float, outside: float = 0.0) -> Tensor:
    """Keep scores between two quantiles, and a share of the others: hard, but not so hard as to be mislabelled.

    Args:
        score: (N,) finite.
        low: quantile in [0, 1).
        high: quantile in (low, 1].
        outside: weight of the other items, in [0, 1].

    Raises:
        ValueError: a score is not finite, the quantiles are not in order, or nothing lies between them.

    >>> band_tilt(torch.tensor([1.0, 2.0, 3.0, 4.0]), 0.5, 1.0).exp()
    tensor([0., 0., 2., 2.], dtype=torch.float64)
    """
    if not (0 <= low < high <= 1 and 0 <= outside <= 1):
        raise ValueError(
            f"`band_tilt` needs 0 <= low < high <= 1 and `outside` in [0, 1], got low={low}, high={high}, "
            f"outside={outside}."
        )
    rank = _mid_ranks(_checked(score, "band_tilt"))
    inside = (rank >= low) & (rank <= high)
    if not inside.any():
        raise ValueError(f"`band_tilt` finds no item between the quantiles {low} and {high}: widen the band.")
    return _normalised(torch.where(inside, 1.0, outside).double().log())


def _checked(score: Tensor, call: str) -> Tensor:
    score = score.detach().to("cpu", torch.float64)
    if score.ndim != 1 or not torch.isfinite(score).all():
        raise ValueError(f"`{call}(score=...)` needs (N,) finite numbers, got shape {tuple(score.shape)}.")
    return score


def _mid_ranks(score: Tensor) -> Tensor:
    """(rank - 1/2) / N, equal for equal scores: in (0, 1)."""
    _, index, counts = torch.unique(score, return_inverse=True, return_counts=True)
    below = counts.cumsum(0) - counts
    return ((below + counts / 2) / len(score))[index].double()


def _normalised(log_ratio: Tensor) -> Tensor:
    return log_ratio - (torch.logsumexp(log_ratio, 0) - math.log(len(log_ratio)))
