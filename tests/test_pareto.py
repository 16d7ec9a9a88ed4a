import math

import pytest
import torch

from rsft import largest_ratio, pareto_k


def normal_log_ratios(n: int, mean: float, seed: int) -> torch.Tensor:
    """Return the log ratios of N(mean, 1) to N(0, 1) at draws from N(0, 1)."""
    x = torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return mean * x - mean**2 / 2


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_k_of_a_pareto_tail_is_recovered(k: float) -> None:
    u = torch.rand(100_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # With 948 exceedances the standard error of k is about (1 + k) / sqrt(948).
    assert pareto_k(-k * u.log()) == pytest.approx(k, abs=5 * (1 + k) / math.sqrt(948))


def test_k_is_negative_for_a_bounded_ratio_and_nan_for_a_small_pool() -> None:
    assert pareto_k(torch.rand(10_000, generator=torch.Generator().manual_seed(0)).log()) < 0
    assert math.isnan(pareto_k(torch.zeros(20)))


@pytest.mark.parametrize("mean", [1.0, 2.0])
def test_the_interval_covers_the_largest_ratio_of_the_pool(mean: float) -> None:
    """It does in 95 of 100 pools of 20,000 with a pilot of 1,000. The pilot contains the largest in 5 of 100."""
    covered = missed = 0
    for seed in range(100):
        whole = normal_log_ratios(20_000, mean, seed)
        interval = largest_ratio(whole[:1000], len(whole))
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= float(whole.max()) <= interval.high
        missed += float(whole[:1000].max()) < float(whole.max())
    assert covered >= 95 - 5 * math.sqrt(100 * 0.95 * 0.05)
    assert missed > 80


def test_the_largest_value_of_a_bounded_ratio_is_its_bound() -> None:
    """The ratio of N(0.5, 0.8^2) to N(0, 1) is at most 1.769."""
    x = torch.randn(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    log_ratio = -(((x - 0.5) / 0.8) ** 2) / 2 - math.log(0.8) + x**2 / 2
    interval = largest_ratio(log_ratio, 10_000_000)
    assert interval.high is not None
    assert math.exp(interval.high) == pytest.approx(1.769, rel=0.02)


def test_a_pilot_may_be_the_whole_pool_but_not_too_small() -> None:
    whole = normal_log_ratios(500, 1.0, 0)
    assert largest_ratio(whole, 500).value == float(whole.max())
    with pytest.raises(ValueError, match="25"):
        largest_ratio(whole[:10], 500)
    with pytest.raises(ValueError, match="got 500 of 100"):
        largest_ratio(whole, 100)
