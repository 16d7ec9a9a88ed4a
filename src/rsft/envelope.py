"""Choice of the envelope M of rejection sampling, and its cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rsft.per_item import as_log_ratio

RULES = ("max", "max_tv", "rate", "quantile", "log_m")
RULE_EXAMPLES = "'max', 'max_tv=0.02', 'rate=0.1', 'quantile=0.97' or 'log_m=1.5'"
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
CURVE_POINTS = 41


@dataclass(frozen=True)
class Envelope:
    """An envelope M and its cost on the pool for which it was chosen.

    With the ratio r of target to pool, an item is accepted with probability P_accept = min(1, r / M).

    Attributes:
        rule: The rule that chose M, in the form that `choose_envelope` takes: "max", "max_tv=0.02", ...
        log_m: log M.
        acceptance_rate: Mean of P_accept over the pool, in [0, 1].
        clipped_mass: Total variation distance, in [0, 1], between the target on the pool and the distribution of the
            accepted items. It is 0 if no ratio exceeds M.
        effective_size: Effective sample size (sum w)^2 / sum w^2 of the weights w = P_accept, in items.
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
    """Choose the envelope M for a pool by one rule.

    Pass `rule`, or one of the keyword arguments. Without any of them the rule is "max".

    Args:
        log_ratio: (N,) log target - log proposal of the pool's items. Adding a constant to all values adds it to
            `log_m` and changes nothing else.
        rule: "max", the largest ratio of the pool: no ratio is clipped, and the acceptance rate is the lowest. Any
            other rule can be written as text, such as "max_tv=0.02".
        max_tv: Take the smallest M that changes the target by at most this total variation distance, in [0, 1).
        rate: Take the M with mean(min(1, r / M)) equal to this acceptance rate, in (0, 1]. At a fixed rate no other
            acceptance function is closer to the target in any f-divergence (A. Verine et al., "Optimal budgeted
            rejection sampling for generative models", 2024).
        quantile: Take this quantile of the ratio over the pool, in (0, 1].
        log_m: Take this value of log M, such as the exact one for known densities.

    Returns:
        The envelope and its cost on this pool.

    Raises:
        ValueError: If several rules are given, a rule is unknown, a value is outside its range, or no item has target
            mass.

    >>> envelope = choose_envelope(torch.tensor([1.0, 2.0, 4.0]).log(), "max")
    >>> round(math.exp(envelope.log_m), 6), round(envelope.acceptance_rate, 4)
    (4.0, 0.5833)
    """
    return _priced(_sorted_ratios(log_ratio), rule, max_tv=max_tv, rate=rate, quantile=quantile, log_m=log_m)


def check_rule(rule: str) -> None:
    """Raise an error if `rule` is not valid for any pool. This check can run before a pool is read.

    Args:
        rule: A rule of `choose_envelope`, written as text.

    Raises:
        ValueError: If the rule is unknown, or its value is outside its range.
    """
    choose_envelope(torch.zeros(1), rule)


def price_list(log_ratio: Tensor, rules: Sequence[str] = PRICED) -> list[Envelope]:
    """Compute the cost of several envelope rules on a pool.

    Args:
        log_ratio: (N,) log target - log proposal of the pool's items.
        rules: Rules of `choose_envelope`, written as text. The default are those of `PRICED` that this pool allows.

    Returns:
        One envelope for each rule, sorted from the largest M to the smallest.

    Raises:
        ValueError: If a rule is not valid, or no item has target mass.

    >>> [envelope.rule for envelope in price_list(torch.tensor([1.0, 2.0, 4.0]).log(), ["max_tv=0.1", "max"])]
    ['max', 'max_tv=0.1']
    """
    pool = _sorted_ratios(log_ratio)
    if rules is PRICED:  # where most of the pool has no target mass, a low quantile of the ratio is 0 and no envelope
        rules = [rule for rule in PRICED if "quantile" not in rule or np.quantile(pool.ratio, float(rule[9:])) > 0]
    return sorted((_priced(pool, rule) for rule in rules), key=lambda envelope: -envelope.log_m)


