"""Common tests of all estimators against exact ratios."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.distributions import Normal

from rsft import fit_ratio
from rsft.ratio import AUTO, METHODS
from rsft.ratio.calibration import BENT, STRAIGHT, fit_calibrations
from rsft.ratio.classifier import _fourier_expansions, _squares, fit_classifier_ratio
from rsft.ratio.crossfit import Alternative, CrossFittedRatio, Score, as_good, cross_fitted
from rsft.ratio.logistic import fit_logistic
from rsft.ratio.rows import both_sides
from rsft.ratio.sample import Sample, draw_sample

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
    with pytest.raises(ValueError, match="needs one label for each of 600 items"):
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


def exact_odds(sample: Sample, shift: float) -> list[Score]:
    """One score for each fold: the exact log odds of N(1, 1) against N(0, 1), and `shift` times the fold's number."""
    prior = math.log(float(sample.y.sum()) / float(len(sample.y) - sample.y.sum()))

    def of_fold(fold: int) -> Score:
        return lambda x: (x * sample.spread + sample.mean)[:, 0] - 0.5 + prior + shift * fold

    return [of_fold(fold) for fold in range(int(sample.fold.max()) + 1)]


@pytest.mark.parametrize("shift", [0.0, 0.01])
def test_exact_log_odds_are_kept_by_the_fold_of_each_item_and_averaged_for_new_ones(shift: float) -> None:
    pool, target, exact = shifted(3000, 1)
    target = target[:1000]
    sides = both_sides(pool, target)
    sample = draw_sample(*sides, folds=5)
    wrong: list[Score] = [lambda x: torch.sin(50 * x[:, 0])] * 5
    alternatives = [Alternative({"kind": 0.0}, wrong), Alternative({"kind": 1.0}, exact_odds(sample, shift))]
    ratio = cross_fitted("exact", *sides, sample, alternatives)
    of_pool, of_target = (torch.from_numpy(fold.astype(float)) for fold in (sample.pool_fold, sample.target_fold))
    torch.testing.assert_close(ratio.pool_log_ratio, exact.double() + shift * of_pool, atol=1e-5, rtol=0)
    truth = target[:, 0].double() - 0.5
    torch.testing.assert_close(ratio.target_log_ratio, truth + shift * of_target, atol=1e-5, rtol=0)
    torch.testing.assert_close(ratio.log_ratio(target), truth + shift * 2, atol=1e-5, rtol=0)  # mean of 0 ... 4
    # the diagnostics by their definitions
    odds = torch.cat([ratio.pool_log_ratio, ratio.target_log_ratio]) + math.log(1000 / 3000)
    y = torch.cat([torch.zeros(3000), torch.ones(1000)]).double()
    loss = -(y * torch.sigmoid(odds).log() + (1 - y) * torch.sigmoid(-odds).log())
    torch.testing.assert_close(ratio.held_out_loss, loss, atol=1e-5, rtol=0)
    plain = ratio.pool_log_ratio.exp()
    wins = (odds[y == 1][:, None] > odds[y == 0]).double()
    alike = of_target[:, None] == of_pool
    expected = {
        "auc": float(wins.mean()),
        "fold_auc": float(wins[alike].mean()),
        "cross_entropy": float(loss.mean()),
        "kind": 1.0,
        "constant_features": 0.0,
        "items_trained_on": 4000.0,
        "target_items_trained_on": 1000.0,
        "mean_ratio": float(plain.mean()),
        "mean_ratio_error": float(plain.std()) / math.sqrt(3000),
        "shared_items": 0.0,
        "target_groups": 1000.0,
        "target_effective_groups": 1000.0,
    }
    assert ratio.diagnostics == pytest.approx(expected, abs=1e-4)
    assert ratio.method == "exact"


