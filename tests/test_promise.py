"""A promise is kept by an honest pool and broken by one that differs, in as many pools as the errors say."""

import json
import math

import numpy as np
import pytest
import torch
from law import LOG_M, PROPOSAL, log_ratio
from torch import Tensor

from rsft import Plan, plan
from rsft.promise import MIN_MET, MORE_CLIPPED, check_promise
from rsft.ratio.combine import retain_pool
from rsft.types import Interval
from rsft.verdict import MEAN_RATIO_ERRORS, MEAN_RATIO_TOLERANCE, Outcome, Verdict

POOLS = 200


def met(seed: int, count: int = 2000, shift: float = 0.0) -> Tensor:
    """Exact log ratios of items met in a pool N(shift, 1) that was planned as N(0, 1)."""
    return log_ratio(torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift)


def scaled(factor: float, count: int = 2000) -> Tensor:
    """Log ratios whose mean ratio is the factor, to the last bits, with little spread."""
    return (factor * (1 + 0.1 * torch.linspace(-1, 1, count, dtype=torch.float64))).log()


def test_an_honest_pool_keeps_its_promise() -> None:
    for seed in range(POOLS):
        promise = check_promise(met(seed), LOG_M + 1e-6, mean_error=0.0, clipped_mass=0.0)
        assert promise.broken is None
        assert promise.above == 0
        assert promise.clipped_mass == 0


def test_the_figures_are_those_of_the_items_met() -> None:
    """The exact rate of this pair is 1 / M, and the mean ratio is 1; their intervals hold in 95 of 100 pools."""
    promises = [check_promise(met(seed), LOG_M, mean_error=0.0, clipped_mass=0.0) for seed in range(POOLS)]
    rates = [promise.acceptance_rate for promise in promises]
    ratios = [promise.mean_ratio for promise in promises]
    for intervals, exact in ((rates, math.exp(-LOG_M)), (ratios, 1.0)):
        held = sum((each.low or 0) <= exact <= (each.high or 0) for each in intervals)
        assert 175 <= held <= 200  # at least the millionth quantile of 200 at 0.95
        assert sum((each.low or 0) <= 1.1 * exact <= (each.high or 0) for each in intervals) < 100
    log_r = met(0)
    clipping = check_promise(log_r, 0.3, mean_error=0.0, clipped_mass=1.0)
    assert clipping.above == int((log_r > 0.3).sum()) > 0
    ratio, clipped = log_r.exp(), log_r.clamp(max=0.3).exp()
    lost = float((ratio / ratio.sum() - clipped / clipped.sum()).abs().sum() / 2)
    assert clipping.clipped_mass == pytest.approx(lost)
    assert clipping.items == 2000


@pytest.mark.parametrize("shift", [0.4, -0.4])
def test_a_rest_of_another_mean_ratio_breaks_it(shift: float) -> None:
    density = PROPOSAL.log_prob(torch.linspace(-9, 9, 20_001, dtype=torch.float64))
    grid = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    exact = float(torch.trapezoid(log_ratio(grid + shift).exp() * density.exp(), grid))
    assert abs(exact - 1) > 1.5 * MEAN_RATIO_TOLERANCE
    for seed in range(20):
        promise = check_promise(met(seed, shift=shift), LOG_M, mean_error=0.0, clipped_mass=0.0)
        value = promise.mean_ratio.value
        assert promise.broken == (
            f"the mean ratio of the 2000 items met is {value:.3f} and should be 1: the part of the pool that the plan "
            "was made from is unlike the rest"
        )
        assert value == pytest.approx(exact, abs=0.08)


def test_the_mean_may_be_off_by_the_tolerance_or_by_errors_of_pilot_and_run_together() -> None:
    def broken(factor: float, mean_error: float) -> bool:
        found = check_promise(scaled(factor), 5.0, mean_error=mean_error, clipped_mass=0.0).broken
        return found is not None

    tolerance = MEAN_RATIO_TOLERANCE
    assert not broken(1 + tolerance - 0.001, 0.0)
    assert not broken(1 - tolerance + 0.001, 0.0)
    assert broken(1 + tolerance + 0.001, 0.0)
    assert broken(1 - tolerance - 0.001, 0.0)
    spread = float(scaled(1.2).exp().std()) / math.sqrt(2000)
    just = math.sqrt((0.2 / MEAN_RATIO_ERRORS) ** 2 - spread**2)
    assert not broken(1.2, just * 1.001)
    assert broken(1.2, just * 0.999)


