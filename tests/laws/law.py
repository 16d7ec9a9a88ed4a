"""Check of an acceptance rule on a pair with closed forms: proposal q = N(0, 1), target p = N(0.5, 0.8^2)."""

import math
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Normal

PROPOSAL = Normal(0.0, 1.0)
TARGET = Normal(0.5, 0.8)
# The ratio has its maximum at x = mu / (1 - sigma^2), where its derivative is 0.
MODE = torch.tensor(0.5 / (1 - 0.8**2))
LOG_M = float(TARGET.log_prob(MODE) - PROPOSAL.log_prob(MODE))
SIGMAS = 5.0
KS_BOUND = 2.693  # divided by sqrt(n), the critical value of the KS distance at level 1e-6
ITEMS = 200_000
REPEATS = 20_000
REPEATED_AT = 0.5
BLOCKS = 400
FALSE_ALARM = 1e-6

# (N,) log ratios, log M, seed -> (N,) bool
Rule = Callable[[Tensor, float, int], np.ndarray]


def log_ratio(x: Tensor) -> Tensor:
    """Return the exact log ratio of target to proposal."""
    return TARGET.log_prob(x) - PROPOSAL.log_prob(x)


def assert_draws_the_target(rule: Rule, seed: int) -> None:
    """Assert that the accepted items follow the target, and that decisions on a repeated point are independent."""
    x = torch.randn(ITEMS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    kept = x.numpy()[rule(log_ratio(x), LOG_M, seed)]
    rate = math.exp(-LOG_M)
    _assert_near(len(kept) / ITEMS, rate, math.sqrt(rate * (1 - rate) / ITEMS), "acceptance rate")
    n = len(kept)
    _assert_near(kept.mean(), 0.5, 0.8 / math.sqrt(n), "mean")
    _assert_near(kept.var(ddof=1), 0.64, 0.64 * math.sqrt(2 / (n - 1)), "variance")
    distance = stats.kstest(kept, stats.norm(0.5, 0.8).cdf).statistic
    assert distance < KS_BOUND / math.sqrt(n), f"KS distance {distance:.5f} of {n}"
    # Repeat one point to check its acceptance rate and the independence of neighbouring decisions.
    point = torch.full((REPEATS,), REPEATED_AT, dtype=torch.float64)
    probability = math.exp(float(log_ratio(point[:1])) - LOG_M)
    accepted = rule(log_ratio(point), LOG_M, seed)
    _assert_near(accepted.mean(), probability, math.sqrt(probability * (1 - probability) / REPEATS), "repeated point")
    counts = accepted.reshape(BLOCKS, -1).sum(1)
    size = REPEATS // BLOCKS
    dispersion = ((counts - size * probability) ** 2).sum() / (size * probability * (1 - probability))
    low, high = stats.chi2(BLOCKS).ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2])
    assert low < dispersion < high, f"dispersion of blocks {dispersion:.0f}, expected {low:.0f} to {high:.0f}"


def assert_uniform(found: Iterable[object], values: int) -> None:
    """Assert that all of a number of values come equally often, by a chi-square test."""
    counts = np.array(list(Counter(found).values()))
    expected = counts.sum() / values
    statistic = ((counts - expected) ** 2).sum() / expected + (values - len(counts)) * expected
    bound = stats.chi2(values - 1).ppf(1 - FALSE_ALARM)
    assert statistic < bound, f"chi-square {statistic:.0f} of {values} values, expected below {bound:.0f}"


def _assert_near(value: float, expected: float, standard_error: float, what: str) -> None:
    """Assert that a value is within `SIGMAS` standard errors of its expectation."""
    assert abs(value - expected) < SIGMAS * standard_error, (
        f"{what}: {value:.5f}, expected {expected:.5f} +- {standard_error:.5f}"
    )
