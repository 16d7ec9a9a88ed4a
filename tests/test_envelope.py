import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rsft import acceptance_probability, choose_envelope

RATIOS = st.lists(st.floats(0.001, 1000), min_size=2, max_size=60).map(
    lambda values: torch.tensor(values, dtype=torch.float64).log()
)


def plain_clipped_mass(log_r: torch.Tensor, log_m: float) -> float:
    """Compute the clipped mass by its definition."""
    p = torch.softmax(log_r, 0)
    clipped = torch.softmax(log_r.clamp(max=log_m), 0)
    return float((p - clipped).abs().sum() / 2)


@given(RATIOS, st.floats(-8, 8))
def test_the_cost_matches_its_definition(log_r: torch.Tensor, log_m: float) -> None:
    envelope = choose_envelope(log_r, log_m=log_m)
    p = acceptance_probability(log_r, log_m)
    assert envelope.acceptance_rate == pytest.approx(float(p.mean()))
    assert envelope.effective_size == pytest.approx(float(p.sum() ** 2 / (p**2).sum()))
    assert envelope.clipped_mass == pytest.approx(plain_clipped_mass(log_r, log_m), abs=1e-12)


@given(RATIOS)
def test_max_clips_nothing_and_is_the_default(log_r: torch.Tensor) -> None:
    envelope = choose_envelope(log_r, "max")
    assert envelope.log_m == pytest.approx(float(log_r.max()))
    assert envelope.clipped_mass == pytest.approx(0, abs=1e-12)
    assert choose_envelope(log_r) == envelope


@given(RATIOS, st.floats(0.01, 1))
def test_rate_is_met_exactly(log_r: torch.Tensor, rate: float) -> None:
    envelope = choose_envelope(log_r, rate=rate)
    assert envelope.acceptance_rate == pytest.approx(rate, rel=1e-6)
    assert float(acceptance_probability(log_r, envelope.log_m).mean()) == pytest.approx(rate, rel=1e-6)


@given(RATIOS, st.floats(0, 0.5))
def test_max_tv_is_the_smallest_envelope_within_the_bound(log_r: torch.Tensor, max_tv: float) -> None:
    envelope = choose_envelope(log_r, max_tv=max_tv)
    assert plain_clipped_mass(log_r, envelope.log_m) <= max_tv + 1e-9
    if envelope.log_m > float(log_r.min()) + 1e-6:
        assert plain_clipped_mass(log_r, envelope.log_m - 1e-6) >= max_tv - 1e-6


@given(RATIOS, st.sampled_from(["max", "max_tv=0.1", "rate=0.3", "quantile=0.9"]), st.floats(-5, 5))
def test_a_constant_moves_log_m_and_nothing_else(log_r: torch.Tensor, rule: str, c: float) -> None:
    here, there = choose_envelope(log_r, rule), choose_envelope(log_r + c, rule)
    assert there.log_m == pytest.approx(here.log_m + c, abs=1e-6)
    assert there.acceptance_rate == pytest.approx(here.acceptance_rate, rel=1e-5)
    assert there.effective_size == pytest.approx(here.effective_size, rel=1e-5)


def test_quantile_takes_the_quantile_of_the_ratio() -> None:
    log_r = torch.arange(1.0, 102.0).log()
    assert math.exp(choose_envelope(log_r, quantile=0.9).log_m) == pytest.approx(91)


def test_items_without_target_mass_are_never_accepted() -> None:
    log_r = torch.tensor([-math.inf, 0.0, 1.0])
    assert choose_envelope(log_r, rate=0.5).acceptance_rate == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"rate in \(0, 0.666667\]"):
        choose_envelope(log_r, rate=0.7)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rule": "best"}, "knows no rule 'best'"),
        ({"rule": "rate=high"}, "knows no rule 'rate=high'"),
        ({"rule": "max=3"}, "knows no rule"),
        ({"rule": "rate"}, "knows no rule"),
        ({"rule": "max", "rate": 0.1}, "exactly one rule, got rate, max"),
        ({"rate": 0.0}, "rate"),
        ({"max_tv": 1.0}, "max_tv"),
        ({"max_tv": -0.1}, "max_tv"),
        ({"quantile": 1.5}, "quantile"),
        ({"log_m": math.nan}, "log_m"),
    ],
)
def test_bad_rules_are_refused(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        choose_envelope(torch.zeros(4), **options)


def test_a_pool_without_target_mass_is_refused() -> None:
    with pytest.raises(ValueError, match="no target mass"):
        choose_envelope(torch.full((3,), -math.inf))


def test_the_input_is_not_modified() -> None:
    log_r = torch.tensor(np.array([3.0, 1.0, 2.0]))
    choose_envelope(log_r, rate=0.5)
    assert log_r.tolist() == [3.0, 1.0, 2.0]
