"""The tests of shift agree with closed forms, and detect whether a selection removed a shift."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from rsft.evaluation.shift import TwoSample, auc_error, covariate_shift, two_sample


def normals(n: int, mean: float, seed: int, d: int = 3) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, d))
    x[:, 0] += mean
    return x


@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
def test_auc_and_its_error_agree_with_the_closed_form_for_two_normals(shift: float) -> None:
    expected = float(norm.cdf(shift / math.sqrt(2)))
    aucs = [two_sample(normals(400, 0, 2 * s), normals(400, shift, 2 * s + 1), seed=s).auc for s in range(20)]
    values = np.array([auc.value for auc in aucs])
    error = auc_error(expected, 400, 400)
    # the classifier is estimated, so its AUC is slightly lower
    assert abs(values.mean() - expected) < 5 * error / math.sqrt(20) + 0.01
    assert values.std() < 2 * error


def test_mmd_is_unbiased_for_equal_samples_and_positive_for_different_ones() -> None:
    same = [two_sample(normals(300, 0, 2 * s), normals(300, 0, 2 * s + 1), seed=s).mmd for s in range(20)]
    values = np.array([mmd.value for mmd in same])
    assert abs(values.mean()) < 5 * values.std() / math.sqrt(20)
    far = two_sample(normals(300, 0, 0), normals(300, 1, 1)).mmd
    assert far.low is not None
    assert far.low > 0


def test_samples_of_wrong_shape_or_size_are_rejected() -> None:
    with pytest.raises(ValueError, match="one width"):
        two_sample(normals(10, 0, 0), normals(10, 0, 0, d=2))
    with pytest.raises(ValueError, match="at least 5"):
        two_sample(normals(10, 0, 0), normals(3, 0, 0))


def test_covariate_shift_is_found_before_and_gone_after_the_selection() -> None:
    generator = np.random.default_rng(0)
    light = np.where(generator.random(5000) < 0.2, generator.normal(20, 5, 5000), generator.normal(100, 5, 5000))
    pool = {"light": light, "yaw": generator.normal(size=5000), "only here": light}
    target = {"light": generator.normal(20, 5, 400), "yaw": generator.normal(size=400)}
    rows = covariate_shift(pool, target, np.flatnonzero(light < 50))
    assert [row.name for row in rows] == ["light", "yaw"]
    first = rows[0]
    assert first.before.high is not None
    assert first.after.low is not None
    assert first.after.high is not None
    assert first.before.high < 0
    assert first.after.low < 0 < first.after.high
    assert first.ks_before > 0.7
    assert first.ks_after < 0.15


def coverage(grouped: bool) -> float:
    """Return how often the interval of the difference of means holds 0, for 25 target items eight times each."""
    held = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        pool, target = generator.normal(size=2000), np.repeat(generator.normal(size=25), 8)
        groups = np.repeat(np.arange(25), 8) if grouped else None
        before = covariate_shift({"x": pool}, {"x": target}, np.arange(2000), groups)[0].before
        held += before.low <= 0 <= before.high  # type: ignore[operator]
    return held / 200


def test_intervals_hold_for_repeated_items_if_groups_count() -> None:
    assert coverage(grouped=True) > 0.95 - 5 * math.sqrt(0.95 * 0.05 / 200)
    assert coverage(grouped=False) < 0.7  # the wrong rule: counts by items


def test_the_errors_of_a_two_sample_test_are_those_of_the_different_items() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(400, 3)), generator.normal(size=(40, 3)) + 0.4
    groups = np.arange(400), 400 + np.repeat(np.arange(40), 10)
    folds = np.arange(400) % 5, np.repeat(np.arange(40) % 5, 10)
    once = two_sample(a, b, folds=(folds[0], np.arange(40) % 5))
    often = two_sample(a, b.repeat(10, 0), folds=folds, groups=groups)
    wrong = two_sample(a, b.repeat(10, 0), folds=folds)

    def widths(found: TwoSample) -> np.ndarray:
        return np.array([each.high - each.low for each in (found.auc, found.mmd)])  # type: ignore[operator]

    np.testing.assert_allclose(widths(often), widths(once), rtol=0.2)
    assert (widths(wrong) < 0.6 * widths(once)).all()
    assert often.mmd.value == pytest.approx(once.mmd.value, abs=0.01)  # no pair of an item with itself


def test_groups_of_one_change_nothing() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(200, 3)), generator.normal(size=(100, 3)) + 0.4
    assert two_sample(a, b, groups=(np.arange(200), 200 + np.arange(100))) == two_sample(a, b)