def test_folds_are_of_nearly_equal_size_and_hold_out_every_item_once() -> None:
    pool, target, _ = shifted(103, 2)
    sample = draw_sample(*both_sides(pool, target[:41]), folds=4, max_items=60, seed=1)
    assert sorted(np.bincount(sample.pool_fold)) == [25, 26, 26, 26]
    assert sorted(np.bincount(sample.target_fold)) == [10, 10, 10, 11]
    assert (np.diff(sample.pool_fold.astype(int)) != 0).mean() > 0.5  # dealt at random, not in blocks
    rows = sample.pool_rows
    assert len(rows) == len(set(rows.tolist())) == 60
    assert (np.diff(rows) > 0).all()
    assert rows.max() >= 60  # drawn from the whole pool
    assert sample.y.tolist() == [0.0] * 60 + [1.0] * 41
    assert sample.fold.tolist() == [*sample.pool_fold[rows].tolist(), *sample.target_fold.tolist()]
    drawn = torch.cat([pool[torch.from_numpy(rows)], target[:41]])
    expected = (drawn - drawn.mean(0)) / drawn.std(0, correction=0)
    torch.testing.assert_close(sample.x, expected, atol=1e-5, rtol=0)
    for fold in range(4):
        assert sample.others(fold).tolist() == [other != fold for other in sample.fold.tolist()]


@pytest.mark.parametrize(("items", "folds"), [(3, 2), (2, 3), (4, 5)])
def test_fewer_than_three_folds_or_fewer_items_than_folds_are_refused(items: int, folds: int) -> None:
    pool, target, _ = shifted(20, 1)
    for sides in ((pool, target[:items]), (pool[:items], target)):
        with pytest.raises(ValueError, match="at least as many items on each side as folds, and 3 folds"):
            draw_sample(*both_sides(*sides), folds=folds)
    assert len(draw_sample(*both_sides(pool[:3], target[:3]), folds=3).y) == 6


def test_a_loss_is_as_good_up_to_one_standard_error_of_the_paired_difference() -> None:
    other = torch.linspace(0, 1, 100, dtype=torch.float64)
    noise = torch.tensor([1.0, -1.0] * 50, dtype=torch.float64)
    error = float(noise.std()) / 10
    assert as_good(other + noise + 0.99 * error, other)
    assert not as_good(other + noise + 1.01 * error, other)
    assert as_good(other, other)
    assert as_good(other - 1, other)


@pytest.mark.parametrize("width", [3, 35, 36])
def test_the_quadratic_expansion_has_all_products_of_up_to_35_features(width: int) -> None:
    """35 features have 595 products of two; 36 have 630, more than `MAX_PRODUCTS`, and only the squares are used."""
    x = normals(7, width, 0)
    found = {tuple(column.tolist()) for column in _squares(x).T}
    products = [(i, j) for i in range(width) for j in range(i, width) if width < 36 or i == j]
    expected = [*x.T, *(x[:, i] * x[:, j] for i, j in products)]
    assert _squares(x).shape == (7, len(expected))
    assert found == {tuple(column.tolist()) for column in expected}


def test_fourier_features_approximate_the_gaussian_kernel_at_half_one_and_two_median_distances() -> None:
    """The mean of 2 cos(w x + b) cos(w y + b) is exp(-|x - y|^2 / 2 bandwidth^2), within 5 standard errors."""
    x = normals(300, 3, 0)
    distance = torch.cdist(x, x)
    median = float(distance[~torch.eye(300, dtype=torch.bool)].median())
    found = list(_fourier_expansions(x, seed=0))
    assert [settings for settings, _ in found] == [{"bandwidth": 0.5}, {"bandwidth": 1.0}, {"bandwidth": 2.0}]
    for settings, expand in found:
        waves = expand(x)
        assert torch.equal(waves[:, :3], x)
        estimate = 2 * waves[:, 3:] @ waves[:, 3:].T / 500
        kernel = torch.exp(-((distance / (settings["bandwidth"] * median)) ** 2) / 2)
        assert float((estimate - kernel).abs().mean()) < 5 / math.sqrt(500) / 2
        assert abs(float((estimate - kernel).mean())) < 0.03


