"""A target kept as few numbers tells what its items would tell."""

import json
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import chi2, kstest

from rsft.evaluation.covariate_summary import (
    MIN_KEPT,
    CovariateSummary,
    auc_of,
    items_to_tell,
    one_law_p,
    summarise_covariates,
    told_auc,
)

WIDTH = 6
MIXED = np.tril(np.ones((WIDTH, WIDTH)))  # of correlated covariates


def sample(items: int, seed: int, shift: float = 0.0) -> dict[str, np.ndarray]:
    """Draw correlated covariates; the first is moved by so many of its standard deviations."""
    rows = np.random.default_rng(seed).normal(size=(items, WIDTH)) @ MIXED
    rows[:, 0] += shift * np.sqrt(WIDTH)
    return {f"c{place}": column for place, column in enumerate(rows.T)}


def kept(covariates: dict[str, np.ndarray]) -> CovariateSummary:
    found = summarise_covariates(covariates, np.arange(len(covariates["c0"])))
    assert found is not None
    return found


def test_one_law_alarms_as_often_as_it_says() -> None:
    """The probabilities of the AUC are uniform, as a wrong number of items or an inverse not pooled would not be."""
    found = [kept(sample(60, seed)).difference(sample(90, 10_000 + seed), np.arange(90)) for seed in range(500)]
    assert kstest([one.auc_p for one in found], "uniform").pvalue > 1e-4
    assert np.mean([one.unsupported_p < 0.05 for one in found]) <= 0.05 + 5 * np.sqrt(0.05 * 0.95 / 500)
    # the first sample as the others see each of its items: without that, its share would be nearly none
    told = [[one.unsupported_then for one in found], [one.unsupported.value or 0.0 for one in found]]
    assert abs(np.mean(told[0]) - np.mean(told[1])) < 5 * np.std(told) / np.sqrt(500)


@pytest.mark.parametrize("width", [6, 60])
def test_one_law_alarms_as_often_as_it_says_of_many_features_too(width: int) -> None:
    """Components that were found with an eye to the samples would alarm in nearly every call."""
    generator = np.random.default_rng(width)
    mixed = generator.normal(size=(width, width))
    found = []
    for _ in range(300):
        first, second = (generator.normal(size=(items, width)) @ mixed for items in (60, 90))
        found.append(one_law_p(first, second, (60, 90)))
    assert kstest(found, "uniform").pvalue > 1e-4
    assert one_law_p(first, second + 1.5 * mixed[0], (60, 90)) < 1e-4


def test_the_auc_is_that_of_the_law() -> None:
    one = kept(sample(4000, 0)).difference(sample(4000, 1, shift=0.5), np.arange(4000))
    gap = np.r_[0.5 * np.sqrt(WIDTH), np.zeros(WIDTH - 1)]
    wanted = auc_of(float(np.sqrt(gap @ np.linalg.solve(MIXED.T @ MIXED, gap))))
    assert one.auc.low is not None
    assert one.auc.high is not None
    assert one.auc.low < wanted < one.auc.high
    assert one.auc_p < 1e-9


def test_the_share_outside_is_that_of_each_item_by_the_others() -> None:
    covariates = sample(MIN_KEPT + 10, 3)
    covariates["c2"][:5] += 40
    rows = np.column_stack(list(covariates.values()))
    squared = []
    for item in range(len(rows)):
        others = np.delete(rows, item, 0)
        gap = rows[item] - others.mean(0)
        squared.append(gap @ np.linalg.solve(np.cov(others, rowvar=False), gap))
    assert kept(covariates).outside_fraction == pytest.approx((np.array(squared) > chi2.ppf(0.99, WIDTH)).mean(), 1e-3)


def test_the_changes_are_in_units_of_the_first_sample() -> None:
    first, second = sample(500, 0), sample(300, 1, shift=2.0)
    changes = kept(first).changes(second, np.arange(300))
    assert changes[0].name == "c0"
    assert changes[0].difference.value == pytest.approx(
        (second["c0"].mean() - first["c0"].mean()) / first["c0"].std(ddof=1), rel=1e-3
    )
    assert changes[0].then == pytest.approx(first["c0"].mean(), rel=1e-3)
    assert [abs(one.difference.value or 0) for one in changes] == sorted(
        (abs(one.difference.value or 0) for one in changes), reverse=True
    )
    json.dumps([one.to_dict() for one in changes])


def test_repeats_count_once_and_too_few_items_are_not_kept() -> None:
    assert summarise_covariates(sample(MIN_KEPT - 1, 0), np.arange(MIN_KEPT - 1)) is None
    assert summarise_covariates(sample(10 * MIN_KEPT, 0), np.arange(10 * MIN_KEPT) // 20) is None
    shifted, summary = sample(100, 1, shift=0.3), kept(sample(200, 0))
    often = {name: values.repeat(10) for name, values in shifted.items()}
    once, repeated = summary.difference(shifted, np.arange(100)), summary.difference(often, np.arange(1000) // 10)
    assert repeated.auc_p == pytest.approx(once.auc_p, rel=0.1)


def test_a_constant_covariate_that_moves_is_seen() -> None:
    first, second = sample(100, 0), sample(100, 1)
    first["c5"], second["c5"] = np.zeros(100), np.full(100, 3.0)
    same = kept(first).difference(sample(100, 1) | {"c5": np.zeros(100)}, np.arange(100))
    moved = kept(first).difference(second, np.arange(100))
    assert same.auc_p > 1e-4
    assert moved.auc_p < 1e-9
    assert moved.unsupported.value == 1.0


def test_so_many_items_tell_an_auc_four_times_in_five() -> None:
    p = 0.01
    wanted = told_auc(200, 150, WIDTH, p)
    assert wanted is not None
    distance = np.sqrt(2) * NormalDist().inv_cdf(wanted)
    along = np.sqrt(np.ones(WIDTH) @ np.linalg.solve(MIXED.T @ MIXED, np.ones(WIDTH)))
    told = 0
    for seed in range(400):
        second = {name: values + distance / along for name, values in sample(150, 5000 + seed).items()}
        told += kept(sample(200, seed)).difference(second, np.arange(150)).auc_p < p
    assert abs(told / 400 - 0.8) < 5 * np.sqrt(0.8 * 0.2 / 400)
    needed = items_to_tell(wanted, 200, WIDTH, p)
    assert needed is not None
    assert abs(needed - 150) <= 1
    assert items_to_tell(0.51, 60, WIDTH, p) is None
    assert told_auc(4, 2, WIDTH, p) is None
