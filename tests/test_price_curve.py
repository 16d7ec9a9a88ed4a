"""The curve of prices and the histogram of a plan agree with its envelope and its acceptance."""

import math

import pytest
import torch

from rsft.envelope import choose_envelope, price_curve
from rsft.histogram import ratio_histogram
from rsft.plan import plan_from_ratio
from rsft.sampling.acceptance import acceptance_probability


def log_ratio() -> torch.Tensor:
    ratios = torch.randn(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.cat([ratios, torch.full((50,), -math.inf, dtype=torch.float64)])


def test_every_point_of_the_curve_is_the_envelope_of_its_m() -> None:
    curve = price_curve(log_ratio(), points=9)
    for log_m, rate, clipped in zip(curve["log_m"], curve["acceptance_rate"], curve["clipped_mass"], strict=True):
        envelope = choose_envelope(log_ratio(), log_m=log_m)
        assert (rate, clipped) == pytest.approx((envelope.acceptance_rate, envelope.clipped_mass))
    assert curve["acceptance_rate"] == sorted(curve["acceptance_rate"], reverse=True)
    assert curve["clipped_mass"] == sorted(curve["clipped_mass"], reverse=True)
    assert curve["log_m"][-1] == pytest.approx(float(log_ratio().max()))


def test_the_histogram_counts_every_item_and_all_that_is_accepted() -> None:
    acceptance = acceptance_probability(log_ratio(), 1.0)
    found = ratio_histogram(log_ratio(), acceptance)
    assert sum(found["pool"]) == 2000
    assert found["without_mass"] == 50
    assert sum(found["accepted"]) == pytest.approx(float(acceptance.sum()))


@pytest.mark.parametrize("values", [[0.0, 0.0, 0.0], [-math.inf, 1.0], [-800.0, 800.0]])
def test_a_plan_of_odd_ratios_has_both(values: list[float]) -> None:
    told = plan_from_ratio(torch.tensor(values, dtype=torch.float64)).to_dict()
    assert sum(told["ratios"]["pool"]) + told["ratios"]["without_mass"] == len(values)
    assert all(math.isfinite(value) for value in told["price_curve"]["log_m"])
