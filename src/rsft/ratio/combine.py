"""Combinations of log ratios: products, mixtures, and a mixture of the target with the pool."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rsft.per_item import as_log_ratio


def product_ratio(*log_ratios: Any) -> Tensor:
    """Multiply several ratios and normalise the product to mean ratio 1 over the pool.

    Choose one envelope for the product. The product of the factors' envelopes is at least as large, because the factors
    need not have their maxima at the same item.

    Args:
        *log_ratios: (N,) log ratios of the factors.

    Returns:
        (N,) float64 log ratio of the product; -inf for items where a factor is -inf.

    Raises:
        ValueError: If the lengths differ, or no item has a finite log ratio in all factors.

    >>> product_ratio(torch.tensor([2.0, 0.5]).log(), torch.tensor([0.5, 1.5]).log()).exp()
    tensor([1.1429, 0.8571], dtype=torch.float64)
    """
    total = torch.stack(_equally_long(log_ratios, "product_ratio")).sum(0)
    if not torch.isfinite(total).any():
        raise ValueError("`product_ratio` leaves no item: no pool item has target mass in all factors.")
    return total - (torch.logsumexp(total, 0) - math.log(len(total)))


def mixture_ratio(log_ratios: Sequence[Any], weights: Sequence[float]) -> Tensor:
    """Compute the log ratio of a mixture of targets, log sum_t w_t r_t.

    Args:
        log_ratios: One (N,) log ratio for each target.
        weights: Share of each target in the mixture, >= 0. The shares sum to 1.

    Returns:
        (N,) float64 log ratio of the mixture.

    Raises:
        ValueError: If the lengths differ, a weight is negative, or the weights do not sum to 1.

    >>> mixture_ratio([torch.tensor([2.0, 0.0]).log(), torch.tensor([0.5, 1.5]).log()], [0.5, 0.5]).exp()
    tensor([1.2500, 0.7500], dtype=torch.float64)
    """
    rows = _equally_long(log_ratios, "mixture_ratio")
    if len(weights) != len(rows) or min(weights) < 0 or not math.isclose(sum(weights), 1, abs_tol=1e-6):
        raise ValueError(
            f"`mixture_ratio(weights=...)` needs {len(rows)} shares >= 0 that sum to 1, got {list(weights)}."
        )
    shares = torch.tensor(weights, dtype=torch.float64).log()
    return torch.logsumexp(torch.stack(rows) + shares[:, None], 0)


def retain_pool(log_ratio: Any, retain_fraction: float) -> Tensor:
    """Mix the pool into the target: compute the log ratio of a p + (1 - a) q to q, with a = 1 - `retain_fraction`.

    The new ratio is a r + 1 - a. Its envelope is a M + 1 - a, so its acceptance rate is higher than for the target p
    alone, and sampling remains exact.

    Args:
        log_ratio: (N,) log ratio log p - log q of target p and pool q.
        retain_fraction: Share 1 - a of the pool in the new target, in [0, 1].

    Returns:
        (N,) log ratio of the mixture, float64 if `log_ratio` is float64 and float32 otherwise.

    Raises:
        ValueError: If `retain_fraction` is outside [0, 1].

    >>> retain_pool(torch.tensor([3.0, 0.0]).log(), 0.5).exp()
    tensor([2.0000, 0.5000])
    """
    if not 0 <= retain_fraction <= 1:
        raise ValueError(f"`retain_fraction` needs a value in [0, 1], got {retain_fraction}.")
    log_ratio = as_log_ratio(log_ratio, "retain_pool(log_ratio=...)")
    if retain_fraction == 0:
        return log_ratio
    if retain_fraction == 1:
        return torch.zeros_like(log_ratio)
    kept = torch.full_like(log_ratio, math.log(retain_fraction))
    return torch.logaddexp(log_ratio + math.log1p(-retain_fraction), kept)


def _equally_long(log_ratios: Sequence[Any], call: str) -> list[Tensor]:
    """Return the log ratios as float64; raise ValueError unless all are (N,). `call` names the function in messages."""
    rows = [as_log_ratio(log_ratio, call).double() for log_ratio in log_ratios]
    lengths = {len(row) for row in rows}
    if len(lengths) != 1:
        raise ValueError(f"`{call}` needs (N,) log ratios of one length, got lengths {sorted(lengths)}.")
    return rows
