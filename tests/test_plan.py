"""Tests of plans and of every verdict, on data constructed for it."""

import re

import numpy as np
import pytest
import torch

from rsft import attribute_ratio, choose_envelope, exponential_tilt, plan, plan_from_ratio, rank_plans
from rsft.verdict import Outcome, judge_plan


def normal(n: int, mean: float, seed: int, spread: float = 1.0, d: int = 4) -> torch.Tensor:
    x = spread * torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    x[:, 0] += mean
    return x


@pytest.mark.parametrize(
    ("target", "outcome"),
    [
        (normal(500, 1.0, 1), Outcome.WORTH_TRYING),
        (normal(500, 0.0, 1), Outcome.POOL_MATCHES),
        (normal(500, 9.0, 1), Outcome.TOO_LITTLE_SUPPORT),
        (normal(20, 1.0, 1), Outcome.TARGET_TOO_SMALL),
    ],
)
def test_the_outcome_follows_the_shift_and_the_target_size(target: torch.Tensor, outcome: Outcome) -> None:
    result = plan(normal(3000, 0.0, 0), target, envelope="max_tv=0.02")
    assert result.verdict.outcome == outcome
    assert result.verdict.reason


def test_accepted_items_unlike_the_target_are_not_worth_trying() -> None:
    """One of ten pictures of each person is target-like, so accepting whole identities keeps nine pool-like ones."""
    pool, target = normal(5000, 0.0, 0), normal(1000, 4.0, 1)
    pool[::10, 0] += 4.0
    whole = plan(pool, target, identities=torch.arange(5000) // 10, accept_by="identity")
    assert whole.verdict.outcome == Outcome.NOT_ESTIMABLE
    assert "still separates the accepted items from the target" in whole.verdict.reason
    assert plan(pool, target, envelope="max_tv=0.02").verdict.outcome == Outcome.WORTH_TRYING


GOOD = {
    "auc": 0.8,
    "auc_error": 0.01,
    "target_items": 500.0,
    "pool_items": 1000.0,
    "target_effective_size": 150.0,
    "unsupported_fraction": 0.0,
    "unsupported_low": 0.0,
    "mean_ratio": 1.0,
    "mean_ratio_error": 0.02,
    "expected_accepted": 200.0,
}


@pytest.mark.parametrize(
    ("figures", "outcome", "words"),
    [
        ({}, Outcome.WORTH_TRYING, "200 of 1000"),
        ({"mean_ratio": 1.5}, Outcome.NOT_ESTIMABLE, "mean ratio over the pool is 1.500"),
        ({"mean_ratio": 1.5, "mean_ratio_error": 0.2}, Outcome.WORTH_TRYING, "differ"),
        ({"mean_ratio": 0.4}, Outcome.TOO_LITTLE_SUPPORT, "0.400 +- 0.020, so only that share of the target"),
        ({"mean_ratio": 0.4, "mean_ratio_error": 0.2}, Outcome.WORTH_TRYING, "differ"),
        (
            {"pool_items": 170.0},
            Outcome.POOL_MATCHES,
            "but so little that the items accepted for the target have an effective size of 150",
        ),
        ({"auc": 0.51, "mmd_low": 0.01}, Outcome.NOT_ESTIMABLE, "this estimator does not detect the difference"),
        ({"auc": 0.51, "mmd_low": -0.01}, Outcome.POOL_MATCHES, "0.5 is chance"),
        ({"auc": 0.5, "fold_auc": 0.43}, Outcome.LEAKAGE, "no rows are equal"),
        ({"auc": 0.5, "fold_auc": 0.45}, Outcome.POOL_MATCHES, "0.5 is chance"),
        ({"auc": 0.5, "fold_auc": 0.2, "shared_items": 12.0}, Outcome.LEAKAGE, "12 of the 500 target items"),
        (
            {"target_groups": 49.0, "target_effective_groups": 40.0},
            Outcome.TARGET_TOO_SMALL,
            "49 different items among 500, worth 40 of equal weight; provide at least 50",
        ),
        ({"target_groups": 90.0, "target_effective_groups": 51.0}, Outcome.WORTH_TRYING, "differ"),
        ({"expected_accepted": 0.9}, Outcome.TOO_LITTLE_SUPPORT, "only 0.9 of 1000 items are accepted"),
        ({"expected_accepted": 1.0}, Outcome.WORTH_TRYING, "differ"),
        ({"arrival_auc": 0.7, "arrival_auc_low": 0.65}, Outcome.NOT_ESTIMABLE, "still separates"),
    ],
)
def test_the_statistics_determine_the_verdict(figures: dict[str, float], outcome: Outcome, words: str) -> None:
    envelope = choose_envelope(torch.arange(1.0, 200.0).log())
    verdict = judge_plan(GOOD | figures, envelope, [])
    assert verdict.outcome == outcome
    assert words in verdict.reason


@pytest.mark.parametrize("retain", [0.0, 0.5, 0.8])
def test_the_retained_share_does_not_decide_whether_the_pool_matches(retain: float) -> None:
    """The effective share 1 / E[r^2] of the pool under a mean shift m is exp(-m^2): .96 at .2, .37 at 1."""
    pool = normal(20000, 0.0, 0, d=2)
    for shift, outcome in ((0.2, Outcome.POOL_MATCHES), (1.0, Outcome.WORTH_TRYING)):
        result = plan(pool, normal(4000, shift, 1, d=2), envelope="max_tv=0.02", retain_fraction=retain)
        assert result.verdict.outcome == outcome


def test_an_envelope_that_makes_acceptance_uniform_is_not_worth_trying() -> None:
    """One item in fifty is like the target, so M at the 97th percentile of the ratio accepts almost uniformly."""
    pool, target = normal(5000, 0.0, 0), normal(500, 6.0, 1)
    pool[::50, 0] += 6.0
    clipped = plan(pool, target, envelope="quantile=0.97", retain_fraction=0.5)
    assert clipped.verdict.outcome == Outcome.TOO_LITTLE_SUPPORT
    assert "nearly a uniform draw" in clipped.verdict.reason
    advised = plan(pool, target, envelope="max_tv=0.1", retain_fraction=0.5)
    assert advised.verdict.outcome == Outcome.WORTH_TRYING


def test_the_verdict_names_the_part_of_the_target_that_the_pool_lacks() -> None:
    target = normal(500, 0.0, 1)
    target[:200, 1] += 12
    covariates = ({"yaw": normal(3000, 0.0, 0)[:, 1].numpy()}, {"yaw": target[:, 1].numpy()})
    result = plan(normal(3000, 0.0, 0), target, covariates=covariates, words={"yaw": ("left", "right")})
    assert result.verdict.outcome == Outcome.TOO_LITTLE_SUPPORT
    assert re.search("4[01]% of the target lies where the pool has no items: right", result.verdict.reason)


def test_the_accepted_items_match_the_target_and_the_pool_does_not() -> None:
    pool, target = normal(6000, 0.0, 0), normal(800, 1.0, 1)
    covariates = ({"first": pool[:, 0].numpy()}, {"first": target[:, 0].numpy()})
    arrival = plan(pool, target, envelope="max_tv=0.01", covariates=covariates, retain_fraction=0.5).arrival
    assert arrival is not None
    assert arrival.before is not None
    assert arrival.after is not None
    assert arrival.before.auc.low is not None
    assert arrival.before.auc.low > 0.7
    assert arrival.after.auc.low is not None
    assert arrival.after.auc.high is not None
    error = (arrival.after.auc.high - arrival.after.auc.low) / (2 * 1.96)
    assert arrival.after.auc.value == pytest.approx(0.5, abs=5 * error)
    (row,) = arrival.covariates
    assert row.before.value == pytest.approx(1, abs=0.15)
    assert row.after.low is not None
    assert row.after.high is not None
    assert row.after.low < 0 < row.after.high


def test_plans_are_ranked_by_the_accepted_items_in_all_features() -> None:
    """The first feature identifies people and differs most; the second is what the deployment changes."""
    pool, target = normal(4000, 0.0, 0, d=2), normal(700, 3.5, 1, d=2)
    target[:, 1] += 1.2
    ranked = rank_plans(
        {"identity": (pool[:, :1], target[:, :1]), "nuisance": (pool[:, 1:], target[:, 1:])},
        methods=("classifier", "boosted"),
        envelope="max_tv=0.05",
    )
    assert len(ranked) == 4
    assert ranked[0].plan.verdict.outcome == Outcome.WORTH_TRYING
    assert ranked[0].features == "nuisance"
    assert ranked[0].reason
    with pytest.raises(ValueError, match="same items"):
        rank_plans({"a": (pool, target), "b": (pool[:5], target)})


def test_identities_get_a_floor_or_are_accepted_as_a_whole() -> None:
    identities = torch.arange(900) // 3
    pool, target = normal(900, 0.0, 0), normal(300, 1.0, 1)
    floored = plan(pool, target, identities=identities, floor=2)
    rows = floored.accepted()
    counts = identities[rows].bincount()
    assert set(counts[counts > 0].tolist()) <= {2, 3}
    assert floored.diagnostics["expected_accepted"] == pytest.approx(float(floored.inclusion().sum()))
    assert bool((floored.inclusion() >= floored.acceptance).all())
    whole = plan(pool, target, identities=identities, accept_by="identity")
    assert set(identities[whole.accepted()].bincount().tolist()) <= {0, 3}
    kept = [len(identities[whole.sampler(seed=seed).accepted()].unique()) for seed in range(300)]
    mean, error = torch.tensor(kept).double().mean(), torch.tensor(kept).double().std() / 300**0.5
    assert abs(whole.diagnostics["identities_accepted"] - mean) < 5 * error
    assert 0 < whole.diagnostics["identity_tv"] < 1


def test_retaining_the_whole_pool_accepts_every_item() -> None:
    result = plan(normal(500, 0.0, 0), normal(300, 1.0, 1), retain_fraction=1.0)
    assert torch.equal(result.acceptance, torch.ones(500, dtype=torch.float64))


def test_the_retained_share_is_exact() -> None:
    """It is the expected share of the accepted items that come from the pool component of the mixture."""
    share = 0.3
    result = plan(normal(3000, 0.0, 0), normal(800, 1.0, 1), retain_fraction=share)
    drawn_for_pool = share * len(result.log_ratio) / result.log_ratio.exp().sum()
    assert float(drawn_for_pool) == pytest.approx(share)
    assert float(result.acceptance.max()) == pytest.approx(1)


def test_the_expected_number_of_identities_agrees_with_a_simulation() -> None:
    identities = torch.arange(900) // 3
    result = plan(normal(900, 0.0, 0), normal(300, 1.0, 1), identities=identities)
    kept = [len(identities[result.sampler(seed=seed).accepted()].unique()) for seed in range(300)]
    mean, error = torch.tensor(kept).double().mean(), torch.tensor(kept).double().std() / 300**0.5
    assert abs(result.diagnostics["identities_accepted"] - mean) < 5 * error


def test_a_plan_samples_at_its_rate_and_serialises_to_json() -> None:
    import json

    result = plan(normal(1000, 0.0, 0), normal(300, 1.0, 1), envelope="rate=0.2", seed=7)
    assert result.sampler().seed == 7
    assert float(result.acceptance.mean()) == pytest.approx(0.2)
    assert json.loads(json.dumps(result.to_dict()))["envelope"]["rule"] == "rate=0.2"


def test_a_plan_from_a_given_ratio_draws_the_target_shares() -> None:
    """Half of the target and a tenth of the pool are night pictures. The accepted items have the target's shares."""
    light = ["day"] * 900 + ["night"] * 100
    result = plan_from_ratio(attribute_ratio(light, {"day": 0.5, "night": 0.5}))
    rows = np.concatenate([result.sampler(seed=seed).accepted().numpy() for seed in range(50)])
    share = (rows >= 900).mean()
    assert abs(share - 0.5) < 5 * np.sqrt(0.25 / len(rows))
    assert result.verdict.outcome == Outcome.WORTH_TRYING
    assert result.arrival is None
    assert plan_from_ratio(torch.zeros(100)).verdict.outcome == Outcome.POOL_MATCHES
    assert plan_from_ratio(exponential_tilt(torch.arange(100.0), 3.0)).verdict.outcome == Outcome.TOO_LITTLE_SUPPORT
    with pytest.raises(ValueError, match="NaN"):
        plan_from_ratio(torch.tensor([0.0, float("nan")]))
