"""From a pilot to the accepted items of a large pool: what is looked at, how often, and what comes out."""

import math
import pickle
from collections.abc import Callable
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from law import KS_BOUND
from scipy import stats
from torch import Tensor

from rsft import Plan, plan, plan_from_pilot
from rsft.pilot import pilot_items
from rsft.pilot_plan import PILOT_SIZES
from rsft.ratio import METHODS
from rsft.sampling.acceptance import acceptance_probability
from rsft.sampling.sampler import RejectionSampler
from rsft.verdict import Outcome

ITEMS = 1_000_000
POOL = torch.randn(ITEMS, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def normal(size: int, mean: float, spread: float = 1.0, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return mean + spread * torch.randn(size, 1, generator=generator, dtype=torch.float64)


class Counted:
    """The features, and how often those of each item were asked for; every so-manyeth cannot be used."""

    def __init__(self, pool: Tensor = POOL, unusable: int | None = None) -> None:
        self.pool, self.unusable = pool, unusable
        self.counts = np.zeros(len(pool), int)

    def __call__(self, items: np.ndarray) -> Any:
        assert (np.diff(items) > 0).all()
        self.counts[items] += 1
        if self.unusable is None:
            return self.pool[items]
        usable = items % self.unusable > 0
        return torch.where(torch.from_numpy(usable)[:, None], self.pool[items], math.nan), usable


def made(score: Callable[[np.ndarray], Any], target: Tensor, **options: Any) -> Plan:
    return plan_from_pilot(score, target, **{"items": ITEMS, "seed": 3, "envelope": "max_tv=0.02", **options})


def pilot_of(made: Plan) -> Any:
    assert made.pilot is not None
    return made.pilot


def test_a_pilot_that_tells_enough_does_not_grow() -> None:
    score = Counted()
    easy = made(score, normal(500, 0.7))
    assert easy.verdict.outcome == Outcome.WORTH_TRYING
    assert len(pilot_of(easy)) == PILOT_SIZES[0] == score.counts.sum()
    assert np.flatnonzero(score.counts).tolist() == pilot_items(ITEMS, 750, seed=3).tolist()


def test_a_pilot_grows_until_it_tells_and_no_item_is_asked_for_twice() -> None:
    """The effective share of this shift is exp(-2.25), 10 %: of 100 items ten, of 2000 two hundred."""
    score = Counted()
    grown = made(score, normal(500, 1.5), sizes=(100, 200, 2000, 50_000))
    assert len(pilot_of(grown)) == 2000
    assert (score.counts.sum(), score.counts.max()) == (2000, 1)
    assert pilot_of(grown).is_enough
    direct = made(Counted(), normal(500, 1.5), sizes=(2000,))
    assert torch.equal(grown.log_ratio, direct.log_ratio)
    assert grown.to_dict() == direct.to_dict()


def test_the_largest_size_is_used_if_none_tells_and_the_verdict_says_so() -> None:
    score = Counted()
    rare = made(score, normal(500, 2.5), sizes=(100, 300))
    assert score.counts.sum() == len(pilot_of(rare)) == 300
    assert rare.verdict.outcome == Outcome.PILOT_TOO_SMALL


@pytest.mark.parametrize("sizes", [(400,), (100, 400, 5000), (1000, 5000)])
def test_a_pool_smaller_than_a_size_is_looked_at_as_a_whole(sizes: tuple[int, ...]) -> None:
    score = Counted(POOL[:400])
    small = made(score, normal(500, 2.0), sizes=sizes, items=400)
    assert pilot_of(small).is_whole
    assert (score.counts == 1).all()
    assert small.verdict == plan(POOL[:400], normal(500, 2.0), envelope="max_tv=0.02", seed=3).verdict


def test_items_that_cannot_be_used_are_left_out_and_not_asked_for_again() -> None:
    score = Counted(unusable=4)
    some = made(score, normal(500, 1.0))
    looked_at = pilot_items(ITEMS, 750, seed=3)
    assert pilot_of(some).rows.tolist() == looked_at[looked_at % 4 > 0].tolist()
    assert pilot_of(some).unusable.tolist() == looked_at[looked_at % 4 == 0].tolist()
    rows = pilot_of(some).rows
    alone = plan(POOL[rows], normal(500, 1.0), envelope="max_tv=0.02", seed=3)
    assert torch.equal(some.log_ratio, alone.log_ratio)
    expected = float(some.acceptance.mean()) * ITEMS * len(rows) / 750
    assert some.diagnostics["expected_accepted"] == pytest.approx(expected)
    sampler = some.sampler(score=score, reach=8000)
    accepted = sampler.accepted()
    assert not (accepted % 4 == 0).any()
    assert (score.counts.sum(), score.counts.max()) == (8000, 1)
    rate = some.diagnostics["expected_accepted"] / ITEMS
    error = math.sqrt(rate / 8000) + math.sqrt(rate / 750)
    assert abs(len(accepted) / 8000 - rate) < 5 * error


def test_the_items_of_the_pilot_keep_their_held_out_ratios_and_others_get_those_of_the_law() -> None:
    one = made(Counted(), normal(500, 1.0))
    score = Counted()
    sampler = one.sampler(score=score, reach=3000)
    list(sampler)
    items, log_ratio = sampler.scored
    in_pilot = torch.from_numpy(np.isin(items.numpy(), pilot_of(one).rows))
    assert torch.equal(log_ratio[in_pilot], one.log_ratio)
    assert one.law is not None
    torch.testing.assert_close(log_ratio[~in_pilot], one.law.log_ratio(POOL[items[~in_pilot]]))
    assert score.counts.sum() == 3000 - 750
    known = np.full(ITEMS, 0.0)
    known[items] = acceptance_probability(log_ratio, one.envelope.log_m).numpy()
    assert sampler.accepted(2).tolist() == RejectionSampler(known, seed=one.seed).accepted(2).tolist()


def test_a_pass_over_a_plan_from_a_pilot_resumes() -> None:
    one = made(Counted(), normal(500, 1.0))
    sampler = one.sampler(score=Counted(), reach=3000)
    whole = list(one.sampler(score=Counted(), reach=3000))
    iterator = iter(sampler)
    seen = [next(iterator) for _ in range(200)]
    again = one.sampler(score=Counted(), reach=3000)
    again.load_state_dict(sampler.state_dict())
    assert seen + list(again) == whole
    shifted = one.sampler(score=lambda items: POOL[items] + 0.1, reach=3000)
    with pytest.raises(ValueError, match="The pool or the function has changed"):
        shifted.load_state_dict(sampler.state_dict())
    assert one.sampler(score=Counted()).seed == 3
    assert one.sampler(score=Counted(), seed=5).seed == 5


def test_a_sampler_of_a_plan_can_be_sent_to_another_process_by_cloudpickle() -> None:
    one = made(Counted(), normal(500, 1.0))
    sampler = one.sampler(score=lambda items: POOL[items], reach=2000)
    next(iter(sampler))
    copy = cloudpickle.loads(cloudpickle.dumps(sampler))
    assert list(copy) == list(sampler)


@pytest.mark.parametrize("method", METHODS)
def test_a_plan_can_be_pickled_and_rates_items_as_before(method: str) -> None:
    one = made(Counted(), normal(500, 1.0), method=method)
    assert one.law is not None
    copy = pickle.loads(pickle.dumps(one))
    assert torch.equal(copy.law.log_ratio(POOL[:100]), one.law.log_ratio(POOL[:100]))


TARGET = normal(8000, 0.5, 0.8)
PILOT = 6000
REACH = 60_000


def assert_follows_the_target(accepted: Tensor) -> None:
    """Assert that items are of N(0.5, 0.8^2), as far as a target of 8000 and a pilot of 6000 items can say.

    To the error of the accepted items comes that of the fit, as of a sample of the size of each side.
    """
    kept = POOL[accepted, 0].numpy()
    size = 1 / (1 / len(kept) + 1 / len(TARGET) + 1 / PILOT)
    assert abs(kept.mean() - 0.5) < 5 * 0.8 / math.sqrt(size)
    assert abs(kept.var(ddof=1) - 0.64) < 5 * 0.64 * math.sqrt(2 / size)
    assert stats.kstest(kept, stats.norm(0.5, 0.8).cdf).statistic < KS_BOUND / math.sqrt(size)


@pytest.fixture(scope="module")
def large() -> Plan:
    return made(Counted(), TARGET, sizes=(PILOT,), method="quadratic", envelope="max")


@pytest.mark.parametrize("balanced", [False, True])
def test_the_accepted_items_of_a_million_follow_the_target_and_only_those_in_reach_are_touched(
    large: Plan, balanced: bool
) -> None:
    score = Counted()
    sampler = large.sampler(score=score, reach=REACH, block=1024, balanced=balanced)
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        accepted = torch.tensor(list(sampler))
        assert_follows_the_target(accepted)
        rate = len(accepted) / REACH
        interval = pilot_of(large).acceptance_rate
        half = (interval.high - interval.low) / 2
        assert abs(rate - interval.value) < 5 / 1.96 * half + 5 * math.sqrt(rate / REACH)
        assert rate == pytest.approx(large.diagnostics["expected_accepted"] / ITEMS, rel=0.1)
    assert (score.counts.sum(), score.counts.max()) == (REACH - PILOT, 1)
    visited = pilot_items(ITEMS, REACH, seed=3)
    assert set(np.flatnonzero(score.counts)) | set(pilot_of(large).rows) == set(visited)
    promise = large.check_promise(*sampler.scored)
    assert promise is not None
    assert promise.items == REACH - PILOT


def test_other_choices_of_items_are_told_apart(large: Plan) -> None:
    """All that is visited; the items of a ratio upside down; of its square root; of half the envelope."""
    visited = torch.from_numpy(pilot_items(ITEMS, REACH, seed=3))
    assert large.law is not None
    log_r = large.law.log_ratio(POOL[visited])
    uniform = torch.rand(REACH, generator=torch.Generator().manual_seed(0), dtype=torch.float64).log()
    log_m = large.envelope.log_m
    assert_follows_the_target(visited[uniform < log_r - log_m])
    for wrong in (
        torch.zeros(REACH),
        -log_r + log_r.min(),
        (log_r - log_m) / 2,
        log_r - log_m + math.log(2),
    ):
        with pytest.raises(AssertionError):
            assert_follows_the_target(visited[uniform < wrong])


def test_a_pilot_is_not_the_pool_if_it_is_not_random() -> None:
    """Of a pool sorted by its feature, the first items alone would say that nothing is like the target."""
    ordered = POOL[torch.arange(0, ITEMS, 50)].sort(0).values
    one = made(Counted(ordered), normal(500, 1.0), items=len(ordered))
    assert one.verdict.outcome == Outcome.WORTH_TRYING
    rows = np.arange(750)
    first = plan(ordered[rows], normal(500, 1.0), pilot=(rows, len(ordered)), envelope="max_tv=0.02")
    assert first.verdict.outcome != Outcome.WORTH_TRYING


# What is refused


def lazily(one: Plan) -> Callable[[Any], Any]:
    return lambda score: list(one.sampler(score=score, known=None, reach=2000))


def wide_from(item: int) -> Callable[[np.ndarray], Tensor]:
    return lambda items: POOL[items].expand(-1, 2 if items[-1] >= item else 1)


def wrong_at(item: int, value: float) -> Callable[[np.ndarray], Tensor]:
    return lambda items: torch.where(torch.from_numpy(items == item)[:, None], value, POOL[items])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_features_that_are_not_finite_are_reported_by_their_item(value: float) -> None:
    item = int(pilot_items(ITEMS, 750, seed=3)[400])
    with pytest.raises(ValueError, match=rf"plan_from_pilot\(score=\.\.\.\)` gave NaN or infinity for item {item}: "):
        made(wrong_at(item, value), normal(500, 1.0))
    one = made(Counted(), normal(500, 1.0))
    with pytest.raises(ValueError, match=rf"sampler\(score=\.\.\.\)` gave NaN or infinity for item {item}: "):
        lazily(one)(wrong_at(item, value))


def test_another_width_is_reported_by_the_items() -> None:
    """In a later part of the pilot, or in a pass."""
    small = set(pilot_items(ITEMS, 100, seed=3).tolist())
    first = next(item for item in pilot_items(ITEMS, 200, seed=3).tolist() if item not in small)

    def later(items: np.ndarray) -> Tensor:
        return POOL[items].expand(-1, 1 if set(items.tolist()) <= small else 3)

    with pytest.raises(ValueError, match=rf"gave 3 features for the items from {first} on, and 1 before"):
        made(later, normal(500, 2.0), sizes=(100, 200))
    with pytest.raises(
        ValueError, match=r"`fit_ratio\(target=\.\.\.\)` needs features of shape \(n, 2\), got \(500, 1\)"
    ):
        made(wide_from(0), normal(500, 2.0))
    one = made(Counted(), normal(500, 1.0))
    block = np.sort(pilot_items(ITEMS, 256, seed=3))
    with pytest.raises(
        ValueError, match=rf"sampler\(score=\.\.\.\)`, from item {block[0]} on: .*\(n, 1\), got \(256, 2\)"
    ):
        lazily(one)(wide_from(0))


@pytest.mark.parametrize(
    "score",
    [
        lambda items: POOL[items][1:],
        lambda items: POOL[items][:, 0],
        lambda items: (POOL[items], np.ones(len(items) - 1, bool)),
        lambda items: (POOL[items], np.ones((len(items), 1), bool)),
    ],
    ids=["a row short", "no columns", "a short mask", "a wide mask"],
)
def test_another_number_of_rows_is_reported_by_the_items(score: Callable[[np.ndarray], Any]) -> None:
    first = pilot_items(ITEMS, 750, seed=3)[0]
    with pytest.raises(
        ValueError,
        match=rf"plan_from_pilot\(score=\.\.\.\)` needs a row of features for each of 750 items, from item {first} on",
    ):
        made(score, normal(500, 1.0))
    one = made(Counted(), normal(500, 1.0))
    block = np.sort(pilot_items(ITEMS, 256, seed=3))
    with pytest.raises(ValueError, match=rf"needs a row of features for each of 256 items, from item {block[0]} on"):
        lazily(one)(score)


def test_a_pilot_without_a_usable_item_is_refused() -> None:
    with pytest.raises(ValueError, match="none of 750 items of the pilot can be used"):
        made(lambda items: (POOL[items], np.zeros(len(items), bool)), normal(500, 1.0))


@pytest.mark.parametrize("options", [{"items": 0}, {"sizes": ()}, {"sizes": (0, 10)}])
def test_sizes_out_of_range_are_rejected(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"plan_from_pilot` needs items and sizes of 1 or more"):
        made(Counted(), normal(500, 1.0), **options)


def test_a_plan_of_a_pool_needs_the_number_of_items_for_another() -> None:
    one = plan(POOL[:1000], normal(500, 1.0))
    with pytest.raises(ValueError, match=r"sampler\(items=\.\.\.\)` is required"):
        one.sampler(score=Counted())
    score = Counted()
    sampler = one.sampler(score=score, items=5000)
    assert 0 < len(list(sampler)) < 5000
    assert score.counts.sum() == 5000  # nothing is known of these items
