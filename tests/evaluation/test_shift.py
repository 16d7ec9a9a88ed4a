"""The tests of shift agree with closed forms, and detect whether a selection removed a shift."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from rsft.evaluation.shift import auc_error, covariate_shift, two_sample


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
