"""The ratio when items hold several classes at once: shares of the target by pixel, by box, by word.

An item's memberships are counts: how many of its pixels or boxes are of each class. Accepting an item takes all it
holds, so shares are met by the whole: the share of class k is E_q[r n_k] / E_q[r n], n the item's total.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST_SOFTNESS, SMALLEST_SOFTNESS, SOFTER = 1.0, 1e-12, 0.25
TOLERANCE = 1e-7
MAX_STEPS, MAX_HALVINGS = 100, 40


@dataclass(frozen=True)
class MembershipRatio:
    """What was found.

    Attributes:
        log_ratio: (N,) float64, log target - log pool, with mean ratio 1 over the pool.
        wanted: table -> class -> share, as stated.
        pool: table -> class -> share of the pool.
        achieved: the same of the pool weighed by the ratio.
        shortfall: largest absolute difference of an achieved to a wanted share; about 0 where the pool permits.
        effective_size: (sum r)^2 / sum r^2, in items.
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
        return "\n".join([*rows, f"shortfall {self.shortfall:.4f}, worth {self.effective_size:.0f} items"])


def membership_ratio(
    memberships: Mapping[str, Tensor],
    target_shares: Mapping[str, Mapping[int, float]],
    *,
    least_effective: float = 30.0,
) -> MembershipRatio:
    """The log ratio that meets shares of what items hold, and is otherwise nearest to the pool.

    Of all ratios with these shares the one of least Kullback-Leibler divergence from the pool is an exponential tilt,
    r = exp(sum_k lambda_k g_k) with g_k = n_k - t_k n (I. Csiszar, "I-divergence geometry of probability distributions
    and minimization problems", 1975); lambda minimises the convex log E_q[r]. Deviations are let in at a price,
    |E_p g|^2 / (2 s), which adds s |lambda|^2 / 2; the price is raised until the shares are met, or cannot be met
    better, or the next step would leave fewer than `least_effective` items' worth: what is then missing is the
    `shortfall`.

    With one class an item this is `raked_ratio`.

    Args:
        memberships: table -> (N, K) counts >= 0 of each item; items may hold nothing.
        target_shares: table -> class -> its share of all that the target holds, in [0, 1]; classes left out are
            left as they are, and share what the stated ones leave.
        least_effective: effective size not to fall below, in items; where the pool has fewer, half the pool.

    Raises:
        ValueError: counts are negative or not finite, tables differ in length, a table or class is unknown, shares are
            outside [0, 1] or sum to more than 1, or a class with a share occurs nowhere in the pool.

    >>> pixels = torch.tensor([[8.0, 0.0], [8.0, 0.0], [4.0, 4.0]])
    >>> found = membership_ratio({"class": pixels}, {"class": {1: 0.4}}, least_effective=1)
    >>> found.log_ratio.exp()
    tensor([0.3000, 0.3000, 2.4000], dtype=torch.float64)
    """
    counts = _checked(memberships, target_shares)
    items = len(next(iter(counts.values())))
    gaps = _gaps(counts, target_shares)
    least_effective = min(least_effective, items / 2)
    weight, multipliers = torch.full((items,), 1 / items, dtype=torch.float64), gaps.new_zeros(gaps.shape[1])
    softness = LARGEST_SOFTNESS
    while softness > SMALLEST_SOFTNESS and float((weight @ gaps).abs().max()) > TOLERANCE:
        multipliers = _minimise(gaps, multipliers, softness)
        tried = (gaps @ multipliers).softmax(0)
        if float(1 / tried.square().sum()) < least_effective:
            break
        weight, softness = tried, softness * SOFTER
    achieved = {name: _stated(shares(table, weight), target_shares[name]) for name, table in counts.items()}
    wanted = {name: {k: float(share) for k, share in table.items()} for name, table in target_shares.items()}
    return MembershipRatio(
        log_ratio=weight.log() + math.log(items),
        wanted=wanted,
        pool={name: _stated(shares(table), target_shares[name]) for name, table in counts.items()},
        achieved=achieved,
        shortfall=max(abs(achieved[name][k] - share) for name in wanted for k, share in wanted[name].items()),
        effective_size=float(1 / weight.square().sum()),
    )


def shares(counts: Tensor, weight: Tensor | None = None) -> Tensor:
    """Share of each class in all that weighted items hold: (N, K), (N,) >= 0 -> (K,) float64.

    >>> shares(torch.tensor([[3, 1], [0, 4]]), torch.tensor([1.0, 0.0]))
    tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    counts = counts.double()
    totals = counts.sum(0) if weight is None else weight.double() @ counts
    return totals / totals.sum()


def _stated(found: Tensor, stated: Mapping[int, float]) -> dict[int, float]:
    return {k: float(found[k]) for k in stated}


def _checked(memberships: Mapping[str, Tensor], target_shares: Mapping[str, Mapping[int, float]]) -> dict[str, Tensor]:
    """The tables that shares are stated of, as float64."""
    unknown = [name for name in target_shares if name not in memberships]
    if unknown or not target_shares or not all(target_shares.values()):
        raise ValueError(
            f"`membership_ratio(target_shares=...)` needs shares of {sorted(memberships)}, got {dict(target_shares)}."
        )
    counts = {name: memberships[name].detach().cpu().double() for name in target_shares}
    lengths = {len(table) for table in counts.values()}
    for name, table in counts.items():
        call = f"`membership_ratio(memberships=...)['{name}']`"
        if table.ndim != 2 or not len(table) or len(lengths) > 1:
            raise ValueError(f"{call} needs (N, K) counts of the same N items, got {tuple(table.shape)} and {lengths}.")
        wrong = (~(table >= 0) | table.isinf()).any(1).nonzero()
        if len(wrong):
            raise ValueError(
                f"{call} needs finite counts >= 0, item {int(wrong[0])} has {table[wrong[0, 0]].tolist()}."
            )
        wanted, classes = target_shares[name], table.shape[1]
        outside = [k for k in wanted if not (isinstance(k, int) and 0 <= k < classes)]
        if outside:
            raise ValueError(f"{call} has classes 0 to {classes - 1}, and `target_shares` names {outside}.")
        total = sum(wanted.values())
        short = len(wanted) == classes and not math.isclose(total, 1, abs_tol=1e-6)
        if not all(0 <= share <= 1 for share in wanted.values()) or total > 1 + 1e-6 or short:
            raise ValueError(
                f"`membership_ratio(target_shares=...)['{name}']` needs shares in [0, 1] with a sum of at most 1, or "
                f"of 1 where all {classes} classes are named; got a sum of {total:g}."
            )
        absent = [k for k, share in wanted.items() if share > 0 and not table[:, k].any()]
        if absent:
            raise ValueError(
                f"`membership_ratio(target_shares=...)['{name}']` gives a share to {absent}: no item has it."
            )
    return counts


def _gaps(counts: Mapping[str, Tensor], target_shares: Mapping[str, Mapping[int, float]]) -> Tensor:
    """(N, G): n_k - t_k n of every stated class, in units of the pool's mean n, so that its mean is a share's gap."""
    columns = []
    for name, table in counts.items():
        total = table.sum(1)
        columns += [(table[:, k] - share * total) / total.mean() for k, share in target_shares[name].items()]
    return torch.stack(columns, 1)


def _minimise(gaps: Tensor, start: Tensor, softness: float) -> Tensor:
    """Newton's method on log mean exp(gaps lambda) + softness |lambda|^2 / 2, which is strictly convex."""

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