def test_a_penalty_shrinks_the_weights_and_its_choice_is_reported() -> None:
    pool, target, _ = shifted(500, 2)
    spread = [float(fit_ratio(pool, target, penalties=[p]).pool_log_ratio.std()) for p in (1e-6, 1e-3)]
    assert spread[0] == pytest.approx(spread[1], rel=0.05)
    assert fit_ratio(pool, target, penalties=[0.03]).diagnostics["penalty"] == 0.03
    losses = {p: fit_ratio(pool, target, penalties=[p]).diagnostics["cross_entropy"] for p in (0.3, 1e-3)}
    chosen = fit_ratio(pool, target, penalties=[0.3, 1e-3]).diagnostics
    assert chosen["cross_entropy"] == pytest.approx(min(losses.values()), abs=1e-3)


def test_scores_that_are_all_equal_are_calibrated_to_the_odds_of_the_labels() -> None:
    y = (torch.arange(100) < 25).float()
    weight = torch.stack([torch.ones(100), (torch.arange(100) < 50).float()])
    for knots in (STRAIGHT, BENT):
        for calibration, share in zip(
            fit_calibrations(torch.full((100,), 2.0), y, weight, knots), (0.25, 0.5), strict=True
        ):
            found = calibration(torch.tensor([2.0]))
            assert float(found[0]) == pytest.approx(math.log(share / (1 - share)), abs=1e-3)


def test_a_bent_calibration_is_flat_above_its_last_knot_and_straight_between_knots() -> None:
    scores = torch.linspace(0, 1, 1001)
    y = (torch.arange(1001) % 3 == 0).float()
    (calibration,) = fit_calibrations(scores, y, torch.ones(1, 1001), BENT)
    top = calibration(torch.tensor([0.95, 0.97, 1.0, 5.0]))
    assert float(top.max() - top.min()) < 1e-4
    for low, high in ((-1.0, 0.5), (0.5, 0.8), (0.8, 0.95)):
        ends = calibration(torch.tensor([low, (low + high) / 2, high]))
        assert float(ends[1]) == pytest.approx(float(ends[0] + ends[2]) / 2, abs=1e-4)


def test_the_ratio_of_no_items_is_an_empty_double() -> None:
    pool, target, _ = shifted(50, 2)
    found = fit_ratio(pool, target).log_ratio(pool[:0])
    assert (found.shape, found.dtype) == ((0,), torch.float64)


