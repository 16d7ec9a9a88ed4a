"""Tests of the rows that repeat one another: how they are found, dealt to folds and counted."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from rsft import fit_ratio
from rsft.groups import effective_number, joined
from rsft.ratio.crossfit import CrossFittedRatio, as_good
from rsft.ratio.repeats import Repeats, find_repeats
from rsft.ratio.rows import both_sides
from rsft.ratio.sample import draw_sample

SIDES = Callable[[], tuple[torch.Tensor, torch.Tensor]]


def normals(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def found(pool: torch.Tensor, target: torch.Tensor, target_groups: torch.Tensor | None = None) -> Repeats:
    return find_repeats(*both_sides(pool, target), target_groups)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.integers(0, 5))
def test_groupings_are_joined_as_by_a_plain_search(first: list[int], seed: int) -> None:
    second = np.random.default_rng(seed).integers(0, 6, len(first))
    groups = list(range(len(first)))
    for _ in first:
        for a in range(len(first)):
            for b in range(len(first)):
                if first[a] == first[b] or second[a] == second[b]:
                    groups[b] = groups[a] = min(groups[a], groups[b])
    assert_array_equal(joined(np.array(first), second), np.unique(groups, return_inverse=True)[1])


def test_the_effective_number_is_that_of_a_mean_over_groups() -> None:
    """The mean of items whose value is that of their group has the variance sum n^2 / (sum n)^2."""
    groups = np.repeat([0, 1, 2], [1, 2, 5])
    means = np.random.default_rng(0).normal(size=(200_000, 3))[:, groups].mean(1)
    assert 1 / means.var() == pytest.approx(effective_number(groups), rel=5 * math.sqrt(2 / 200_000))
    assert effective_number(np.arange(7)) == 7.0


def test_equal_rows_are_found_within_each_side_and_between_them() -> None:
    pool, target = normals(100, 3, 0), normals(40, 3, 1)
    pool[7], target[[3, 9]], target[5] = pool[4], target[0].clone(), pool[4].clone()
    repeats = found(pool, target)
    assert repeats.pool[7] == repeats.pool[4] == repeats.target[5]
    assert repeats.target[0] == repeats.target[3] == repeats.target[9]
    assert len(np.unique(np.concatenate([repeats.pool, repeats.target]))) == 140 - 4
    assert repeats.figures() == {
        "shared_items": 1.0,
        "target_groups": 38.0,
        "target_effective_groups": 40**2 / (9 + 37),
    }


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.int32])
def test_equal_rows_are_found_in_each_number_format_and_across_shards(kind: torch.dtype) -> None:
    pool, target = ((1000 * normals(300, 12, seed)).to(kind) for seed in (0, 1))
    target[10] = pool[250]
    repeats = find_repeats(*both_sides([pool[:200], pool[200:].numpy()], target))
    assert repeats.target[10] == repeats.pool[250]
    assert repeats.figures()["shared_items"] == 1


def test_rows_that_differ_in_one_column_only_or_in_a_sign_of_zero() -> None:
    pool, target = normals(50, 40, 0), normals(50, 40, 1)
    target[:40] = pool[0]
    target[torch.arange(40), torch.arange(40)] += 1  # a different column for each
    assert found(pool, target).none
    pool[3], target[4] = 0.0, -0.0
    assert found(pool, target).shared_items == 1


@pytest.mark.parametrize(
    "coarse",
    [
        lambda x: (x > 0).float(),
        lambda x: torch.eye(5)[(x[:, 0] > 0).long() + (x[:, 1] > 0).long()],
        lambda x: (20 * x[:, :1]).round(),
        lambda x: (10 * x).round().clamp(-5, 5)[:, :2],
        torch.ones_like,
    ],
    ids=["binary", "one hot", "count", "two counts", "constant"],
)
def test_counts_and_classes_are_equal_by_chance(coarse: Callable[[torch.Tensor], torch.Tensor]) -> None:
    assert found(coarse(normals(600, 4, 0)), coarse(normals(200, 4, 1))).none


def test_a_pool_that_repeats_throughout_is_no_chance() -> None:
    pool, target = normals(300, 4, 0).repeat(3, 1), normals(40, 4, 1).repeat_interleave(5, 0)
    assert len(np.unique(found(pool, target).pool)) == 300
    assert found(pool, target).figures()["target_groups"] == 40


def few_often() -> tuple[torch.Tensor, torch.Tensor]:
    return normals(400, 5, 0), (normals(40, 5, 1) + 0.5).repeat_interleave(5, 0)


def same() -> tuple[torch.Tensor, torch.Tensor]:
    return normals(400, 5, 0), normals(400, 5, 0)


def some_shared() -> tuple[torch.Tensor, torch.Tensor]:
    return normals(400, 5, 0), torch.cat([normals(400, 5, 0)[::7], normals(50, 5, 1)])


def split(folds: np.ndarray, items: np.ndarray) -> int:
    """Count the items whose rows lie in several folds."""
    return sum(len(np.unique(folds[items == item])) > 1 for item in np.unique(items))


@pytest.mark.parametrize("sides", [few_often, same, some_shared])
@pytest.mark.parametrize("grouped", [False, True])
def test_what_repeats_is_in_one_fold_and_folds_stay_even(sides: SIDES, grouped: bool) -> None:
    pool, target = sides()
    groups = torch.arange(len(pool)) // 4 if grouped else None
    sample = draw_sample(*both_sides(pool, target), folds=5, groups=groups)
    folds = np.concatenate([sample.pool_fold, sample.target_fold])
    assert split(folds, np.concatenate([sample.repeats.pool, sample.repeats.target])) == 0
    if groups is not None:
        assert split(sample.pool_fold, groups.numpy()) == 0
    if not grouped:
        for fold, item in ((sample.pool_fold, sample.repeats.pool), (sample.target_fold, sample.repeats.target)):
            counts = [len(np.unique(item[fold == number])) for number in range(5)]
            assert max(counts) - min(counts) <= 1
    by_row = np.random.default_rng(0).permutation(len(folds)) % 5  # the wrong rule
    assert split(by_row, np.concatenate([sample.repeats.pool, sample.repeats.target])) > 10


def test_a_chain_of_pool_groups_equal_rows_and_target_groups_is_in_one_fold() -> None:
    pool, target = normals(60, 3, 0), normals(60, 3, 1)
    groups, target_groups = torch.arange(60), torch.arange(60)
    groups[[0, 1]], target_groups[[0, 1]] = 99, 99
    target[0], target[2], groups[3] = pool[1].clone(), pool[3].clone(), 99
    sample = draw_sample(*both_sides(pool, target), folds=5, groups=groups, target_groups=target_groups)
    assert len({*sample.pool_fold[[0, 1, 3]].tolist(), *sample.target_fold[[0, 1, 2]].tolist()}) == 1
    assert sample.repeats.target[0] != sample.repeats.target[2]  # people of one group, but other items


def test_without_repeats_the_folds_are_dealt_item_by_item() -> None:
    """The same folds as without the search, and as with groups of one."""
    pool, target = normals(103, 2, 0), normals(41, 2, 1)
    generator = np.random.default_rng(3)
    expected = []
    for items in (103, 41):
        dealt = (np.arange(items, dtype=np.uint32) % 10).astype(np.uint8)
        generator.shuffle(dealt)
        expected.append(dealt)
    for target_groups in (None, torch.arange(41)):
        sample = draw_sample(*both_sides(pool, target), seed=3, target_groups=target_groups)
        assert_array_equal(sample.pool_fold, expected[0])
        assert_array_equal(sample.target_fold, expected[1])
        assert sample.item is None


def test_fewer_different_items_than_folds_mean_fewer_folds() -> None:
    pool, target = normals(100, 3, 0), normals(4, 3, 1).repeat(10, 1)
    sample = draw_sample(*both_sides(pool, target))
    assert sorted(np.unique(sample.target_fold)) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"3 different items on each side.*the target 2"):
        draw_sample(*both_sides(pool, target[:2].repeat(20, 1)))
    with pytest.raises(ValueError, match=r"target_groups=...\)` needs one label for each of 40 items, got"):
        draw_sample(*both_sides(pool, target), target_groups=torch.arange(3))


def backwards(ratio: CrossFittedRatio) -> bool:
    return ratio.diagnostics["fold_auc"] < 0.4


@pytest.mark.parametrize("method", ["classifier", "quadratic", "kernel", "boosted", "least-squares"])
def test_the_ratio_of_a_sample_to_itself_is_one(method: str) -> None:
    pool, target = same()
    ratio = fit_ratio(pool, target, method)
    assert ratio.pool_log_ratio.std() < 0.05
    assert abs(ratio.diagnostics["fold_auc"] - 0.5) < 0.02
    assert not backwards(ratio)
    nearly = fit_ratio(pool, target + 0.01 * normals(400, 5, 2), method)  # the wrong rule: copies in other folds
    assert backwards(nearly) or method in ("boosted", "kernel", "least-squares")
    assert nearly.pool_log_ratio.std() < 0.2  # and yet nothing is turned round


def test_the_standard_error_counts_a_repeated_row_once() -> None:
    """A loss that is worse by two standard errors of ten items is not worse by one of their copies."""
    item = torch.arange(10).repeat_interleave(50)
    difference = normals(10, 1, 0)[:, 0].double()
    difference = (difference - difference.mean()) / difference.std()
    worse = (difference + 0.2)[item]  # 0.2 is below the error of ten, 1 / sqrt(10), and above that of 500
    assert as_good(worse, torch.zeros(500).double(), item)
    assert not as_good(worse, torch.zeros(500).double())