def price_curve(log_ratio: Tensor, points: int = CURVE_POINTS) -> dict[str, list[float]]:
    """Compute what an envelope costs over M, from the median ratio of the pool, or its smallest, to its largest.

    Args:
        log_ratio: (N,) log target - log proposal of the pool's items.
        points: Number of envelopes.

    Returns:
        "log_m", "acceptance_rate" and "clipped_mass", as of `Envelope`, each with `points` values.

    Raises:
        ValueError: If no item has target mass.

    >>> curve = price_curve(torch.tensor([1.0, 2.0, 4.0]).log(), points=2)
    >>> [round(rate, 3) for rate in curve["acceptance_rate"]], curve["clipped_mass"][1]
    ([0.833, 0.583], 0.0)
    """
    pool = _sorted_ratios(log_ratio)
    least = max(float(np.median(pool.ratio)), float(pool.ratio[pool.ratio > 0].min()))
    curve: dict[str, list[float]] = {"log_m": [], "acceptance_rate": [], "clipped_mass": []}
    for m in np.geomspace(least, 1.0, points).tolist():
        curve["log_m"].append(pool.shift + math.log(m))
        curve["acceptance_rate"].append(float(np.minimum(1.0, pool.ratio / m).mean()))
        curve["clipped_mass"].append(_clipped_mass(pool, m))
    return curve


class _Sorted(NamedTuple):
    """Ratios of a pool in ascending order, scaled to a maximum of 1.

    Attributes:
        ratio: (N,) scaled ratios.
        sums: (N,) cumulative sums of `ratio`.
        shift: Log of the divisor, the largest ratio.
    """

    ratio: np.ndarray
    sums: np.ndarray
    shift: float


def _sorted_ratios(log_ratio: Tensor) -> _Sorted:
    """Sort and scale the ratios; raise ValueError if none is finite."""
    given = as_log_ratio(log_ratio, "choose_envelope(log_ratio=...)")
    logs = np.sort(given.detach().to("cpu", torch.float64).numpy())
    if not len(logs) or not np.isfinite(logs[-1]):
        raise ValueError(
            "`choose_envelope(log_ratio=...)` has no item with a finite log ratio: the pool has no target mass."
        )
    ratio = np.exp(logs - logs[-1])
    return _Sorted(ratio, np.cumsum(ratio), float(logs[-1]))


def _priced(pool: _Sorted, rule: str | None, **options: float | None) -> Envelope:
    """Apply one rule and compute its cost."""
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
            f"`choose_envelope({name}={value})` gives M = 0: most of the pool has no target mass; raise {name}."
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
    """Return the name and the value of the one rule given; raise ValueError if several are given."""
    given: list[tuple[str, float | None]] = [(name, value) for name, value in options.items() if value is not None]
    if rule is not None:
        name, _, text = rule.partition("=")
        try:
            given.append((name.strip(), float(text) if text else None))
        except ValueError:
            given.append((rule, None))
        if given[-1][0] not in RULES or (given[-1][0] == "max") != (given[-1][1] is None):
            raise ValueError(f"`choose_envelope` knows no rule {rule!r}: use {RULE_EXAMPLES}.")
    if len(given) > 1:
        raise ValueError(f"`choose_envelope` needs exactly one rule, got {', '.join(name for name, _ in given)}.")
    return given[0] if given else ("max", None)


def _checked(name: str, value: float, low: float, high: float) -> float:
    """Return the value; raise ValueError unless it is in (low, high)."""
    if not low < value < high:
        raise ValueError(f"`choose_envelope({name}=...)` needs a value between {low} and {high}, got {value}.")
    return value


def _by_quantile(ratio: np.ndarray, q: float) -> float:
    """Return the q-quantile of the ratios."""
    return float(np.quantile(ratio, _checked("quantile", q, 0, 1 + 1e-12)))


def _by_rate(pool: _Sorted, rate: float) -> float:
    """Solve k + sum(rest) / M = rate * N for M, where the k ratios above M are clipped."""
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
    """Find the smallest M by bisection, as the clipped mass decreases in M. The upper end satisfies the bound."""
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
    """Compute the total variation distance between r / sum r and min(r, M) / sum min(r, M).

    An item loses mass only if it is clipped and r / sum r > M / sum min(r, M).
    """
    ratio, sums, _ = pool
    n = len(ratio)
    first = int(np.searchsorted(ratio, m, side="right"))
    total = sums[-1]
    clipped_total = (sums[first - 1] if first else 0.0) + (n - first) * m
    loser = int(np.searchsorted(ratio, m * total / clipped_total, side="right"))
    lost = total - (sums[loser - 1] if loser else 0.0)
    return float(max(0.0, lost / total - (n - loser) * m / clipped_total))
