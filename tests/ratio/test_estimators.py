"""Common tests of all estimators against exact ratios."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.distributions import Normal

from rsft import fit_ratio
from rsft.ratio import AUTO, METHODS
from rsft.ratio.calibration import BENT, STRAIGHT, fit_calibrations
from rsft.ratio.classifier import fit_classifier_ratio
from rsft.ratio.crossfit import CrossFittedRatio
from rsft.ratio.logistic import fit_logistic

ALL = [*METHODS, AUTO]


def normals(n: int, d: int, seed: int, mean: float = 0.0, spread: float = 1.0) -> Tensor:
    """Draw standard normal features, except that the first has this mean and spread."""
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    x[:, 0] = x[:, 0] * spread + mean
    return x


def shifted(n: int, d: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return pool, target and exact log ratio of N(1, 1) to N(0, 1), which is log-linear."""
    pool = normals(n, d, 0)
    return pool, normals(n, d, 1, mean=1.0), pool[:, 0] - 0.5


def narrowed(n: int, d: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return pool, target and exact log ratio of N(0.5, 0.8^2) to N(0, 1): bounded and not monotone."""
    pool = normals(n, d, 0)
    exact = Normal(0.5, 0.8).log_prob(pool[:, 0]) - Normal(0.0, 1.0).log_prob(pool[:, 0])
    return pool, normals(n, d, 1, 0.5, 0.8), exact


def steps(n: int, d: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return pool, target and exact log ratio, which is five times higher where the first feature exceeds 0.7."""
    generator = torch.Generator().manual_seed(0)
    pool, drawn = (torch.rand(m, d, generator=generator) for m in (n, 10 * n))
    level = {True: 5 / (1 + 4 * 0.3), False: 1 / (1 + 4 * 0.3)}
    kept = torch.rand(10 * n, generator=generator) < torch.where(drawn[:, 0] > 0.7, 1.0, 0.2)
    return pool, drawn[kept][:n], torch.where(pool[:, 0] > 0.7, math.log(level[True]), math.log(level[False]))


def normalised_error(log_ratio: Tensor, exact: Tensor) -> float:
    """Return the mean squared error of the ratio divided by the mean of the exact squared ratio."""
    r, truth = log_ratio.exp(), exact.exp()
    return float(((r - truth) ** 2).mean() / (truth**2).mean())


# About twice the measured errors; a constant ratio has .63, .21 and .41. None: the method cannot represent it.
BOUNDS: dict[str, tuple[float | None, float | None, float | None]] = {
    "classifier": (0.05, None, None),
    "quadratic": (0.10, 0.02, None),
    "kernel": (0.15, 0.03, 0.15),
    "boosted": (0.30, 0.04, 0.03),
    "least-squares": (0.55, 0.15, 0.20),
    AUTO: (0.05, 0.03, 0.03),
}


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize(("pair", "column"), [(shifted, 0), (narrowed, 1), (steps, 2)])
def test_the_normalised_error_is_bounded(method: str, pair, column: int) -> None:  # type: ignore[no-untyped-def]
    bound = BOUNDS[method][column]
    if bound is None:
        pytest.skip("the method cannot represent this ratio")
    pool, target, exact = pair(4000, 4)
    ratio = fit_ratio(pool, target, method)
    assert normalised_error(ratio.pool_log_ratio, exact) < bound
    assert abs(ratio.diagnostics["mean_ratio"] - 1) < 5 * ratio.diagnostics["mean_ratio_error"]
    assert ratio.pool_log_ratio.shape == (4000,)
    assert ratio.target_log_ratio.dtype == torch.float64


@pytest.mark.parametrize("pair", [narrowed, steps])
def test_the_largest_ratio_is_estimated_within_20_percent(pair) -> None:  # type: ignore[no-untyped-def]
    pool, target, exact = pair(5000, 4)
    largest = fit_ratio(pool, target, AUTO).pool_log_ratio.max().exp()
    assert float(largest) == pytest.approx(float(exact.max().exp()), rel=0.2)


@pytest.mark.parametrize("method", ALL)
def test_seeds_and_shapes_are_kept_and_bad_input_is_refused(method: str) -> None:
    pool, target, _ = shifted(400, 3)
    one, again, other = (fit_ratio(pool, target, method, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.pool_log_ratio, again.pool_log_ratio)
    assert not torch.equal(one.pool_log_ratio, other.pool_log_ratio)
    assert one.log_ratio(pool[:7]).shape == (7,)
    assert one.log_ratio(pool[:0]).shape == (0,)
    with pytest.raises(ValueError, match=r"\(n, 3\), got \(5, 2\)"):
        one.log_ratio(torch.zeros(5, 2))
    with pytest.raises(ValueError, match="1 rows, the first at row 7"):
        fit_ratio(pool.index_fill(0, torch.tensor([7]), math.inf), target, method)
    with pytest.raises(ValueError, match="Add target pictures"):
        fit_ratio(pool, target[:2], method)


@pytest.mark.parametrize("method", ["classifier", "kernel", "boosted", "least-squares"])
def test_the_ratio_is_one_if_pool_and_target_do_not_differ(method: str) -> None:
    ratio = fit_ratio(normals(2000, 4, 0), normals(2000, 4, 1), method)
    assert float(ratio.pool_log_ratio.abs().mean()) < 0.15
    assert abs(ratio.diagnostics["auc"] - 0.5) < 5 * math.sqrt(1 / 12 * (2 / 2000))


def test_auto_prefers_a_simple_method_and_reports_all_losses() -> None:
    pool, target, _ = shifted(2000, 4)
    ratio = fit_ratio(pool, target, AUTO)
    assert ratio.method == "classifier"
    assert {f"cross_entropy_{name}" for name in METHODS} <= set(ratio.diagnostics)
    pool, target, _ = steps(3000, 4)
    assert fit_ratio(pool, target, AUTO).method == "boosted"


@pytest.mark.parametrize(("options", "trained_on", "fits"), [({}, 800, 2), ({"max_items": 150}, 300, 1)])
def test_auto_refits_the_best_method_only_if_more_items_are_available(
    options: dict[str, int], trained_on: int, fits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(pool: Tensor, target: Tensor, **given: int) -> CrossFittedRatio:
        calls.append(given)
        return fit_classifier_ratio(pool, target, **given)

    monkeypatch.setattr("rsft.ratio.CONTEST_ITEMS", 400)
    monkeypatch.setattr("rsft.ratio.METHODS", {"classifier": counted})
    pool, target, _ = shifted(400, 2)
    ratio = fit_ratio(pool, target, AUTO, **options)
    assert ratio.diagnostics["items_trained_on"] == trained_on
    assert len(calls) == fits


@pytest.mark.parametrize("alpha", [0.1, 0.5])
def test_relative_least_squares_estimates_the_plain_ratio(alpha: float) -> None:
    pool, target, exact = narrowed(4000, 2)
    ratio = fit_ratio(pool, target, "least-squares", alpha=alpha)
    assert normalised_error(ratio.pool_log_ratio, exact) < 0.1
    with pytest.raises(ValueError, match="alpha"):
        fit_ratio(pool, target, "least-squares", alpha=1.0)


def test_fit_logistic_agrees_with_scikit_learn() -> None:
    """Several problems are solved at once, also with more features than items and with perfect separation."""
    generator = torch.Generator().manual_seed(0)
    for n, d, shift in ((400, 5, 1.0), (60, 100, 1.0), (200, 3, 8.0)):
        x = torch.randn(n, d, generator=generator)
        y = (torch.arange(n) % 2).float()
        x[:, 0] += shift * y
        weight = (torch.rand(3, n, generator=generator) < 0.7).float()
        penalty = torch.tensor([0.5, 5.0, 50.0])
        weights, biases = fit_logistic(x, y, weight, penalty, gap=1e-10)
        for row, c in enumerate(1 / penalty):
            kept = weight[row] > 0
            oracle = LogisticRegression(C=float(c), tol=1e-10, max_iter=10_000).fit(x[kept], y[kept])
            np.testing.assert_allclose(weights[row], oracle.coef_[0], atol=2e-3)
            assert float(biases[row]) == pytest.approx(float(oracle.intercept_[0]), abs=2e-3)


def test_calibration_recovers_a_line_and_a_bend() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(100_000, generator=generator)
    for knots, odds in ((STRAIGHT, 2 * scores - 1), (BENT, 2 * scores - 1), (BENT, scores.clamp(max=0.0))):
        y = (torch.rand(len(scores), generator=generator) < torch.sigmoid(odds)).float()
        (calibration,) = fit_calibrations(3 * scores + 7, y, torch.ones(1, len(y)), knots)
        below = scores < scores.quantile(knots[-1] if knots else 1.0)  # above it the calibration is flat
        assert float((calibration(3 * scores + 7) - odds).abs()[below].mean()) < 0.05


def test_groups_stay_in_one_fold() -> None:
    """Each person has a nuisance trait. A model that saw the person in training could infer the side from it."""
    generator = torch.Generator().manual_seed(0)
    people = torch.arange(60).repeat_interleave(10)
    traits = torch.randn(60, 100, generator=generator)
    pool = traits[people] + 0.01 * torch.randn(600, 100, generator=generator)
    target = torch.randn(300, 100, generator=generator)
    ratio = fit_ratio(pool, target, groups=people)
    for person in range(60):
        assert len(np.unique(ratio.pool_fold[people == person])) == 1
    assert ratio.diagnostics["auc"] < fit_ratio(pool, target).diagnostics["auc"] - 0.05
    with pytest.raises(ValueError, match=r"needs \(600,\) groups"):
        fit_ratio(pool, target, groups=people[:5])
    with pytest.raises(ValueError, match="got 2 pool items or groups"):
        fit_ratio(pool, target, groups=people % 2)


def test_shards_in_half_precision_give_the_ratio_of_the_whole_table(tmp_path: Path) -> None:
    pool, target, _ = shifted(3000, 8)
    whole = pool.half()
    parts = []
    for number, rows in enumerate(torch.tensor_split(whole, [100, 100, 2000])):
        np.save(tmp_path / f"{number}.npy", rows.numpy())
        parts.append(np.load(tmp_path / f"{number}.npy", mmap_mode="r"))
    in_parts, at_once = (fit_ratio(x, target).pool_log_ratio for x in (parts, whole.float()))
    torch.testing.assert_close(in_parts, at_once, atol=1e-5, rtol=0)  # different blocks round differently
    broken = whole.clone()
    broken[2500, 3] = math.nan
    with pytest.raises(ValueError, match="first at row 2500"):
        fit_ratio(list(torch.tensor_split(broken, [1000])), target)
    with pytest.raises(ValueError, match="no features"):
        fit_ratio(pool[:, :0], target[:, :0])


def test_items_beyond_max_items_are_scored_too() -> None:
    pool, target, exact = shifted(20_000, 4)
    ratio = fit_ratio(pool, target, max_items=2000)
    assert ratio.diagnostics["items_trained_on"] == 4000
    assert normalised_error(ratio.pool_log_ratio, exact) < 0.05


def test_the_ratio_is_finite_under_perfect_separation() -> None:
    ratio = fit_ratio(normals(200, 3, 0), normals(200, 3, 1, mean=50.0))
    assert torch.isfinite(ratio.pool_log_ratio).all()
    assert ratio.diagnostics["auc"] == 1


def test_constant_features_have_no_effect() -> None:
    ratio = fit_ratio(torch.ones(100, 2), torch.ones(100, 2))
    assert ratio.diagnostics["constant_features"] == 2
    torch.testing.assert_close(ratio.pool_log_ratio, torch.zeros(100, dtype=torch.float64), atol=0.1, rtol=0)
