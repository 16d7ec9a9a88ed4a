"""Density ratio from the odds of boosted trees, for non-smooth shifts and features of any scale."""

from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from rsft.ratio.crossfit import Alternative, CrossFittedRatio, Score, cross_fitted
from rsft.ratio.rows import Table, both_sides
from rsft.ratio.sample import FOLDS_OF_SLOW_MODELS, draw_sample

MAX_LEAVES = (4, 16)


def fit_boosted_ratio(pool: Table, target: Table, **options: Any) -> CrossFittedRatio:
    """Estimate the ratio with scikit-learn's histogram gradient boosting and early stopping.

    Outside the training data the ratio is constant, so it cannot diverge there.

    Args:
        pool: (N, D) features of the pool's items.
        target: (K, D) features of the target items.
        **options: `folds` (default 5), `groups`, `target_groups`, `max_items` and `seed` of `draw_sample`.

    Returns:
        The fitted ratio.

    Raises:
        ValueError: If the widths differ, a feature is NaN or infinite, or a side has fewer items or groups than folds.
    """
    sides = both_sides(pool, target)
    sample = draw_sample(*sides, **{"folds": FOLDS_OF_SLOW_MODELS, **options})
    x, y = sample.x.numpy(), sample.y.numpy()
    seed = options.get("seed", 0)

    def fit(fold: int, leaves: int) -> Score:
        model = HistGradientBoostingClassifier(
            learning_rate=0.1,
            max_leaf_nodes=leaves,
            l2_regularization=1.0,
            early_stopping=True,
            n_iter_no_change=5,
            random_state=seed,
        )
        rows = sample.others(fold).numpy()
        model.fit(x[rows], y[rows])
        return partial(_odds, model)

    folds = range(int(sample.fold.max()) + 1)
    alternatives = [
        Alternative({"leaves": float(leaves)}, [fit(fold, leaves) for fold in folds]) for leaves in MAX_LEAVES
    ]
    return cross_fitted("boosted", *sides, sample, alternatives, bend=True)


def _odds(model: HistGradientBoostingClassifier, x: Tensor) -> Tensor:
    if not len(x):
        return torch.empty(0)
    return torch.from_numpy(model.decision_function(x.numpy()).astype(np.float32))
