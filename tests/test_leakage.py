"""Tests of plans whose target repeats itself or shares items with the pool."""

import json

import pytest
import torch

from rsft import plan, plan_from_pilot, plan_from_ratio, rank_plans
from rsft.verdict import Outcome


def normals(n: int, seed: int, d: int = 8) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def few_often(noise: float = 0.0) -> torch.Tensor:
    """Twenty items like a shifted target, ten times each."""
    return (normals(20, 1) + 0.7).repeat_interleave(10, 0) + noise * normals(200, 2)


CLIPS = torch.arange(200) // 10


@pytest.mark.parametrize(("noise", "groups"), [(0.0, None), (0.5, CLIPS), (0.01, None), (0.1, None)])
def test_twenty_items_ten_times_are_twenty(noise: float, groups: torch.Tensor | None) -> None:
    made = plan(normals(1000, 0), few_often(noise), target_groups=groups)
    assert made.verdict.outcome == Outcome.TARGET_TOO_SMALL
    assert made.verdict.reason == "20 different items among 200; provide at least 50 different ones"
    assert made.notes == ["20 different items among 200: items that repeat one another count as one"]
    assert made.diagnostics["target_items"] == 200
    assert made.diagnostics["target_groups"] == made.diagnostics["target_effective_groups"] == 20
    assert json.loads(json.dumps(made.to_dict()))["notes"] == made.notes


def test_one_large_group_does_not_hide_behind_many_small_ones() -> None:
    """Sixty items, one of which is 400 of 459 rows: in effect hardly more than one."""
    target = normals(60, 1)[torch.cat([torch.zeros(400).long(), torch.arange(1, 60)])]
    made = plan(normals(1000, 0), target)
    assert made.verdict.outcome == Outcome.TARGET_TOO_SMALL
    assert made.verdict.reason.startswith("60 different items among 459, worth 1 of equal weight")


def test_the_error_of_the_auc_is_that_of_the_different_items() -> None:
    pool, target = normals(1000, 0), normals(100, 1) + 0.3
    once, often = (plan(pool, rows).diagnostics for rows in (target, target.repeat_interleave(8, 0)))
    assert often["auc_error"] == pytest.approx(once["auc_error"], rel=0.1)
    nearly = target.repeat_interleave(8, 0) + 1e-3 * normals(800, 2)
    assert plan(pool, nearly).diagnostics["auc_error"] == pytest.approx(once["auc_error"], rel=0.1)
    more = normals(800, 1) + 0.3
    assert plan(pool, more).diagnostics["auc_error"] < 0.6 * once["auc_error"]  # as the wrong rule, by rows, would say


def test_a_pilot_and_a_ranking_count_groups_too() -> None:
    pool, target = normals(2000, 0), few_often(0.01)
    of_pilot = plan_from_pilot(lambda items: pool[items], target, items=2000, sizes=(600,), target_groups=CLIPS)
    ranked = rank_plans({"all": (pool, target), "some": (pool[:, :3], target[:, :3])}, target_groups=CLIPS)
    assert {made.verdict.outcome for made in (of_pilot, *(one.plan for one in ranked))} == {Outcome.TARGET_TOO_SMALL}


@pytest.mark.parametrize("method", ["classifier", "quadratic", "least-squares"])
def test_a_pool_matches_itself(method: str) -> None:
    x = normals(500, 0, d=32)
    made = plan(x, x.clone(), method=method)
    assert made.verdict.outcome == Outcome.POOL_MATCHES
    assert made.log_ratio.std() < 0.05
    assert made.notes == ["500 of the 500 target items are in the pool too"]


def test_a_target_that_is_a_part_of_the_pool_is_found_there() -> None:
    """The law of a part: all of it lies where the first feature is above 1, and nothing else is accepted."""
    pool = normals(3000, 0)
    made = plan(pool, pool[pool[:, 0] > 1], method="boosted", envelope="max_tv=0.1")
    assert made.verdict.outcome == Outcome.WORTH_TRYING
    assert made.diagnostics["shared_items"] == int((pool[:, 0] > 1).sum())
    like = made.log_ratio.exp() * (pool[:, 0] > 1)
    assert like.sum() > 0.9 * made.log_ratio.exp().sum()


@pytest.mark.parametrize("shared", [0, 25])
def test_near_copies_in_the_pool_are_named(shared: int) -> None:
    x = normals(500, 0, d=32)
    target = x + 0.05 * normals(500, 1, d=32)
    target[:shared] = x[:shared]
    made = plan(x, target)
    assert made.verdict.outcome == Outcome.LEAKAGE
    assert ("no rows are equal" in made.verdict.reason) == (shared == 0)
    assert ("25 of the 500 target items equal a pool item" in made.verdict.reason) == (shared == 25)
    assert made.log_ratio.std() < 0.05  # scores that run backwards are not turned round


@pytest.mark.parametrize("width", [1, 4, 32])
def test_no_leakage_is_found_where_there_is_none(width: int) -> None:
    """By chance the AUC within folds may be far below 0.5: the rest differs the other way than what is held out."""
    low = 0
    for seed in range(40):
        made = plan(normals(300, seed, width), normals(150, 100 + seed, width), seed=seed)
        assert made.verdict.outcome != Outcome.LEAKAGE
        low += made.diagnostics["fold_auc"] < 0.5 - 2 * made.diagnostics["auc_error"]
    assert width == 32 or low > 0  # that happens: 3 errors, as for a difference, would be the wrong rule


@pytest.mark.parametrize(
    ("log_ratio", "envelope", "words"),
    [
        (normals(1000, 0)[:, 0], "rate=1e-12", "only 1e-09 of 1000 items are accepted per epoch"),
        (torch.eye(1000)[0] * 80, "quantile=0.97", "nearly a uniform draw"),
        (torch.eye(1000)[0] * 80, "rate=0.1", "99% of the target is clipped"),
        (torch.eye(1000)[0].half() * 80, "max_tv=0.94", "94% of the target is clipped"),
        (normals(1000, 0)[:, 0].bfloat16() * 3, "max_tv=0.6", "mostly unlike the target"),
        (normals(1000, 0)[:, 0], "log_m=30", "items are accepted per epoch, less than one"),
        (torch.zeros(1), "max", "effective size of 1"),
    ],
)
def test_an_envelope_that_leaves_next_to_nothing_is_not_worth_trying(
    log_ratio: torch.Tensor, envelope: str, words: str
) -> None:
    made = plan_from_ratio(log_ratio, envelope=envelope)
    assert made.verdict.outcome == Outcome.TOO_LITTLE_SUPPORT
    assert words in made.verdict.reason
