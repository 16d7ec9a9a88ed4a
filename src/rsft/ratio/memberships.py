"""Ratios for items that contain several classes, where target shares count pixels, boxes or words instead of items.

The memberships of an item are counts n_k, such as the number of its pixels or boxes of each class k. An accepted item
contributes all it contains, so the share of class k under the ratio r is E_q[r n_k] / E_q[r n], where q is the pool and
n = sum_k n_k.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsft.errors import InputError

LARGEST_SOFTNESS, SMALLEST_SOFTNESS, SOFTER, LEAST_STEP = 4.0, 1e-12, 2.0**-8, 0.98
TOLERANCE, MET = 1e-7, 1e-4  # for the means that are solved for, and for the resulting shares
MAX_STEPS, MAX_HALVINGS = 100, 40


@dataclass(frozen=True)
class MembershipRatio:
    """Result of `membership_ratio`.

    Attributes:
        log_ratio: (N,) float64 log target - log pool, with mean ratio 1 over the pool.
        wanted: table -> class -> requested share of the target.
        pool: table -> class -> share of the class in the pool.
        achieved: table -> class -> share of the class in the pool weighted by the ratio.
        shortfall: Largest absolute difference between an achieved and a requested share; about 0 if the pool can meet
            all of them.
        effective_size: Effective sample size (sum r)^2 / sum r^2 of the ratio r over the pool, in items.
    """

    log_ratio: Tensor
    wanted: dict[str, dict[int, float]]
    pool: dict[str, dict[int, float]]
    achieved: dict[str, dict[int, float]]
    shortfall: float
    effective_size: float

    def __str__(self) -> str:
        rows = [
            f"{table} {number}: pool {self.pool[table][number]:.4f}, achieved {self.achieved[table][number]:.4f}, "
            f"wanted {share:.4f}"
            for table, shares in self.wanted.items()
            for number, share in shares.items()
        ]
        return "\n".join([*rows, f"shortfall {self.shortfall:.4f}, effective size {self.effective_size:.0f} items"])


def membership_ratio(
    memberships: Mapping[str, Tensor],
    target_shares: Mapping[str, Mapping[int, float]],
    *,
    least_effective: float = 30.0,
) -> MembershipRatio:
    """Compute the log ratio that meets target shares of what the items contain.

    Among all ratios with these shares, the one with the smallest Kullback-Leibler divergence from the pool is an
    exponential tilt, r = exp(sum_k lambda_k n_k + c) (I. Csiszar, "I-divergence geometry of probability distributions
    and minimization problems", 1975). Its lambda minimises a convex function. Deviations d from the shares are allowed
    at the cost |d|^2 / (2 s), which adds s |lambda|^2 / 2 to that function. The softness s is reduced until the shares
    are met, the effective size would fall below `least_effective`, or nothing more is gained. The remaining error is
    the `shortfall`. If there is one, items that contain almost nothing could make the deviation look small. The problem
    is then also solved with the mean number of pixels or boxes per item held at that of the pool, and the solution with
    the smaller shortfall is returned.

    If each item has exactly one class, the result is that of `raked_ratio`.

    Args:
        memberships: table -> (N, K) counts >= 0 of the K classes in each of the N items. An item may be empty. A table
            is any name, such as "box".
        target_shares: table -> class -> share of the class in the total count of the target, in [0, 1]. Unlisted
            classes are unconstrained and divide the remaining share. If all K are listed, the shares sum to 1.
        least_effective: Lower bound on the effective size of the ratio, in items. For small pools the bound is at most
            half the pool.

    Returns:
        The log ratio, the shares it achieves, their shortfall and the effective size.

    Raises:
        ValueError: If counts are negative or not finite, a table is empty or has only zeros, tables differ in length, a
            table or class is unknown, shares are outside [0, 1], sum to more than 1 or, with all classes listed, not to
            1, or a class with a positive share does not occur in the pool.

    >>> pixels = torch.tensor([[8.0, 0.0], [8.0, 0.0], [4.0, 4.0]])
    >>> found = membership_ratio({"class": pixels}, {"class": {1: 0.4}}, least_effective=1)
    >>> found.log_ratio.exp()
    tensor([0.3000, 0.3000, 2.4000], dtype=torch.float64)
    """
    counts = _checked(memberships, target_shares)
    gaps = torch.cat([_gaps(table, target_shares[name]) for name, table in counts.items()], 1)
    totals = torch.stack([table.sum(1) / table.sum(1).mean() - 1 for table in counts.values()], 1)
    least = min(least_effective, len(gaps) / 2)

    def missing(log_ratio: Tensor) -> float:
        found = {name: shares(table, log_ratio.exp()).nan_to_num() for name, table in counts.items()}
        return max(abs(float(found[name][k]) - t) for name, table in target_shares.items() for k, t in table.items())

    log_ratio = _as_near_as(gaps, least)
    if missing(log_ratio) > MET:
        log_ratio = min(log_ratio, _as_near_as(torch.cat([gaps, totals], 1), least), key=missing)
    achieved = {name: _stated(shares(table, log_ratio.exp()), target_shares[name]) for name, table in counts.items()}
    wanted = {name: {k: float(share) for k, share in table.items()} for name, table in target_shares.items()}
    return MembershipRatio(
        log_ratio=log_ratio,
        wanted=wanted,
        pool={name: _stated(shares(table), target_shares[name]) for name, table in counts.items()},
        achieved=achieved,
        shortfall=missing(log_ratio),
        effective_size=_effective_size(log_ratio),
    )


def shares(counts: Tensor, weight: Tensor | None = None) -> Tensor:
    """Compute the share of each class in the total count of weighted items.

    Args:
        counts: (N, K) counts >= 0.
        weight: (N,) item weights >= 0; None for equal weights.

    Returns:
        (K,) float64 shares.

    >>> shares(torch.tensor([[3, 1], [0, 4]]), torch.tensor([1.0, 0.0]))
    tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    counts = counts.double()
    totals = counts.sum(0) if weight is None else weight.double() @ counts
    return totals / totals.sum()


def _stated(found: Tensor, stated: Mapping[int, float]) -> dict[int, float]:
    """Return the entries of `found`, (K,), for the classes in `stated`."""
    return {k: float(found[k]) for k in stated}


def _checked(memberships: Mapping[str, Tensor], target_shares: Mapping[str, Mapping[int, float]]) -> dict[str, Tensor]:
    """Return the tables named in `target_shares` as float64; raise ValueError for invalid counts or shares."""
    unknown = [name for name in target_shares if name not in memberships]
    if unknown or not target_shares or not all(target_shares.values()):
        raise ValueError(
            f"`membership_ratio(target_shares=...)` needs shares of {sorted(memberships)}, got {dict(target_shares)}."
        )
    counts = {name: _as_counts(memberships[name], name) for name in target_shares}
    lengths = {len(table) for table in counts.values()}
    for name, table in counts.items():
        call = f"`membership_ratio(memberships=...)['{name}']`"
        if table.ndim != 2 or not len(table) or len(lengths) > 1:
            raise ValueError(
                f"{call} needs (N, K) counts of the same N items, got shape {tuple(table.shape)} and lengths {lengths}."
            )
        wrong = (~(table >= 0) | table.isinf()).any(1).nonzero()
        if len(wrong):
            raise ValueError(
                f"{call} needs finite counts >= 0, item {int(wrong[0])} has {table[wrong[0, 0]].tolist()}."
            )
        if not table.any():
            raise ValueError(f"{call} needs at least one count > 0, got zeros only.")
        wanted, classes = target_shares[name], table.shape[1]
        outside = [k for k in wanted if not (isinstance(k, int) and 0 <= k < classes)]
        if outside:
            raise ValueError(f"{call} has classes 0 to {classes - 1}, and `target_shares` names {outside}.")
        total = sum(wanted.values())
        short = len(wanted) == classes and not math.isclose(total, 1, abs_tol=1e-6)
        if not all(0 <= share <= 1 for share in wanted.values()) or total > 1 + 1e-6 or short:
            raise ValueError(
                f"`membership_ratio(target_shares=...)['{name}']` needs shares in [0, 1] with a sum of at most 1, or "
                f"of 1 if all {classes} classes are listed; got a sum of {total:g}."
            )
        absent = [k for k, share in wanted.items() if share > 0 and not table[:, k].any()]
        if absent:
            raise ValueError(
                f"`membership_ratio(target_shares=...)['{name}']` gives a share to {absent}: no item has it."
            )
    return counts


def _as_counts(table: Any, name: str) -> Tensor:
    """Return a table of counts as float64; raise InputError if it holds other things than real numbers."""
    if not isinstance(table, Tensor):
        array = np.asarray(table)
        table = torch.from_numpy(array.astype(np.float64)) if array.dtype.kind in "fiub" else None
    if table is None or table.is_complex():
        raise InputError(f"`membership_ratio(memberships=...)['{name}']` needs (N, K) counts that are real numbers.")
    counts: Tensor = table.detach().cpu().double()
    return counts


def _gaps(counts: Tensor, wanted: Mapping[int, float]) -> Tensor:
    """Return n_k - t_k n of each item and listed class with share t_k, divided by the pool's mean n: (N, G).

    If the mean total n is unchanged by the ratio, the weighted mean of a column is the error of that share.
    """
    total = counts.sum(1)
    return torch.stack([counts[:, k] - share * total for k, share in wanted.items()], 1) / total.mean()


def _as_near_as(gaps: Tensor, least_effective: float) -> Tensor:
    """Return the log ratio (N,) for the smallest softness that is needed and keeps the least effective size."""
    found = torch.zeros(len(gaps), dtype=gaps.dtype)
    multipliers = gaps.new_zeros(gaps.shape[1])
    softness, step = LARGEST_SOFTNESS, SOFTER
    while step < LEAST_STEP and softness > SMALLEST_SOFTNESS and not _met(found, gaps):
        tried = _minimise(gaps, multipliers, softness * step)
        log_ratio = _normalised(gaps @ tried)
        if _effective_size(log_ratio) < least_effective:
            step = step**0.5  # continue with smaller steps
        else:
            found, multipliers, softness = log_ratio, tried, softness * step
    return found


def _met(log_ratio: Tensor, gaps: Tensor) -> bool:
    """Return whether all weighted mean gaps are below `TOLERANCE`."""
    return float((log_ratio.softmax(0) @ gaps).abs().max()) < TOLERANCE


def _normalised(log_ratio: Tensor) -> Tensor:
    """Scale the ratio to mean 1 over the pool."""
    return log_ratio - (torch.logsumexp(log_ratio, 0) - math.log(len(log_ratio)))


def _effective_size(log_ratio: Tensor) -> float:
    """Return (sum r)^2 / sum r^2."""
    return float(1 / log_ratio.softmax(0).square().sum())


def _minimise(gaps: Tensor, start: Tensor, softness: float) -> Tensor:
    """Minimise the strictly convex log sum exp(gaps lambda) + softness |lambda|^2 / 2 by Newton's method."""

    def value(at: Tensor) -> float:
        return float(torch.logsumexp(gaps @ at, 0) + softness * at.square().sum() / 2)

    at, height = start, value(start)
    for _ in range(MAX_STEPS):
        weight = (gaps @ at).softmax(0)
        mean = weight @ gaps
        slope = mean + softness * at
        spread = (gaps * weight[:, None]).T @ gaps - mean.outer(mean)
        step = torch.linalg.solve(spread + softness * torch.eye(len(at), dtype=at.dtype), slope)
        decrement = float(slope @ step)
        if decrement < 1e-20 + 1e-15 * abs(height):
            break
        length = 1.0
        for _ in range(MAX_HALVINGS):
            tried = value(at - length * step)
            if tried <= height - 1e-4 * length * decrement + 1e-15 * abs(height):
                break
            length /= 2
        at, height = at - length * step, tried
    return at
