"""Tests that `draw` samples the target exactly."""

import math

import pytest
import torch
from law import KS_BOUND, LOG_M, PROPOSAL, SIGMAS, TARGET
from scipy import stats
from torch.distributions import Independent, Normal, Uniform

from rsft import draw
from rsft.errors import LowAcceptanceError

N = 50_000


def test_draws_follow_the_target_with_the_exact_bound() -> None:
    draws = draw(N, TARGET, PROPOSAL, safety=0.0)
    assert draws.log_m == pytest.approx(LOG_M, abs=1e-4)
    assert stats.kstest(draws.samples.numpy(), stats.norm(0.5, 0.8).cdf).statistic < KS_BOUND / math.sqrt(N)
    rate = math.exp(-LOG_M)
    assert abs(draws.acceptance_rate - rate) < SIGMAS * math.sqrt(rate * (1 - rate) / draws.proposed)
    assert draws.violations == 0


def test_violations_of_a_small_envelope_are_counted_or_raise_if_strict() -> None:
    draws = draw(N, TARGET, PROPOSAL, log_m=LOG_M - 0.3)
    assert draws.violations > 0
    # The target is clipped, so the same check fails.
    assert stats.kstest(draws.samples.numpy(), stats.norm(0.5, 0.8).cdf).statistic > KS_BOUND / math.sqrt(N)
    with pytest.raises(ValueError, match="no envelope"):
        draw(N, TARGET, PROPOSAL, log_m=LOG_M - 0.3, strict=True)


def test_targets_may_be_multivariate_and_unnormalised() -> None:
    class Bump:
        def log_prob(self, value: torch.Tensor) -> torch.Tensor:
            return -2 * (value - 0.3).square().sum(-1) + 5.0  # N(0.3, 1/4 I), times a constant

    draws = draw(20_000, Bump(), Independent(Normal(torch.zeros(2), torch.ones(2)), 1))
    error = 0.5 / math.sqrt(20_000)
    assert (draws.samples.mean(0) - 0.3).abs().max() < SIGMAS * error


def test_the_seed_determines_the_draws_and_the_global_state_is_kept() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    one, again, other = (draw(100, TARGET, PROPOSAL, seed=seed).samples for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_unbounded_ratios_low_acceptance_and_bad_numbers_raise() -> None:
    with pytest.raises(ValueError, match="seems unbounded"):
        draw(10, Normal(0.0, 2.0), Normal(0.0, 1.0))
    with pytest.raises(LowAcceptanceError, match=r"accepted 0 of \d+ proposed"):
        draw(10, Normal(0.0, 1.0), Uniform(-5.0, 5.0), log_m=40.0, max_seconds=0.5)
    with pytest.raises(ValueError, match="at least 1"):
        draw(0, TARGET, PROPOSAL)
