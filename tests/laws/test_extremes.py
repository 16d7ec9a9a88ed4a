"""The law in pools of one item, of equal items and of a hundred million, and where one in a million is accepted."""

import math

import numpy as np
import pytest
import torch

from rsft import LazyRejectionSampler, RejectionSampler, plan_from_ratio
from rsft.errors import LowAcceptanceError
from rsft.sampling.acceptance import accept, acceptance_probability
from rsft.verdict import Outcome


@pytest.mark.parametrize("envelope", ["max", "rate=0.1"])
def test_a_pool_of_identical_items_matches_any_target(envelope: str) -> None:
    assert plan_from_ratio(torch.zeros(1000), envelope=envelope).verdict.outcome == Outcome.POOL_MATCHES


def test_the_law_holds_in_a_pool_of_a_hundred_million_items_and_for_rare_ones() -> None:
    """Only what is reached is computed, so no array is as long as the pool."""
    rare = LazyRejectionSampler(lambda items: torch.full((len(items),), -math.log(1e3)), 0.0, 10**8, block=4096)
    reached, accepted = 40_000, list[int]()
    for item in rare:
        if len(rare.scored[0]) >= reached:
            break
        accepted.append(item)
    expected = len(rare.scored[0]) / 1e3
    assert abs(len(accepted) - expected) < 5 * math.sqrt(expected)
    items = 40_000_000
    few = RejectionSampler(lambda start, stop: np.full(stop - start, 1e-6), items=items)
    assert abs(len(few.accepted()) - 40) < 5 * math.sqrt(40)
    barren = LazyRejectionSampler(lambda items: torch.full((len(items),), -60.0), 0.0, 10**8, max_barren=1000)
    with pytest.raises(LowAcceptanceError, match="none of the last 1024 items was accepted"):
        next(iter(barren))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_ratios_in_half_precision_are_accepted_at_their_closed_form(dtype: torch.dtype) -> None:
    """The ratio as stored is the law: P = r / M for each, whatever the precision, also for r of e^80."""
    log_ratio = (torch.randn(200_000, generator=torch.Generator().manual_seed(0)) * 0.8 + 80).to(dtype)
    log_m = float(log_ratio.max())
    exact = (log_ratio.double() - log_m).exp()
    kept = accept(acceptance_probability(log_ratio, log_m), seed=1)
    for stored in log_ratio.unique():
        mine = (log_ratio == stored).numpy()
        p = float((stored.double() - log_m).exp())
        assert abs(kept[mine].sum() - p * mine.sum()) <= 5 * math.sqrt(p * (1 - p) * mine.sum()) + 4
    assert abs(kept.mean() - float(exact.mean())) < 5 * math.sqrt(float((exact * (1 - exact)).mean()) / 200_000)


def test_a_pool_of_one_item_is_drawn_with_its_probability() -> None:
    one = RejectionSampler([0.3], balanced=False)
    drawn = sum(len(one.accepted(epoch)) for epoch in range(2000))
    assert abs(drawn - 600) < 5 * math.sqrt(2000 * 0.3 * 0.7)
