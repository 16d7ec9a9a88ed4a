import numpy as np
import pytest

from rsft.evaluation.support import USUAL, name_outside, support


def normals(n: int, mean: float, seed: int, d: int = 8) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, d))
    x[:, 0] += mean
    return x


def test_a_target_like_the_pool_has_hardly_any_items_outside() -> None:
    found = support(normals(4000, 0, 0), normals(1000, 0, 1))
    assert found.unsupported_fraction.low is not None
    assert found.unsupported_fraction.low < 1 - USUAL


def test_the_fraction_outside_is_estimated_and_its_covariate_named() -> None:
    """28 % of the target lies where the pool has no items."""
    target = normals(1000, 0, 1)
    target[:280, 1] += 12
    found = support(normals(4000, 0, 0), target)
    assert found.unsupported_fraction.value == pytest.approx(0.28, abs=0.01)
    assert found.outside[:280].all()
    pool = {"yaw": normals(4000, 0, 0)[:, 1], "light": normals(4000, 0, 0)[:, 2]}
    names = name_outside(pool, {"yaw": target[:, 1], "light": target[:, 2]}, found.outside, {"yaw": ("left", "right")})
    assert names == ["right"]


def test_a_sparse_part_of_the_pool_counts_as_support() -> None:
    """All of the target lies in a small cluster that holds 2 % of the pool."""
    pool = normals(4000, 0, 0)
    pool[:80, 0] += 20
    found = support(pool, normals(500, 20, 1))
    assert found.unsupported_fraction.value is not None
    assert found.unsupported_fraction.value < 0.1


def test_items_of_the_same_identity_do_not_count_as_neighbours() -> None:
    """Each identity is a tight cluster; new people are as far from the pool as its people are from each other."""
    generator = np.random.default_rng(0)
    people = np.repeat(np.arange(300), 5)
    pool = normals(300, 0, 0)[people] + 0.01 * generator.normal(size=(1500, 8))
    target = normals(300, 0, 1)
    plain, minded = support(pool, target), support(pool, target, identities=people)
    assert plain.outside.mean() > 0.5
    assert minded.outside.mean() < 0.05


def test_a_pool_of_one_identity_is_treated_as_without_identities() -> None:
    """There is no distance to other identities: infinite distances raised a warning and made nothing outside."""
    pool, target = normals(300, 0, 0), normals(200, 0, 1)
    target[:50, 1] += 12
    found = support(pool, target, identities=np.zeros(300, int))
    assert found.outside[:50].all()
    assert found.outside[50:].mean() < 0.05
    np.testing.assert_array_equal(found.outside, support(pool, target).outside)


def test_the_interval_of_the_fraction_outside_counts_groups() -> None:
    """Half of twelve clips is outside: the interval is that of 6 of 12, and not of 60 of 120 pictures."""
    pool, clips = normals(1000, 0, 0), normals(12, 0, 1)
    clips[:6, 1] += 30
    target, groups = clips.repeat(10, 0), np.repeat(np.arange(12), 10)
    of_clips = support(pool, clips).unsupported_fraction
    assert support(pool, target, target_groups=groups).unsupported_fraction == of_clips
    narrow = support(pool, target).unsupported_fraction  # the wrong rule: counts by items
    assert narrow.low is not None
    assert of_clips.low is not None
    assert narrow.low > of_clips.low + 0.1


def test_a_pool_of_pairs_is_no_emptier_if_the_copies_are_named() -> None:
    pool, target = normals(500, 0, 0).repeat(2, 0), normals(200, 0, 1)
    named = support(pool, target, identities=np.repeat(np.arange(500), 2))
    assert named.outside.mean() < 0.05
    assert support(pool, target).outside.mean() > 0.9  # the wrong rule: each row has a neighbour at distance 0
