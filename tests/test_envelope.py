import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rsft import acceptance_probability, choose_envelope
from rsft.envelope import check_rule, price_list

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


@pytest.mark.parametrize("rule", ["max", "max_tv=0", "rate=1", "quantile=1", "log_m=-3", " rate = 0.5"])
def test_a_valid_rule_passes_the_check_before_a_pool_is_read(rule: str) -> None:
    check_rule(rule)


@pytest.mark.parametrize("rule", ["best", "rate", "rate=0", "rate=1.1", "max_tv=1", "quantile=0", "log_m=inf"])
def test_an_invalid_rule_fails_the_check_before_a_pool_is_read(rule: str) -> None:
    with pytest.raises(ValueError, match=rule.partition("=")[0]):
        check_rule(rule)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("rule", ["max", "max_tv=0.1", "rate=0.3", "quantile=0.9", "log_m=0.5"])
def test_short_floats_are_priced_in_double_precision(dtype: torch.dtype, rule: str) -> None:
    log_r = torch.linspace(-3, 3, 50).to(dtype)
    assert choose_envelope(log_r, rule) == choose_envelope(log_r.double(), rule)


@pytest.mark.parametrize("without", [0, 1, 2])
def test_one_item_with_target_mass_is_enough(without: int) -> None:
    """Of the pool only that item is accepted, always."""
    log_r = torch.tensor([-math.inf] * without + [2.0])
    for rule in ("max", "max_tv=0", "max_tv=0.5", "quantile=1", f"rate={1 / (without + 1)}"):
        envelope = choose_envelope(log_r, rule)
        assert envelope.log_m == pytest.approx(2)
        assert envelope.acceptance_rate == pytest.approx(1 / (without + 1))
        assert (envelope.clipped_mass, envelope.effective_size) == (0, 1)


def test_a_ratio_that_is_not_finite_is_refused_by_the_name_of_the_argument() -> None:
    with pytest.raises(ValueError, match=r"choose_envelope\(log_ratio=\.\.\.\)` has 1 values"):
        choose_envelope(torch.tensor([0.0, math.nan]))


def test_an_empty_pool_is_refused() -> None:
    with pytest.raises(ValueError, match="no target mass"):
        choose_envelope(torch.empty(0))


def test_a_quantile_among_items_without_target_mass_is_refused() -> None:
    log_r = torch.tensor([-math.inf, -math.inf, -math.inf, 0.0])
    with pytest.raises(ValueError, match=r"quantile=0\.5\)` gives M = 0.* raise quantile"):
        choose_envelope(log_r, quantile=0.5)


@pytest.mark.parametrize("value", [0.0, -0.5])
def test_a_quantile_must_be_above_zero(value: float) -> None:
    with pytest.raises(ValueError, match=r"quantile=\.\.\.\)` needs a value between 0"):
        choose_envelope(torch.zeros(4), quantile=value)


def test_an_unknown_rule_is_named_beside_a_known_one() -> None:
    with pytest.raises(ValueError, match="knows no rule 'best=1'"):
        choose_envelope(torch.zeros(4), "best=1", rate=0.5)


def test_a_price_list_has_every_rule_from_the_largest_envelope_to_the_smallest() -> None:
    log_r = torch.randn(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rules = ["rate=0.9", "max", "quantile=0.5", "max_tv=0.1"]
    listed = price_list(log_r, rules)
    assert sorted(envelope.rule for envelope in listed) == sorted(rules)
    assert [envelope.log_m for envelope in listed] == sorted((envelope.log_m for envelope in listed), reverse=True)
    assert all(envelope == choose_envelope(log_r, envelope.rule) for envelope in listed)


@pytest.mark.parametrize("value", [-0.5, 0.0, 0.76])
def test_a_rate_must_be_above_zero_and_at_most_the_share_with_target_mass(value: float) -> None:
    with pytest.raises(ValueError, match=r"needs a rate in \(0, 0\.75\]"):
        choose_envelope(torch.tensor([-math.inf, 0.0, 1.0, 2.0]), rate=value)


def test_the_largest_possible_rate_always_accepts_what_has_target_mass() -> None:
    envelope = choose_envelope(torch.tensor([0.0, 1.0, 2.0, 4.0]).log(), rate=0.75)
    assert envelope.log_m == pytest.approx(0)  # the smallest ratio above 0
    assert envelope.acceptance_rate == 0.75


@pytest.mark.parametrize(("rate", "m"), [(0.25, 10), (0.5, 5), (0.75, 3), (0.875, 2), (1.0, 1)])
def test_the_envelope_of_a_rate_solves_its_equation_with_whole_numbers_of_items(rate: float, m: float) -> None:
    """Ratios 1, 2, 3, 4: sum min(1, r / M) = 4 rate, so 10 / M = 2 at M = 5, and 1 + 6 / M = 3 at M = 3."""
    log_r = torch.tensor([3.0, 1.0, 4.0, 2.0], dtype=torch.float64).log()
    assert math.exp(choose_envelope(log_r, rate=rate).log_m) == pytest.approx(m, rel=1e-9)


def test_the_clipped_mass_is_never_below_zero_by_rounding() -> None:
    """The envelope is one rounding step below the largest ratio, so that the difference of two shares is about 0."""
    for low, high in [(low, high) for low in range(1, 15) for high in range(1, 15)]:
        log_r = torch.tensor([-1.0] * low + [0.0] * high, dtype=torch.float64)
        assert 0 <= choose_envelope(log_r, log_m=-1.2e-16).clipped_mass < 1e-15
