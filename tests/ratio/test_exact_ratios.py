"""Tests of exact ratios: attributes, tilts, products and mixtures."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rsft import (
    attribute_ratio,
    band_tilt,
    exponential_tilt,
    mixture_ratio,
    percentile_tilt,
    product_ratio,
    raked_ratio,
)

SCORES = st.lists(st.floats(-50, 50), min_size=2, max_size=60).map(lambda x: torch.tensor(x, dtype=torch.float64))


@given(SCORES, st.floats(-2, 2), st.floats(0, 5), st.floats(0, 0.45), st.floats(0, 1))
def test_every_tilt_has_mean_ratio_one(
    score: torch.Tensor, strength: float, power: float, low: float, outside: float
) -> None:
    for log_ratio in (
        exponential_tilt(score, strength),
        percentile_tilt(score, power),
        band_tilt(score, low, 1.0, outside),
    ):
        assert float(log_ratio.exp().mean()) == pytest.approx(1)


@given(SCORES, st.floats(0, 5))
def test_percentile_tilt_is_bounded_by_its_power(score: torch.Tensor, power: float) -> None:
    distinct = score.unique()
    assert float(percentile_tilt(distinct, power).max().exp()) <= power + 1 + 1e-9


def test_exponential_tilt_shifts_a_normal() -> None:
    """Tilting N(0, 1) by exp(s x) gives N(s, 1)."""
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = 0.7 * x - 0.7**2 / 2
    ratio = exponential_tilt(x, 0.7)
    error = math.sqrt((math.exp(0.7**2) - 1) / len(x))  # standard error of the mean of exp(exact)
    torch.testing.assert_close(ratio, exact, atol=5 * error, rtol=0)


def test_bad_tilts_are_refused() -> None:
    x = torch.tensor([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="negate the score"):
        percentile_tilt(x, -1.0)
    with pytest.raises(ValueError, match="finite"):
        exponential_tilt(torch.tensor([math.nan]), 1.0)
    with pytest.raises(ValueError, match="low < high"):
        band_tilt(x, 0.5, 0.5)
    with pytest.raises(ValueError, match="widen"):
        band_tilt(x, 0.4, 0.45)


def test_joint_shares_are_met_exactly() -> None:
    labels = list(itertools.product(["day", "night"], [0, 1])) * 5
    shares = {("day", 0): 0.1, ("day", 1): 0.2, ("night", 0): 0.3, ("night", 1): 0.4}
    ratio = attribute_ratio(labels, shares).exp().numpy()
    for value, share in shares.items():
        assert sum(r for r, label in zip(ratio, labels, strict=True) if label == value) / 20 == pytest.approx(share)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=40), st.floats(0.1, 0.9))
def test_raking_meets_margins_and_keeps_odds_ratios(pairs: list[tuple[int, int]], share: float) -> None:
    pairs = [*itertools.product(range(3), range(2)), *pairs]  # all combinations occur
    a, b = (list(column) for column in zip(*pairs, strict=True))
    goals = {"a": {0: 0.2, 1: 0.3, 2: 0.5}, "b": {0: share, 1: 1 - share}}
    ratio = raked_ratio({"a": a, "b": b}, goals).exp().numpy()
    for name, labels in (("a", a), ("b", b)):
        for value, goal in goals[name].items():
            assert ratio[np.array(labels) == value].sum() / len(pairs) == pytest.approx(goal, abs=1e-7)
    # The odds ratios of the pool are kept, because the ratio is a product of one factor per attribute.
    level = {pair: ratio[pairs.index(pair)] for pair in itertools.product(range(3), range(2))}
    assert level[0, 0] * level[1, 1] == pytest.approx(level[0, 1] * level[1, 0], rel=1e-6)


def test_raking_refuses_margins_that_cannot_be_met() -> None:
    pool = {"a": [0, 1], "b": [0, 1]}  # a and b always agree
    with pytest.raises(ValueError, match="cannot meet the shares"):
        raked_ratio(pool, {"a": {0: 0.2, 1: 0.8}, "b": {0: 0.8, 1: 0.2}}, most=50)
    with pytest.raises(ValueError, match="attributes of the pool"):
        raked_ratio(pool, {"c": {0: 1.0}})
    with pytest.raises(ValueError, match="which no pool item has"):
        raked_ratio(pool, {"a": {2: 1.0}})


def test_products_and_mixtures_match_their_formulas() -> None:
    a, b = torch.tensor([0.5, 1.5, 1.0]), torch.tensor([2.0, 0.0, 1.0])
    torch.testing.assert_close(mixture_ratio([a.log(), b.log()], [0.25, 0.75]).exp(), (0.25 * a + 0.75 * b).double())
    product = product_ratio(a.log(), b.log()).exp()
    torch.testing.assert_close(product, (a * b / (a * b).mean()).double())
    with pytest.raises(ValueError, match="one length"):
        product_ratio(a.log(), b[:2].log())
    with pytest.raises(ValueError, match="leaves no item"):
        product_ratio(torch.tensor([0.0, 1.0]).log(), torch.tensor([1.0, 0.0]).log())
    with pytest.raises(ValueError, match="sum to 1"):
        mixture_ratio([a.log(), b.log()], [0.5, 0.6])


def test_the_ends_of_every_range_are_valid_and_leave_the_pool_unchanged() -> None:
    x = torch.tensor([3.0, 1.0, 2.0, 2.0])
    unchanged = torch.zeros(4, dtype=torch.float64)
    for ratio in (
        exponential_tilt(x, 0.0),
        percentile_tilt(x, 0.0),
        band_tilt(x, 0.0, 1.0),
        band_tilt(x, 0.0, 0.5, outside=1.0),
    ):
        assert ratio.dtype == torch.float64
        torch.testing.assert_close(ratio, unchanged, rtol=0, atol=1e-12)


def test_a_band_holds_the_middles_of_its_ranks_ends_included() -> None:
    """Five items have the mid-ranks .1, .3, .5, .7 and .9; those outside count a quarter of those inside."""
    x = torch.tensor([5.0, 1.0, 3.0, 2.0, 4.0])
    weights = torch.tensor([0.25, 0.25, 1.0, 0.25, 1.0], dtype=torch.float64)
    torch.testing.assert_close(band_tilt(x, 0.5, 0.75, outside=0.25).exp(), weights / weights.mean())
    torch.testing.assert_close(band_tilt(x, 0.45, 0.7, outside=0.25).exp()[2], (weights / weights.mean())[2])
    halves = band_tilt(torch.tensor([1.0, 2.0]), 0.25, 0.5)  # mid-ranks .25 and .75
    assert halves.exp().tolist() == [2.0, 0.0]
    assert band_tilt(torch.tensor([1.0, 2.0]), 0.5, 0.75).exp().tolist() == [0.0, 2.0]


def test_equal_scores_have_their_mean_rank() -> None:
    """Ranks 1, 2 and 3 of the equal ones have the mean 2, so the mid-ranks are 1.5 / 4 and 3.5 / 4."""
    ratio = percentile_tilt(torch.tensor([7.0, 7.0, 9.0, 7.0]), 1.0).exp()
    assert ratio.tolist() == pytest.approx([0.75, 0.75, 1.75, 0.75])
    assert percentile_tilt(torch.tensor([7.0, 9.0]), 2.0).exp().tolist() == pytest.approx([0.2, 1.8])  # 1 to 9


@pytest.mark.parametrize(
    ("low", "high", "outside"), [(-0.1, 0.5, 0.0), (0.5, 0.4, 0.0), (0.5, 1.1, 0.0), (0.0, 0.5, -0.1), (0.0, 0.5, 1.1)]
)
def test_a_band_outside_of_its_range_is_refused(low: float, high: float, outside: float) -> None:
    with pytest.raises(ValueError, match="needs 0 <= low < high <= 1"):
        band_tilt(torch.tensor([1.0, 2.0, 3.0]), low, high, outside)


@pytest.mark.parametrize(
    "score", [torch.zeros(2, 2), torch.tensor(1.0), torch.tensor([0.0, math.inf]), torch.tensor([0.0, -math.inf])]
)
def test_a_score_that_is_not_one_finite_number_per_item_is_refused_by_every_tilt(score: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"exponential_tilt\(score=\.\.\.\)` needs (\(N,\) real|finite) numbers, got"):
        exponential_tilt(score, 1.0)
    with pytest.raises(ValueError, match=r"percentile_tilt\(score=\.\.\.\)` needs (\(N,\) real|finite) numbers, got"):
        percentile_tilt(score, 1.0)
    with pytest.raises(ValueError, match=r"band_tilt\(score=\.\.\.\)` needs (\(N,\) real|finite) numbers, got"):
        band_tilt(score, 0.0, 1.0)


def test_an_infinite_power_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a value >= 0, got inf"):
        percentile_tilt(torch.tensor([1.0, 2.0]), math.inf)


def test_labels_may_be_a_tensor_and_shares_may_be_rounded() -> None:
    """The rounding of shares is taken out, so that the mean ratio is 1; a value that is not named has share 0."""
    labels = torch.tensor([0, 1, 1, 2])
    shares = {0: 0.5, 1: 0.5 + 5e-7}
    found = attribute_ratio(labels, shares)
    assert found.dtype == torch.float64
    assert found.exp().mean().item() == pytest.approx(1, abs=1e-12)
    assert found.exp().tolist() == pytest.approx([2, 1, 1, 0], rel=1e-6)
    raked = raked_ratio({"a": labels}, {"a": shares})
    torch.testing.assert_close(raked, found)
    with pytest.raises(ValueError, match="sum to 1"):
        attribute_ratio(labels, {0: 0.5, 1: 0.5 + 5e-6})


@pytest.mark.parametrize("shares", [{}, {0: -0.5, 1: 1.5}, {0: 0.5, 1: 0.6}])
def test_bad_shares_are_refused_of_one_attribute_and_of_several(shares: dict[int, float]) -> None:
    with pytest.raises(ValueError, match="shares >= 0 that sum to 1"):
        attribute_ratio([0, 1], shares)
    with pytest.raises(ValueError, match="shares >= 0 that sum to 1"):
        raked_ratio({"a": [0, 1]}, {"a": shares})


def test_a_share_of_zero_may_be_of_a_value_that_no_item_has() -> None:
    assert attribute_ratio(["day"], {"day": 1.0, "fog": 0.0}).tolist() == [0.0]


def test_raking_without_shares_is_refused() -> None:
    with pytest.raises(ValueError, match="needs attributes of the pool"):
        raked_ratio({"a": [0, 1]}, {})


def test_raking_leaves_out_values_of_share_zero_and_attributes_that_are_not_named() -> None:
    pool = {"a": [0, 0, 1, 1], "b": [0, 1, 0, 1], "c": [0, 1, 2, 3]}
    found = raked_ratio(pool, {"a": {0: 0.25, 1: 0.75}, "b": {1: 1.0}}).exp()
    assert found.tolist() == pytest.approx([0, 1, 0, 3])


def test_raking_keeps_to_its_tolerance_and_to_its_number_of_rounds() -> None:
    """One attribute is met after one round, and the second round sees it; two that are not independent need more."""
    assert raked_ratio({"a": [0, 1, 1]}, {"a": {0: 0.5, 1: 0.5}}, most=2).exp().tolist() == pytest.approx(
        [1.5, 0.75, 0.75]
    )
    with pytest.raises(ValueError, match=r"after 1 rounds one is off by 0\.167"):
        raked_ratio({"a": [0, 1, 1]}, {"a": {0: 0.5, 1: 0.5}}, most=1)
    pool, goal = {"a": [0, 0, 1, 1, 1], "b": [0, 1, 0, 1, 1]}, {"a": {0: 0.2, 1: 0.8}, "b": {0: 0.7, 1: 0.3}}
    for tolerance in (0.1, 1e-3, 1e-9):
        ratio = raked_ratio(pool, goal, tolerance=tolerance).exp() / 5
        assert abs(float(ratio[[0, 1]].sum()) - 0.2) < tolerance
        assert abs(float(ratio[[0, 2]].sum()) - 0.7) < tolerance


@pytest.mark.parametrize("weights", [[0.5, 0.6], [1.5, -0.5], [1.0], [0.5, 0.25, 0.25]])
def test_a_mixture_needs_one_share_for_each_ratio(weights: list[float]) -> None:
    a, b = torch.zeros(3), torch.zeros(3)
    with pytest.raises(ValueError, match="needs 2 shares >= 0 that sum to 1"):
        mixture_ratio([a, b], weights)


def test_a_mixture_may_leave_one_ratio_out_and_keeps_items_that_one_ratio_has() -> None:
    a, b = torch.tensor([2.0, 0.0, 0.0]).log(), torch.tensor([0.0, 3.0, 0.0]).log()
    assert mixture_ratio([a, b], [1.0, 0.0]).exp().tolist() == pytest.approx([2, 0, 0])
    assert mixture_ratio([a, b], [0.5, 0.5]).exp().tolist() == pytest.approx([1, 1.5, 0])
    assert mixture_ratio([a], [1.0]).dtype == torch.float64


def test_ratios_of_several_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="product_ratio` needs"):
        product_ratio(torch.zeros(3, 1), torch.zeros(3, 1))
    with pytest.raises(ValueError, match="mixture_ratio` needs"):
        mixture_ratio([torch.zeros(3, 1)], [1.0])
    with pytest.raises(ValueError, match="product_ratio` needs"):
        product_ratio()


def test_one_item_with_all_factors_is_enough_for_a_product() -> None:
    a, b = torch.tensor([2.0, 0.0, 1.0]).log(), torch.tensor([0.5, 1.0, 0.0]).log()
    assert product_ratio(a, b).exp().tolist() == pytest.approx([3, 0, 0])
    assert product_ratio(a).exp().tolist() == pytest.approx([2, 0, 1])


def test_a_mixture_is_computed_in_double_precision_and_takes_rounded_shares() -> None:
    a, b = torch.tensor([2.0, 0.5], dtype=torch.float64), torch.tensor([0.5, 1.5], dtype=torch.float64)
    expected = (0.1 * a + 0.9 * b).tolist()
    assert mixture_ratio([a.log(), b.log()], [0.1, 0.9]).exp().tolist() == pytest.approx(expected, rel=1e-12)
    assert mixture_ratio([a.log(), b.log()], [0.1, 0.9 + 5e-7]).exp().tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("missing", [None, "", " ", "nan", "NA", math.nan, np.float32("nan"), -1, -1.0, ("night", "")])
def test_a_missing_value_is_refused_unless_the_shares_name_it(missing: object) -> None:
    """It would otherwise have ratio 0, as an item of a kind that the target lacks."""
    labels = ["day"] * 6 + ["night"] * 2 + [missing] * 2
    with pytest.raises(ValueError, match=r"2 of 10 have none, the first is item 8 with"):
        attribute_ratio(labels, {"day": 0.5, "night": 0.5})
    with pytest.raises(ValueError, match=r"of the attribute 'light', .*2 of 10 have none"):
        raked_ratio({"light": labels}, {"light": {"day": 0.5, "night": 0.5}})
    if missing == missing:
        assert attribute_ratio(labels, {"day": 0.5, "night": 0.3, missing: 0.2})[-1] == pytest.approx(0)


def test_a_value_that_the_shares_do_not_name_is_of_share_zero() -> None:
    assert attribute_ratio(["day", "fog", 0, False], {"day": 1.0}).tolist()[1:] == [-math.inf] * 3
    with pytest.raises(ValueError, match="1 of 3 have none, the first is item 2 with -1"):
        attribute_ratio(torch.tensor([0, 1, -1]), {0: 0.5, 1: 0.5})
