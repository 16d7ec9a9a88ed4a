"""Tests of estimated ratios against exact ones, and of exact ratios against arithmetic."""

import math

import pytest
import torch
from torch.distributions import Normal

from rsft import attribute_ratio, density_ratio, fit_ratio
from rsft.ratio.combine import retain_pool


def gaussians(
    n: int, k: int, d: int, seed: int = 0, shift: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw a pool from N(0, I) and a target from N(shift e1, I); return both and the exact log ratio of the pool."""
    generator = torch.Generator().manual_seed(seed)
    pool, target = (torch.randn(m, d, generator=generator, dtype=torch.float64) for m in (n, k))
    target[:, 0] += shift
    return pool, target, shift * pool[:, 0] - shift**2 / 2


@pytest.mark.parametrize(
    ("n", "k", "d", "error"), [(5000, 2000, 2, 0.02), (5000, 5000, 64, 0.08), (4000, 500, 16, 0.15)]
)
def test_normalised_error_is_small(n: int, k: int, d: int, error: float) -> None:
    pool, target, exact = gaussians(n, k, d)
    ratio = fit_ratio(pool, target)
    r, truth = ratio.pool_log_ratio.exp(), exact.exp()
    assert ((r - truth) ** 2).mean() / (truth**2).mean() < error
    assert abs(ratio.diagnostics["mean_ratio"] - 1) < 5 * ratio.diagnostics["mean_ratio_error"]
    # The AUC of two unit normals at distance 1 is Phi(1 / sqrt(2)).
    assert ratio.diagnostics["auc"] == pytest.approx(Normal(0, 1).cdf(torch.tensor(1 / math.sqrt(2))).item(), abs=0.03)
    torch.testing.assert_close(ratio.log_ratio(pool), exact, atol=1.5, rtol=0)


def test_no_item_is_scored_by_a_model_that_saw_it() -> None:
    """With more features than items, a model separates its training items perfectly and others at chance level."""
    pool, target, _ = gaussians(60, 60, 200, shift=0.0)
    ratio = fit_ratio(pool, target)
    assert ratio.pool_log_ratio.abs().median() < 1
    assert ratio.log_ratio(pool).abs().median() > 5  # by all models, most of which saw the item
    assert abs(ratio.diagnostics["auc"] - 0.5) < 5 * math.sqrt(1 / 12 * (1 / 60 + 1 / 60))


def test_ratio_is_unchanged_by_scale_and_by_a_constant_feature() -> None:
    pool, target, _ = gaussians(500, 300, 3)
    plain = fit_ratio(pool, target).pool_log_ratio
    wide_pool, wide_target = (torch.cat([100 * x + 7, torch.ones(len(x), 1)], 1) for x in (pool, target))
    torch.testing.assert_close(fit_ratio(wide_pool, wide_target).pool_log_ratio, plain, atol=1e-3, rtol=1e-3)


def test_the_seed_determines_the_ratio() -> None:
    pool, target, _ = gaussians(300, 300, 2)
    one, again, other = (fit_ratio(pool, target, seed=seed).pool_log_ratio for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_bad_features_are_refused() -> None:
    pool, target, _ = gaussians(50, 50, 3)
    with pytest.raises(ValueError, match=r"\(n, 3\), got \(50, 2\).*one model"):
        fit_ratio(pool, target[:, :2])
    with pytest.raises(ValueError, match="1 rows, the first at row 7"):
        fit_ratio(pool.index_fill(0, torch.tensor([7]), math.nan), target)
    with pytest.raises(ValueError, match="Add target pictures"):
        fit_ratio(pool, target[:2])
    with pytest.raises(ValueError, match="needs one of"):
        fit_ratio(pool, target, "magic")
    with pytest.raises(ValueError, match="log_ratio"):
        fit_ratio(pool, target).log_ratio(pool[:, :2])


def test_attribute_ratio_matches_arithmetic() -> None:
    r = attribute_ratio([0, 0, 1, 1, 1, 1, 2, 2], {0: 0.5, 1: 0.5}).exp()
    assert r.tolist() == pytest.approx([2, 2, 1, 1, 1, 1, 0, 0])
    assert r.mean() == pytest.approx(1)
    with pytest.raises(ValueError, match=r"sum of 0\.9"):
        attribute_ratio([0, 1], {0: 0.5, 1: 0.4})
    with pytest.raises(ValueError, match=r"\['fog'\], which no pool item has"):
        attribute_ratio(["day"], {"day": 0.5, "fog": 0.5})


def test_density_ratio_sums_coordinates_and_refuses_uncovered_items() -> None:
    x = torch.randn(10, 3)
    expected = (x - 0.5).sum(1)
    torch.testing.assert_close(density_ratio(x, Normal(1.0, 1.0), Normal(0.0, 1.0)), expected)
    with pytest.raises(ValueError, match="must cover"):
        density_ratio(
            torch.tensor([0.5, 2.0]), Normal(0.0, 1.0), torch.distributions.Uniform(0, 1, validate_args=False)
        )


def test_retain_pool_mixes_the_ratio_with_one() -> None:
    r = torch.tensor([0.0, 0.5, 3.0])
    for share in (0.0, 0.25, 1.0):
        torch.testing.assert_close(retain_pool(r.log(), share).exp(), (1 - share) * r + share)
    with pytest.raises(ValueError, match="retain_fraction"):
        retain_pool(r.log(), 1.5)


def test_density_ratio_sums_over_all_coordinates_of_an_item() -> None:
    x = torch.arange(12.0).reshape(2, 3, 2) / 10
    expected = [sum(float(v) - 0.5 for v in item.flatten()) for item in x]
    assert density_ratio(x, Normal(1.0, 1.0), Normal(0.0, 1.0)).tolist() == pytest.approx(expected)


def test_items_that_the_proposal_cannot_have_drawn_are_counted_and_the_first_is_named() -> None:
    uniform = torch.distributions.Uniform(0, 1, validate_args=False)
    with pytest.raises(ValueError, match="density 0 to 2 items, the first at row 1"):
        density_ratio(torch.tensor([0.5, 2.0, 0.2, -1.0]), Normal(0.0, 1.0), uniform)
    found = density_ratio(torch.tensor([0.5, 2.0]), uniform, Normal(0.0, 1.0))
    assert found[1] == -math.inf  # the target need not cover the pool


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_of_the_pool_outside_of_zero_to_one_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="needs a value in"):
        retain_pool(torch.zeros(3), share)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_mixture_with_the_pool_keeps_the_type_and_floors_the_ratio(share: float) -> None:
    log_r = torch.tensor([-math.inf, 0.0, 1.0], dtype=torch.float64)
    found = retain_pool(log_r, share)
    assert found.dtype == torch.float64
    assert retain_pool(log_r.float(), share).dtype == torch.float32
    assert found.exp().tolist() == pytest.approx([share, 1.0, (1 - share) * math.e + share])
