"""Which features and which estimator to plan with: several plans side by side, judged in each other's space."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsft.acceptance import accept
from rsft.arrival import MIN_LOOKED_AT
from rsft.evaluation.shift import cross_fitted_auc
from rsft.plan import Plan, plan
from rsft.ratio.rows import Table, both_sides
from rsft.verdict import Outcome

MAX_ROWS = 5000


@dataclass(frozen=True)
class Ranked:
    """One plan among others.

    Attributes:
        features: name of the features it was made on.
        method: of `fit_ratio`.
        plan: the plan.
        before: mean AUC of pool against target over all features offered, in [0, 1].
        after: the same of what is accepted for the target itself; None where that is too little.
        reason: why it stands where it stands.
    """

    features: str
    method: str
    plan: Plan
    before: float
    after: float | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
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
    methods: Sequence[str] = ("classifier",),
    refine: Callable[[Plan], Plan] = lambda made: made,
    **options: Any,
) -> list[Ranked]:
    """Make a plan with each kind of features and each estimator, the best first.

    A feature that tells target from pool most sharply is not the best: an identity embedding does so because the people
    differ. What counts is whether the accepted are like the target, and that is measured for every plan in all the
    features offered, on items that its ratio has not seen. Plans worth trying come before all others.

    Args:
        features: name -> (N, D) of the pool and (K, D) of the target, for the same items in the same order.
        methods: of `fit_ratio`.
        refine: what else is known of the pool is added to each plan.
        **options: of `plan`.

    Raises:
        ValueError: nothing to compare, kinds of features with different numbers of items, or see `plan`.

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
        return float(np.mean([_auc(made, pool, target, rows, seed) for pool, target in spaces.values()]))

    ranked = []
    for name, sides in features.items():
        for method in methods:
            made = refine(plan(*sides, method=method, **options))
            accepted = np.flatnonzero(accept(made.likeness.numpy(), seed=seed))
            before = mean_auc(made, np.arange(len(made.acceptance)))
            after = mean_auc(made, accepted) if len(accepted) >= MIN_LOOKED_AT else None
            reason = f"{made.verdict.outcome}; " + (
                f"the accepted are told from the target with an AUC of {after:.3f} in the mean of all features (the "
                f"pool: {before:.3f}), and are worth {made.envelope.effective_size:.0f} items"
                if after is not None
                else f"only {len(accepted)} items are accepted"
            )
            ranked.append(Ranked(name, made.method, made, before, after, reason))
    return sorted(ranked, key=_place)


def _place(ranked: Ranked) -> tuple[bool, float]:
    excess = 1.0 if ranked.after is None else abs(ranked.after - 0.5)
    return ranked.plan.verdict.outcome is not Outcome.WORTH_TRYING, excess


def _auc(made: Plan, pool: Any, target: Any, rows: np.ndarray, seed: int) -> float:
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.permutation(rows)[:MAX_ROWS])
    aims = np.sort(generator.permutation(len(target))[:MAX_ROWS])
    assert made.folds is not None
    folds = (made.folds[0][rows], made.folds[1][aims])
    return cross_fitted_auc(pool.take(rows).numpy(), target.take(aims).numpy(), folds=folds, seed=seed)
