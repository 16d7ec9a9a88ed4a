"""Ranking of plans made with different features and estimators, each judged in all feature spaces."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsft.arrival import MIN_LOOKED_AT
from rsft.evaluation.shift import cross_fitted_auc
from rsft.plan import Plan, plan
from rsft.ratio.rows import Table, both_sides
from rsft.sampling.acceptance import accept
from rsft.verdict import Outcome

MAX_ROWS = 5000


@dataclass(frozen=True)
class Ranked:
    """One plan of a ranking.

    Attributes:
        features: Name of the features on which the plan was made.
        method: Name of the estimator, see `fit_ratio`.
        plan: The plan.
        before: AUC of a classifier between pool and target, averaged over all feature spaces, in [0, 1]. 0.5 is chance.
        after: The same AUC between target and the items accepted without a retained share of the pool. None if fewer
            than 30 items are accepted.
        reason: Explanation of the rank in one sentence.
    """

    features: str
    method: str
    plan: Plan
    before: float
    after: float | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary."""
        return {
            "features": self.features,
            "method": self.method,
            "before": self.before,
            "after": self.after,
            "reason": self.reason,
            **self.plan.to_dict(),
        }


def rank_plans(
    features: Mapping[str, tuple[Table, Table]],
    methods: Sequence[str] | Mapping[str, str] = ("classifier",),
    refine: Callable[[Plan], Plan] = lambda made: made,
    **options: Any,
) -> list[Ranked]:
    """Make a plan with each feature space and each estimator, and rank the plans.

    The features that separate target from pool best are not the best for a plan: an identity embedding separates them
    because the people differ. The criterion is how similar the accepted items are to the target. It is measured for
    every plan in all feature spaces, on items that its ratio has not seen. Plans whose verdict is "worth trying" come
    first; within each group the AUC closest to 0.5 comes first.

    Args:
        features: name -> (N, D) features of the pool and (K, D) features of the target. All feature spaces describe the
            same items in the same order; their widths D may differ.
        methods: Names of estimators, see `fit_ratio`; or the name of each feature space -> the one for it.
        refine: Function that is applied to each plan before the ranking, for instance to add to its verdict.
        **options: Arguments of `plan`, the same for all plans.

    Returns:
        One entry for each combination of features and method, best first.

    Raises:
        ValueError: If there are no features or no methods, feature spaces differ in their numbers of items, or an
            argument of `plan` is not valid.

    >>> import torch
    >>> generator = torch.Generator().manual_seed(0)
    >>> pool, target = torch.randn(3000, 2, generator=generator), torch.randn(600, 2, generator=generator)
    >>> target[:, 0] += 1
    >>> spaces = {"what shifts": (pool[:, :1], target[:, :1]), "what does not": (pool[:, 1:], target[:, 1:])}
    >>> [ranked.features for ranked in rank_plans(spaces, envelope="max_tv=0.02")]
    ['what shifts', 'what does not']
    """
    spaces = {name: both_sides(*sides) for name, sides in features.items()}
    sizes = {(len(pool), len(target)) for pool, target in spaces.values()}
    if len(sizes) != 1 or not methods:
        raise ValueError(
            f"`rank_plans` needs features of the same items and at least one method, got {sorted(sizes)} items and "
            f"{list(methods)}."
        )
    seed = options.get("seed", 0)

    def mean_auc(made: Plan, rows: np.ndarray) -> float:
        """Return the AUC between these pool rows and the target, averaged over the feature spaces."""
        return float(np.mean([_auc(made, pool, target, rows, seed) for pool, target in spaces.values()]))

    ranked, before = list[Ranked](), None
    for name, sides in features.items():
        for method in [methods[name]] if isinstance(methods, Mapping) else methods:
            made = refine(plan(*sides, method=method, **options))
            accepted = np.flatnonzero(accept(made.likeness.numpy(), seed=seed))
            if before is None:  # the same for all plans
                before = mean_auc(made, np.arange(len(made.acceptance)))
            after = mean_auc(made, accepted) if len(accepted) >= MIN_LOOKED_AT else None
            reason = f"{made.verdict.outcome}; " + (
                f"a classifier separates the accepted items from the target with a mean AUC of {after:.3f} over all "
                f"features (the pool: {before:.3f}); their effective size is {made.envelope.effective_size:.0f}"
                if after is not None
                else f"only {len(accepted)} items are accepted"
            )
            ranked.append(Ranked(name, made.method, made, before, after, reason))
    return sorted(ranked, key=_place)


def _place(ranked: Ranked) -> tuple[bool, float]:
    """Return the sort key: plans worth trying first, then by the distance of the AUC from 0.5."""
    excess = 1.0 if ranked.after is None else abs(ranked.after - 0.5)
    return ranked.plan.verdict.outcome is not Outcome.WORTH_TRYING, excess


def _auc(made: Plan, pool: Any, target: Any, rows: np.ndarray, seed: int) -> float:
    """Return the cross-fitted AUC between some pool rows and the target, on at most `MAX_ROWS` of each."""
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.permutation(rows)[:MAX_ROWS])
    aims = np.sort(generator.permutation(len(target))[:MAX_ROWS])
    assert made.folds is not None
    folds = (made.folds[0][rows], made.folds[1][aims])
    return cross_fitted_auc(pool.take(rows).numpy(), target.take(aims).numpy(), folds=folds, seed=seed)