def test_fit_logistic_agrees_with_scikit_learn_where_a_full_step_overshoots() -> None:
    """Of 2,000 items 10 are positive and far away: the curvature at the start is far below that on the way."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 4, generator=generator)
    y = (torch.arange(2000) < 10).float()
    x[:10] += 5
    weights, biases = fit_logistic(x, y, torch.ones(1, 2000), torch.tensor([0.1]), gap=1e-9)
    oracle = LogisticRegression(C=10, tol=1e-10, max_iter=10_000).fit(x, y)
    np.testing.assert_allclose(weights[0], oracle.coef_[0], atol=1e-2)
    assert float(biases[0]) == pytest.approx(float(oracle.intercept_[0]), abs=2e-2)


def test_a_step_that_does_not_lower_the_loss_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    """By symmetry the intercept is 0. Five items without weight make the first step a full 3 d, at odds of 9 d.

    Of the items at 3, a share of 1/2 + d is positive. The loss of each is log 2 at the start and
    log(2 cosh(4.5 d)) - 9 d^2 after a full step: the same at this d, where half of the step lowers it.
    """
    d = float(brentq(lambda d: math.log(math.cosh(4.5 * d)) - 9 * d**2, 0.1, 0.3, xtol=1e-15))
    x = torch.tensor([3.0, 3, -3, -3, 0, 0, 0, 0, 0], dtype=torch.float64)[:, None]
    y = torch.tensor([1.0, 0, 0, 1, 0, 0, 0, 0, 0], dtype=torch.float64)
    weight = torch.tensor([[0.5 + d, 0.5 - d] * 2 + [0.0] * 5], dtype=torch.float64)
    penalty = torch.tensor([1e-12], dtype=torch.float64)
    monkeypatch.setattr("rsft.ratio.logistic.MAX_STEPS", 1)
    weights, biases = fit_logistic(x, y, weight, penalty)
    assert float(weights) == pytest.approx(1.5 * d)
    assert float(biases) == pytest.approx(0, abs=1e-12)
    monkeypatch.setattr("rsft.ratio.logistic.MAX_STEPS", 200)
    weights, _ = fit_logistic(x, y, weight, penalty, gap=1e-12)
    assert float(weights) == pytest.approx(math.log((0.5 + d) / (0.5 - d)) / 3, rel=1e-5)


@pytest.mark.parametrize("knots", [STRAIGHT, BENT])
def test_a_calibration_minimises_the_loss_with_penalties_of_one_for_the_slope_and_three_for_each_bend(
    knots: tuple[float, ...],
) -> None:
    """By a general minimiser. A bend counts by the spread of its column, the slope by that of the scores.

    Without the limit, one of the slopes would be negative here.
    """
    scores = normals(60, 1, 0)[:, 0].double()
    y = (torch.arange(60) % 3 == 0).double() * (scores > -0.5)
    (calibration,) = fit_calibrations(5 * scores + 2, y, torch.ones(1, 60, dtype=torch.float64), knots)
    z = ((scores - scores.mean()) / scores.std()).numpy()
    at = np.quantile(z, knots)
    z = np.minimum(z, at[-1]) if knots else z
    columns = np.stack([z, *(np.maximum(z - knot, 0) for knot in at[:-1])], 1)
    strength = np.array([1.0, *(3 * columns[:, 1:].std(0, ddof=1) ** 2)])

    def loss(given: np.ndarray) -> float:
        odds = columns @ given[1:] + given[0]
        return float((np.logaddexp(0, odds) - y.numpy() * odds).sum() + (strength * given[1:] ** 2).sum() / 2)

    rising = {"type": "ineq", "fun": lambda given: np.cumsum(given[1:])}
    best = minimize(loss, np.zeros(1 + columns.shape[1]), method="SLSQP", constraints=rising, tol=1e-12).x
    np.testing.assert_allclose(calibration(5 * scores + 2), columns @ best[1:] + best[0], atol=1e-3)


@pytest.mark.parametrize("method", list(METHODS))
def test_a_ratio_knows_its_method(method: str) -> None:
    pool, target, _ = shifted(100, 2)
    assert fit_ratio(pool, target, method).method == method


@pytest.mark.parametrize(("method", "bend"), [("classifier", False), ("quadratic", True), ("kernel", True)])
def test_flexible_methods_prefer_the_calibration_with_a_flat_tail(
    method: str, bend: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may overestimate the largest ratios; a line cannot."""
    preferred = []

    def seen(*given: Any, bend: bool) -> CrossFittedRatio:
        preferred.append(bend)
        return cross_fitted(*given, bend=bend)

    monkeypatch.setattr("rsft.ratio.classifier.cross_fitted", seen)
    pool, target, _ = shifted(100, 2)
    fit_ratio(pool, target, method)
    assert preferred == [bend]


def test_the_kernel_method_adds_500_waves_to_the_features() -> None:
    x = normals(50, 3, 0)
    assert [expand(x).shape for _, expand in _fourier_expansions(x, seed=0)] == [(50, 503)] * 3


def test_each_bandwidth_is_tried_with_penalties_from_strong_to_almost_none(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[dict[str, float]] = []

    def seen(
        method: str, pool: Any, target: Any, sample: Sample, alternatives: list[Alternative], *, bend: bool
    ) -> Any:
        tried.extend(dict(alternative.settings) for alternative in alternatives)
        return cross_fitted(method, pool, target, sample, alternatives, bend=bend)

    monkeypatch.setattr("rsft.ratio.classifier.cross_fitted", seen)
    pool, target, _ = shifted(50, 2)
    penalties = (0.3, 0.03, 0.01, 0.001, 0.000001)
    for method in ("classifier", "kernel"):
        fit_ratio(pool, target, method)
    kernel = [{"bandwidth": bandwidth, "penalty": penalty} for bandwidth in (0.5, 1.0, 2.0) for penalty in penalties]
    assert tried == [*({"penalty": penalty} for penalty in penalties), *kernel]
