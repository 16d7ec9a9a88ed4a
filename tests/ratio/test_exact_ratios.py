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