def heavy(high: float, share: float, count: int = 1000) -> Tensor:
    """Log ratios with mean ratio 1, a share of which is a high value."""
    ratio = torch.full((count,), (1 - share * high) / (1 - share), dtype=torch.float64)
    ratio[: round(share * count)] = high
    return ratio.log()


def test_a_rest_that_is_clipped_more_breaks_it() -> None:
    """A tenth of the items has ratio 5 where M is 2, so 5 / 10 of the target become 2 / (2 + 9 * 5 / 9)."""
    log_r = heavy(5.0, 0.1)
    lost = 0.5 - 0.2 / (0.2 + 0.5)
    promise = check_promise(log_r, math.log(2), mean_error=0.0, clipped_mass=0.0)
    assert promise.mean_ratio.value == pytest.approx(1)
    assert promise.clipped_mass == pytest.approx(lost)
    assert promise.above == 100
    assert promise.broken == (
        f"{lost:.1%} of the target is clipped over the 1000 items met, and the plan promised at most 0.0%: some items "
        "are more like the target than the plan could see; plan on a larger part"
    )
    for allowed, kept in ((lost - MORE_CLIPPED - 1e-6, False), (lost - MORE_CLIPPED + 1e-6, True), (lost, True)):
        judged = check_promise(log_r, math.log(2), mean_error=0.0, clipped_mass=allowed)
        assert (judged.broken is None) == kept


@pytest.mark.parametrize("log_ratios", [scaled(3.0, MIN_MET), heavy(5.0, 0.1, MIN_MET)])
def test_fewer_than_two_hundred_items_are_not_judged(log_ratios: Tensor) -> None:
    assert MIN_MET == 200
    assert check_promise(log_ratios, math.log(2), mean_error=0.0, clipped_mass=0.0).broken is not None
    assert check_promise(log_ratios[:-1], math.log(2), mean_error=0.0, clipped_mass=0.0).broken is None


def test_one_item_has_no_error_and_a_pool_without_target_mass_has_nothing_to_clip() -> None:
    alone = check_promise(scaled(1.0, 1), 0.0, mean_error=0.0, clipped_mass=0.0)
    assert alone.items == 1
    assert alone.mean_ratio == alone.acceptance_rate == Interval(None, None, None, "a single item")
    json.dumps(alone.to_dict(), allow_nan=False)  # JSON has no infinity
    nothing = check_promise(torch.full((300,), -math.inf, dtype=torch.float64), 0.0, mean_error=0.0, clipped_mass=0.0)
    assert (nothing.mean_ratio.value, nothing.clipped_mass, nothing.above) == (0.0, 0.0, 0)
    assert nothing.broken is not None
    assert "is 0.000 and should be 1" in nothing.broken


@pytest.mark.parametrize("retain", [0.2, 0.5, 0.9])
def test_what_is_retained_of_the_pool_hides_no_difference_and_makes_none(retain: float) -> None:
    """The retained share adds the same to all ratios, so a mean that is off by d is off by (1 - retain) d."""
    for factor, kept in ((1.11, False), (1.09, True), (0.89, False), (0.91, True)):
        mixed = retain_pool(scaled(factor), retain)
        found = check_promise(mixed, 5.0, mean_error=0.0, clipped_mass=0.0, retain_fraction=retain)
        assert (found.broken is None) == kept
        assert found.mean_ratio.value == pytest.approx(1 + (1 - retain) * (factor - 1))
        # as if nothing were retained, the difference would pass for small
        assert check_promise(mixed, 5.0, mean_error=0.0, clipped_mass=0.0).broken is None
    errors = 0.15 / MEAN_RATIO_ERRORS  # of the pilot's mean, without what is retained
    found = check_promise(
        retain_pool(scaled(1.14), retain), 5.0, mean_error=errors, clipped_mass=0.0, retain_fraction=retain
    )
    assert found.broken is None
    whole = check_promise(torch.zeros(500), 0.0, mean_error=0.1, clipped_mass=0.0, retain_fraction=1.0)
    assert whole.broken is None


