"""Estimators of the log density ratio, log target - log pool. Each has its own module."""

from typing import Any

from rsft.ratio.boosted import fit_boosted_ratio
from rsft.ratio.classifier import fit_classifier_ratio, fit_kernel_ratio, fit_quadratic_ratio
from rsft.ratio.crossfit import CrossFittedRatio, as_good
from rsft.ratio.leastsquares import fit_least_squares_ratio
from rsft.ratio.rows import Table, both_sides
from rsft.ratio.sample import MAX_ITEMS

# Ordered from simple to complex: among equally good methods, `method="auto"` takes the first.
METHODS = {
    "classifier": fit_classifier_ratio,
    "quadratic": fit_quadratic_ratio,
    "kernel": fit_kernel_ratio,
    "boosted": fit_boosted_ratio,
    "least-squares": fit_least_squares_ratio,
}
AUTO = "auto"
CONTEST_ITEMS = 20_000
MAX_BOOSTED_WIDTH = 64


def fit_ratio(pool: Table, target: Table, method: str = "classifier", **options: Any) -> CrossFittedRatio:
    """Estimate the log density ratio log target(x) - log pool(x) from a sample of each.

    Args:
        pool: (N, D) features of the pool's items: a tensor, an array or memory map, or a sequence of such shards.
        target: (K, D) features of items of the target population, in the same forms. No labels are needed.
        method: Name of the estimator. "classifier" is a calibrated, cross-fitted logistic regression; the others are
            "quadratic", "kernel", "boosted" and "least-squares". "auto" selects the method with the lowest held-out
            cross-entropy, or a simpler one within one standard error of it; it tries "boosted" only up to 64 features.
        **options: `folds`, `groups`, `target_groups`, `max_items` and `seed` (see `draw_sample`), and the options of
            the method, such as `penalties` (see `fit_classifier_ratio`).

    Returns:
        The fitted ratio. Each value of its `pool_log_ratio` (N,) comes from a model that was not trained on that item.
        Its `diagnostics` hold "auc" (held-out; 0.5 if pool and target do not differ), "cross_entropy" (held-out, in
        nats), "mean_ratio" (over the pool; 1 for a consistent ratio), "mean_ratio_error" (its standard error), the
        selected settings, and how many target items are different ("target_groups", and "target_effective_groups" if
        each weighs the same) or equal a row of the pool ("shared_items").

    Raises:
        ValueError: If the widths differ, a feature is NaN or infinite, a side has fewer items (or groups) than folds,
            or `method` or one of its options is not valid.

    >>> import torch
    >>> generator = torch.Generator().manual_seed(0)
    >>> pool = torch.randn(4000, 2, generator=generator)
    >>> target = torch.randn(1000, 2, generator=generator) + torch.tensor([1.0, 0.0])
    >>> ratio = fit_ratio(pool, target)
    >>> exact = pool[:, 0] - 0.5
    >>> bool((ratio.pool_log_ratio - exact).abs().mean() < 0.1)
    True
    """
    if method == AUTO:
        return _best_ratio(pool, target, **options)
    if method not in METHODS:
        raise ValueError(f"`fit_ratio(method=...)` needs one of {[*METHODS, AUTO]}, got {method!r}.")
    return METHODS[method](pool, target, **options)


def _best_ratio(pool: Table, target: Table, **options: Any) -> CrossFittedRatio:
    """Select from `METHODS` on equal folds by the one-standard-error rule (L. Breiman et al., 1984)."""
    sides = both_sides(pool, target)
    names = [name for name in METHODS if name != "boosted" or sides[0].width <= MAX_BOOSTED_WIDTH]
    most = min(max(len(side) for side in sides), options.get("max_items", MAX_ITEMS))
    contest = min(most, CONTEST_ITEMS // 2)
    fits = {name: METHODS[name](pool, target, **{**options, "max_items": contest}) for name in names}
    losses = {name: fit.held_out_loss for name, fit in fits.items()}
    best = min(losses.values(), key=lambda loss: float(loss.mean()))
    method = next(name for name in names if as_good(losses[name], best, fits[name].item))
    whole = METHODS[method](pool, target, **options) if contest < most else fits[method]
    whole.diagnostics |= {f"cross_entropy_{name}": float(loss.mean()) for name, loss in losses.items()}
    return whole
