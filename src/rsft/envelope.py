"""The envelope M: which one to take, and what it costs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rsft.acceptance import check_log_ratio

RULES = ("max", "max_tv", "rate", "quantile", "log_m")
PRICED = (
    "max",
    "max_tv=0.01",
    "max_tv=0.02",
    "max_tv=0.05",
    "max_tv=0.1",
    "max_tv=0.2",
    "quantile=0.97",
    "quantile=0.9",
)


@dataclass(frozen=True)
class Envelope:
    """A chosen M and its price on the pool it was chosen for.

    Attributes:
        rule: how it was chosen, as it can be given again: "max", "max_tv=0.02", ...
        log_m: log M.
        acceptance_rate: mean P_accept over the pool, in [0, 1].
        clipped_mass: total variation, in [0, 1], between the target on the pool and the one that M lets through;
            0 where M bounds every ratio.
        effective_size: (sum w)^2 / sum w^2 of w = P_accept: how many equally likely items the accepted are worth.
    """

    rule: str
    log_m: float
    acceptance_rate: float
    clipped_mass: float
    effective_size: float


def choose_envelope(
    log_ratio: Tensor,
    rule: str | None = None,
    *,
    max_tv: float | None = None,
    rate: float | None = None,
    quantile: float | None = None,
    log_m: float | None = None,
) -> Envelope:
    """Choose M for a pool by exactly one rule.

    * `"max"` (also when no rule is given): the largest ratio of the pool. Exact; the lowest acceptance rate.
    * `max_tv=t`: the smallest M that changes the target by at most `t` in total variation, in [0, 1).
    * `rate=c`: the M with mean(min(1, r / M)) = c, in (0, 1]; at a fixed rate no acceptance function is closer to the
      target in any f-divergence (A. Verine et al., "Optimal budgeted rejection sampling for generative models", 2024).
    * `quantile=q`: the q-quantile of the ratio over the pool, in (0, 1].
    * `log_m=m`: a given value, for instance the exact one of known densities.

    Args:
        log_ratio: (N,) log target - log proposal of the pool's items; a constant added to all changes `log_m` by it
            and nothing else.
        rule: "max", or another rule written as in a configuration file: "max_tv=0.02".
        max_tv: see above.
        rate: see above.
        quantile: see above.
        log_m: see above.

    Raises:
        ValueError: not exactly one rule, a value outside its range, or no item with target mass.

    >>> envelope = choose_envelope(torch.tensor([1.0, 2.0, 4.0]).log(), "max")
    >>> round(math.exp(envelope.log_m), 6), round(envelope.acceptance_rate, 4)
    (4.0, 0.5833)
    """
    return _priced(_sorted_ratios(log_ratio), rule, max_tv=max_tv, rate=rate, quantile=quantile, log_m=log_m)


def check_rule(rule: str) -> None:
    """Refuse what is no rule for any pool, such as before a pool is read.

    Raises:
        ValueError: see `choose_envelope`.
    """
    choose_envelope(torch.zeros(1), rule)


def price_list(log_ratio: Tensor, rules: Sequence[str] = PRICED) -> list[Envelope]:
    """What each of several rules would cost on this pool, the largest M first.

    >>> [envelope.rule for envelope in price_list(torch.tensor([1.0, 2.0, 4.0]).log(), ["max_tv=0.1", "max"])]
    ['max', 'max_tv=0.1']
    """
    pool = _sorted_ratios(log_ratio)
    return sorted((_priced(pool, rule) for rule in rules), key=lambda envelope: -envelope.log_m)


class _Sorted(NamedTuple):
    """Ratios of a pool, ascending, with 1 the largest; their running sums; the log of what they were divided by."""

    ratio: np.ndarray
    sums: np.ndarray
    shift: float


def _sorted_ratios(log_ratio: Tensor) -> _Sorted:
    check_log_ratio(log_ratio, "choose_envelope(log_ratio=...)")
    logs = np.sort(log_ratio.detach().to("cpu", torch.float64).numpy())
    if not len(logs) or not np.isfinite(logs[-1]):
        raise ValueError(
            "`choose_envelope(log_ratio=...)` has no item with a finite log ratio: the pool has no target."
        )
    ratio = np.exp(logs - logs[-1])
    return _Sorted(ratio, np.cumsum(ratio), float(logs[-1]))


def _priced(pool: _Sorted, rule: str | None, **options: float | None) -> Envelope:
    name, value = _one_rule(rule, options)
    if value is None:
        m = 1.0
    elif name == "log_m":
        m = math.exp(_checked("log_m", value, -math.inf, math.inf) - pool.shift)
    elif name == "quantile":
        m = _by_quantile(pool.ratio, value)
    else:
        m = {"max_tv": _by_max_tv, "rate": _by_rate}[name](pool, value)
    if m == 0:
        raise ValueError(
            f"`choose_envelope({name}={value})` gives M = 0: most of the pool has no target mass; raise it."
        )
    acceptance = np.minimum(1.0, pool.ratio / m)
    return Envelope(
        rule=name if value is None else f"{name}={value:g}",
        log_m=pool.shift + math.log(m),
        acceptance_rate=float(acceptance.mean()),
        clipped_mass=_clipped_mass(pool, m),
        effective_size=float(acceptance.sum() ** 2 / (acceptance**2).sum()),
    )


def _one_rule(rule: str | None, options: dict[str, float | None]) -> tuple[str, float | None]:
    given: list[tuple[str, float | None]] = [(name, value) for name, value in options.items() if value is not None]
    if rule is not None:
        name, _, text = rule.partition("=")
        try:
            given.append((name.strip(), float(text) if text else None))
        except ValueError:
            given.append((rule, None))
        if given[-1][0] not in RULES or (given[-1][0] == "max") != (given[-1][1] is None):
            raise ValueError(
                f"`choose_envelope` knows no rule {rule!r}: use 'max', 'max_tv=0.02', 'rate=0.1', 'quantile=0.97' or "
                "'log_m=1.5'."
            )
    if len(given) > 1:
        raise ValueError(f"`choose_envelope` needs exactly one rule, got {', '.join(name for name, _ in given)}.")
    return given[0] if given else ("max", None)


def _checked(name: str, value: float, low: float, high: float) -> float:
    if not low < value < high:
        raise ValueError(f"`choose_envelope({name}=...)` needs a value between {low} and {high}, got {value}.")
    return value


def _by_quantile(ratio: np.ndarray, q: float) -> float:
    return float(np.quantile(ratio, _checked("quantile", q, 0, 1 + 1e-12)))


def _by_rate(pool: _Sorted, rate: float) -> float:
    """With the k largest clipped, k + sum(rest) / M = rate * N; the right k is the one that clips what exceeds M."""
    ratio, sums, _ = pool
    supported = float((ratio > 0).mean())
    if not 0 < rate <= supported:
        raise ValueError(
            f"`choose_envelope(rate=...)` needs a rate in (0, {supported:g}], the share of the pool with target mass, "
            f"got {rate}."
        )
    n = len(ratio)
    if rate == supported:
        return float(ratio[ratio > 0].min())
    clipped = np.arange(n)[np.arange(n) < rate * n]
    m = sums[n - 1 - clipped] / (rate * n - clipped)
    return float(m[np.argmax(ratio[n - 1 - clipped] <= m * (1 + 1e-12))])


def _by_max_tv(pool: _Sorted, max_tv: float) -> float:
    """The clipped mass falls as M grows, so the smallest M is found by bisection; the upper end keeps the bound."""
    if not 0 <= max_tv < 1:
        raise ValueError(f"`choose_envelope(max_tv=...)` needs a value in [0, 1), got {max_tv}.")
    low, high = math.log(pool.ratio[pool.ratio > 0].min()), 0.0
    if _clipped_mass(pool, math.exp(low)) <= max_tv:
        return math.exp(low)
    while high - low > 1e-12:
        middle = (low + high) / 2
        if _clipped_mass(pool, math.exp(middle)) <= max_tv:
            high = middle
        else:
            low = middle
    return math.exp(high)


def _clipped_mass(pool: _Sorted, m: float) -> float:
    """TV between r / sum r and min(r, M) / sum min(r, M).

    Only clipped items can lose mass, and of them those with r / sum r > M / sum min(r, M).
    """
    ratio, sums, _ = pool
    n = len(ratio)
    first = int(np.searchsorted(ratio, m, side="right"))
    total = sums[-1]
    clipped_total = (sums[first - 1] if first else 0.0) + (n - first) * m
    loser = int(np.searchsorted(ratio, m * total / clipped_total, side="right"))
    lost = total - (sums[loser - 1] if loser else 0.0)
    return float(max(0.0, lost / total - (n - loser) * m / clipped_total))