def test_a_verdict_stands_unless_the_promise_is_broken() -> None:
    given = Verdict(Outcome.WORTH_TRYING, "as planned")
    kept = check_promise(scaled(1.0), 5.0, mean_error=0.0, clipped_mass=0.0)
    assert kept.judged(given) is given
    broken = check_promise(scaled(2.0), 5.0, mean_error=0.0, clipped_mass=0.0)
    assert broken.judged(given) == Verdict(Outcome.NOT_ESTIMABLE, str(broken.broken))


def test_a_promise_can_be_written_as_json() -> None:
    told = json.loads(json.dumps(check_promise(met(0), LOG_M, mean_error=0.0, clipped_mass=0.0).to_dict()))
    assert set(told) == {"items", "mean_ratio", "acceptance_rate", "clipped_mass", "above", "broken"}
    assert Interval(**told["mean_ratio"]).value == pytest.approx(1, abs=0.1)


# Of a plan


PILOT, ITEMS = 1500, 6000
POOL = torch.randn(ITEMS, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def planned(pool: Tensor = POOL, retain_fraction: float = 0.0) -> Plan:
    target = 0.5 + 0.8 * torch.randn(1500, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rows = np.arange(PILOT)
    return plan(
        pool[rows],
        target,
        method="quadratic",
        envelope="max_tv=0.01",
        pilot=(rows, ITEMS),
        retain_fraction=retain_fraction,
    )


@pytest.mark.parametrize("retain", [0.0, 0.5])
def test_a_run_is_judged_by_the_items_outside_the_pilot_that_can_be_used(retain: float) -> None:
    made = planned(retain_fraction=retain)
    kept = made.sampler(score=lambda items: POOL[items])
    list(kept)
    promise = made.check_promise(*kept.scored)
    assert promise is not None
    assert (promise.items, promise.broken) == (ITEMS - PILOT, None)
    part = made.sampler(score=lambda items: (POOL[items], items % 3 > 0))
    list(part)
    promise = made.check_promise(*part.scored)
    assert promise is not None
    assert (promise.items, promise.broken) == ((ITEMS - PILOT) * 2 // 3, None)


@pytest.mark.parametrize("retain", [0.0, 0.5])
def test_a_rest_of_the_pool_unlike_the_pilot_is_found(retain: float) -> None:
    pool = POOL.clone()
    pool[PILOT:] += 0.5
    made = planned(pool, retain)
    sampler = made.sampler(score=lambda items: pool[items])
    list(sampler)
    promise = made.check_promise(*sampler.scored)
    assert promise is not None
    assert promise.broken is not None
    assert "unlike the rest" in promise.broken
    assert promise.judged(made.verdict).outcome == Outcome.NOT_ESTIMABLE


def test_a_few_items_far_more_like_the_target_than_any_of_the_pilot_are_found() -> None:
    """Half of the target lies on 1.2 % of the pool, of which the pilot has none."""
    rows = np.arange(PILOT)
    generator = torch.Generator().manual_seed(2)
    pilot = torch.rand(PILOT, 1, generator=generator)
    target = torch.cat([pilot[:500], torch.rand(20, 1, generator=generator) + 0.8])
    made = plan(pilot, target, pilot=(rows, ITEMS), envelope="max_tv=0.01")
    log_r = torch.cat([made.log_ratio, heavy(40.0, 0.012, ITEMS - PILOT)])
    promise = made.check_promise(torch.arange(ITEMS), log_r)
    assert promise is not None
    assert promise.broken is not None
    assert "is clipped over the 4500 items met" in promise.broken


def test_without_items_outside_the_pilot_nothing_is_said() -> None:
    made = planned()
    items = torch.arange(PILOT)
    assert made.check_promise(items, made.log_ratio) is None
    more = torch.cat([made.log_ratio, torch.tensor([-math.inf], dtype=torch.float64)])
    assert made.check_promise(torch.arange(PILOT + 1), more) is None
    assert plan(POOL[:500], POOL[:300] + 1).check_promise(items, made.log_ratio) is None
