"""A pilot's intervals hold what the whole pool says, by simulation, and its verdict says how large it should be."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from law import LOG_M, PROPOSAL, log_ratio
from scipy import stats
from torch import Tensor

from rsft import Plan, choose_envelope, plan
from rsft.pilot import Pilot, assess_pilot, pilot_items
from rsft.sampling.walk import walk
from rsft.types import Interval
from rsft.verdict import Outcome, judge_plan

ITEMS = 1_000_000
PILOTS = 150
FALSE_ALARM = 1e-6
GRID = torch.linspace(-9, 9, 200_001, dtype=torch.float64)
DENSITY = PROPOSAL.log_prob(GRID).exp()


def exactly(log_m: float) -> dict[str, float]:
    """Figures of a pool that is the proposal, by quadrature."""
    accepted = (log_ratio(GRID) - log_m).clamp(max=0).exp()
    rate, square = (float(torch.trapezoid(power * DENSITY, GRID)) for power in (accepted, accepted**2))
    ratio = log_ratio(GRID).exp() * DENSITY
    clipped = (torch.trapezoid((ratio - accepted * DENSITY / rate).abs(), GRID) / 2).item()
    return {"acceptance_rate": rate, "effective_size": ITEMS * rate**2 / square, "clipped_mass": clipped}


def pilot(x: Tensor, seed: int, log_m: float, groups: Tensor | None = None) -> Pilot:
    log_r = log_ratio(x)
    envelope = choose_envelope(log_r, log_m=log_m)
    return assess_pilot(np.arange(len(x)), ITEMS, log_r, envelope, like_target=100.0, groups=groups, seed=seed)


def covered(name: str, log_m: float, pilots: list[Pilot]) -> int:
    """Return how many of the intervals hold the exact value."""
    exact = exactly(log_m)[name]
    intervals = [getattr(each, name) for each in pilots]
    return sum(interval.low <= exact <= interval.high for interval in intervals)


def clustered(seed: int, people: int = 60, pictures: int = 10) -> tuple[Tensor, Tensor]:
    """Items whose law is the proposal, of people who are alike in nine tenths of it, and their people."""
    generator = torch.Generator().manual_seed(seed)
    person = torch.randn(people, 1, generator=generator, dtype=torch.float64).expand(people, pictures)
    x = math.sqrt(0.9) * person + math.sqrt(0.1) * torch.randn(person.shape, generator=generator, dtype=torch.float64)
    return x.flatten(), torch.arange(people).repeat_interleave(pictures)


def enough(count: int, level: float = 0.93) -> bool:
    """Whether as many intervals hold the exact value as 95 % ones do, where a bootstrap is short of two hundredths."""
    return count >= stats.binom(PILOTS, level).ppf(FALSE_ALARM)


@pytest.mark.parametrize("log_m", [LOG_M, 0.3])
def test_the_intervals_hold_the_figures_of_the_pool(log_m: float) -> None:
    samples = [torch.randn(400, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in range(PILOTS)]
    pilots = [pilot(x, seed, log_m) for seed, x in enumerate(samples)]
    assert enough(covered("acceptance_rate", log_m, pilots))
    assert enough(covered("effective_size", log_m, pilots))
    if log_m < LOG_M:
        assert enough(covered("clipped_mass", log_m, pilots), 0.9)
    # not so if they were half as wide, or those of another envelope
    narrow = [
        Interval(value, (value + low) / 2, (value + high) / 2)
        for value, low, high in (list(each.acceptance_rate.to_dict().values()) for each in pilots)
    ]
    exact = exactly(log_m)["acceptance_rate"]
    assert not enough(sum((rate.low or 0) <= exact <= (rate.high or 0) for rate in narrow))
    assert not enough(covered("acceptance_rate", log_m + 0.2, pilots))


@pytest.mark.parametrize("rule", ["max_tv=0.05", "quantile=0.9"])
def test_the_interval_of_m_holds_that_of_a_plan_on_the_whole_pool(rule: str) -> None:
    """All ratios of a plan are divided by their mean over its items, so M is known no better than that mean."""

    def planned_m(size: int, seed: int) -> Interval:
        log_r = log_ratio(torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
        log_r = log_r - (torch.logsumexp(log_r, 0) - math.log(size))
        chosen = choose_envelope(log_r, rule)
        return assess_pilot(np.arange(size), ITEMS, log_r, chosen, like_target=100.0, seed=seed).m

    many = torch.randn(10**6, generator=torch.Generator().manual_seed(PILOTS), dtype=torch.float64)
    exact = math.exp(choose_envelope(log_ratio(many), rule).log_m)
    intervals = [planned_m(400, seed) for seed in range(PILOTS)]
    assert enough(sum((each.low or 0) <= exact <= (each.high or 0) for each in intervals), 0.9)
    assert not enough(sum((each.low or 0) <= 1.1 * exact <= (each.high or 0) for each in intervals), 0.9)


def test_people_drawn_together_give_intervals_that_hold_and_items_drawn_alone_do_not() -> None:
    samples = [clustered(seed) for seed in range(PILOTS)]
    grouped = [pilot(x, seed, LOG_M, groups=people) for seed, (x, people) in enumerate(samples)]
    alone = [pilot(x, seed, LOG_M) for seed, (x, _) in enumerate(samples)]
    for name in ("acceptance_rate", "effective_size"):
        assert enough(covered(name, LOG_M, grouped), 0.9)
        assert not enough(covered(name, LOG_M, alone), 0.9)
    assert [a.acceptance_rate.value for a in alone] == [g.acceptance_rate.value for g in grouped]


def test_people_with_a_picture_each_are_as_items() -> None:
    x = torch.randn(300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert pilot(x, 0, LOG_M, groups=torch.arange(300) * 7).to_dict() == pilot(x, 0, LOG_M).to_dict()


def test_the_figures_are_those_of_the_envelope() -> None:
    x = torch.randn(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    log_r = log_ratio(x)
    chosen = choose_envelope(log_r, "max_tv=0.05")
    made = assess_pilot(np.arange(2000), ITEMS, log_r, chosen, like_target=1.0)
    assert made.acceptance_rate.value == pytest.approx(chosen.acceptance_rate)
    assert made.clipped_mass.value == pytest.approx(chosen.clipped_mass)
    assert made.effective_size.value == pytest.approx(chosen.effective_size / 2000 * ITEMS)
    assert made.m.value == pytest.approx(math.exp(chosen.log_m))


def test_a_pilot_of_the_whole_pool_leaves_nothing_open() -> None:
    x = log_ratio(torch.randn(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    chosen = choose_envelope(x, "max_tv=0.05")
    whole = assess_pilot(np.arange(500), 500, x, chosen, like_target=3.0)
    assert whole.is_whole
    assert whole.is_enough
    assert whole.looked_at == len(whole) == 500
    for interval in (whole.acceptance_rate, whole.m, whole.clipped_mass, whole.effective_size):
        assert interval.low == interval.value == interval.high
    assert whole.effective_size.value == pytest.approx(chosen.effective_size)
    part = assess_pilot(np.arange(500), 501, x, chosen, like_target=3.0)
    assert not part.is_whole
    assert part.acceptance_rate.low < part.acceptance_rate.high  # type: ignore[operator]


def test_items_that_cannot_be_used_were_looked_at() -> None:
    x = log_ratio(torch.randn(300, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    chosen = choose_envelope(x, log_m=LOG_M)
    options = {"like_target": 10.0}
    part = assess_pilot(np.arange(300), 4000, x, chosen, unusable=np.arange(300, 400), **options)  # type: ignore[arg-type]
    assert (len(part), part.looked_at, part.is_whole) == (300, 400, False)
    assert part.effective_size.value == pytest.approx(chosen.effective_size * 10)
    assert part.needed == 400 * 1.25 * 3
    whole = assess_pilot(np.arange(300), 400, x, chosen, unusable=np.arange(300, 400), **options)  # type: ignore[arg-type]
    assert whole.is_whole
    assert whole.acceptance_rate.low == whole.acceptance_rate.high
    assert whole.effective_size.value == pytest.approx(chosen.effective_size)


def test_samples_without_any_target_mass_are_left_out_of_the_intervals() -> None:
    x = torch.full((40,), -math.inf, dtype=torch.float64)
    x[0] = math.log(40)  # in 64 of 100 bootstrap samples
    made = assess_pilot(np.arange(40), 100, x, choose_envelope(x), like_target=1.0)
    assert made.acceptance_rate.low == pytest.approx(1 / 40)
    assert 2 / 40 <= (made.acceptance_rate.high or 0) <= 5 / 40


def made(like_target: float, rate: Interval, size: int = 100, items: int = 10_000) -> Pilot:
    return Pilot(items, np.arange(size), rate, rate, rate, rate, like_target)


def test_a_pilot_is_enough_with_thirty_like_the_target_and_a_rate_known_to_a_quarter() -> None:
    sharp, vague = Interval(0.4, 0.301, 0.499), Interval(0.4, 0.299, 0.501)
    assert made(30.0, sharp).is_enough
    assert not made(29.9, sharp).is_enough
    assert not made(30.0, vague).is_enough
    assert made(1.0, vague, 100, 100).is_enough


def test_a_larger_pilot_is_needed_the_fewer_are_like_the_target() -> None:
    rate = Interval(0.4, 0.3, 0.5)
    needs = [made(like, rate).needed for like in (100.0, 37.5, 30.0, 15.0, 5.0, 1.0)]
    assert needs == [100, 100, 125, 250, 750, 3750]
    assert made(1.0, rate, items=3000).needed == 3000
    assert made(0.9, rate).needed is None
    assert made(0.9, rate).figures() == {"pilot_items": 100, "pilot_looked_at": 100, "pool_items": 10_000}
    assert made(30.0, rate).figures()["pilot_needed"] == 125


@pytest.mark.parametrize("items", [100, 70_000])
def test_a_pilot_is_a_random_part_that_a_pass_visits_first_and_that_grows(items: int) -> None:
    sizes = (1, 40, 90, 200)
    parts = [pilot_items(items, size, seed=4) for size in sizes]
    for size, part in zip(sizes, parts, strict=True):
        assert len(part) == len(set(part.tolist())) == min(size, items)
        assert (np.diff(part) > 0).all()
        assert {*part.tolist()} == {*np.concatenate(list(walk(items, seed=4, epoch=3, reach=size))).tolist()}
    assert all({*small.tolist()} <= {*large.tolist()} for small, large in pairwise(parts))
    assert parts[1].tolist() != pilot_items(items, 40, seed=5).tolist()


# Plans from a pilot


def planned(shift: float, size: int = 300, target: int = 1000) -> Plan:
    """Plan for N(shift, 1) on a part of a pool of N(0, 1)."""
    generator = torch.Generator().manual_seed(0)
    pool = torch.randn(size, 1, generator=generator, dtype=torch.float64)
    wanted = torch.randn(target, 1, generator=generator, dtype=torch.float64) + shift
    return plan(pool, wanted, pilot=(np.arange(size), 100_000), envelope="max_tv=0.05")


def test_the_rarer_the_shift_the_larger_the_pilot_that_is_needed_and_the_verdict_says_how_large() -> None:
    """The effective share of a pool of N(0, 1) for N(m, 1) is exp(-m^2): 0.37 at 1, 0.02 at 2."""
    plans = [planned(shift) for shift in (0.5, 1.0, 1.5, 2.0, 2.5)]
    pilots = [each.pilot for each in plans if each.pilot is not None]
    alike = [each.like_target for each in pilots]
    needs = [each.needed or 0 for each in pilots]
    assert alike == sorted(alike, reverse=True)
    assert needs == sorted(needs)
    assert needs[0] == 300
    assert [str(each.verdict.outcome) for each in plans[:3]] == [str(Outcome.WORTH_TRYING)] * 3
    for each, needed in zip(plans[3:], needs[3:], strict=True):
        assert needed > 300
        assert each.verdict.outcome == Outcome.PILOT_TOO_SMALL
        assert each.verdict.reason.startswith("300 of 100000 items were looked at, and those like the target have an ")
        assert each.verdict.reason.endswith(f"where 30 are needed: {needed} would tell")


def test_a_pilot_as_large_as_the_verdict_says_tells() -> None:
    small = planned(2.0).pilot
    assert small is not None
    assert small.needed is not None
    again = planned(2.0, size=small.needed)
    assert again.pilot is not None
    assert again.pilot.like_target >= 30
    assert again.verdict.outcome != Outcome.PILOT_TOO_SMALL


def test_where_none_is_like_the_target_no_number_is_promised() -> None:
    figures = planned(2.5).diagnostics | {"target_effective_size": 0.5}
    figures.pop("pilot_needed")
    verdict = judge_plan(figures, planned(2.5).envelope, [])
    assert verdict.outcome == Outcome.PILOT_TOO_SMALL
    assert verdict.reason.endswith("look at many more of the 100000, or add pool items like the target")


def test_a_pilot_of_the_whole_pool_is_judged_as_a_pool() -> None:
    generator = torch.Generator().manual_seed(0)
    pool, target = torch.randn(300, 1, generator=generator), torch.randn(500, 1, generator=generator) + 2.5
    whole = plan(pool, target, pilot=(np.arange(300), 300))
    assert whole.verdict == plan(pool, target).verdict
    assert whole.verdict.outcome == Outcome.TOO_LITTLE_SUPPORT


def test_the_numbers_of_a_plan_are_those_of_the_pool() -> None:
    some = planned(1.0)
    assert some.pilot is not None
    assert some.diagnostics["expected_accepted"] == pytest.approx(float(some.acceptance.mean()) * 100_000)
    size = some.pilot.effective_size.value
    assert f"of 100000 items are accepted per epoch, with an effective size of {size:.0f}" in some.verdict.reason
    told = json.loads(json.dumps(some.to_dict()))["pilot"]
    assert (told["items"], told["looked_at"]) == (300, 300)
    assert set(told) == {"items", "looked_at", "like_target", "acceptance_rate", "m", "clipped_mass", "effective_size"}
    assert "pilot" not in plan(torch.randn(300, 1), torch.randn(300, 1)).to_dict()


@pytest.mark.parametrize(
    "pilot",
    [
        (np.arange(299), 1000),
        (np.arange(300)[::-1], 1000),
        (np.zeros(300, int), 1000),
        (np.arange(300), 299),
        (np.arange(300), 300, np.array([300])),
    ],
)
def test_numbers_that_are_not_those_of_a_part_are_rejected(pilot: tuple[np.ndarray, int]) -> None:
    with pytest.raises(ValueError, match=r"plan\(pilot=\.\.\.\)` needs the ascending numbers of the 300 items"):
        plan(torch.randn(300, 1), torch.randn(200, 1), pilot=pilot)


def test_a_pilot_does_not_go_with_identities_accepted_as_a_whole() -> None:
    people = torch.arange(300) // 3
    for options in ({"accept_by": "identity"}, {"floor": 2}):
        with pytest.raises(ValueError, match=r"plan\(pilot=\.\.\.\)` needs items that are accepted one by one"):
            plan(torch.randn(300, 1), torch.randn(200, 1), identities=people, pilot=(np.arange(300), 999), **options)
