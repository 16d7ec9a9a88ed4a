"""Did it arrive: what the accepted are like, and what of the target the pool lacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from torch import Tensor

from rsft.acceptance import accept
from rsft.evaluation.shift import CovariateShift, TwoSample, covariate_shift, two_sample
from rsft.evaluation.support import USUAL, name_outside, support
from rsft.ratio.crossfit import CrossFittedRatio
from rsft.ratio.rows import Table, both_sides
from rsft.types import CONFIDENCE, Interval
from rsft.verdict import DIFFERENCE_ERRORS

LOOKED_AT, MIN_LOOKED_AT = 10_000, 30

# Covariates of the pool's items and of the target's: name -> (N,), name -> (K,).
Covariates = tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Arrival:
    """Whether the accepted are like the target.

    Attributes:
        before: pool against target; None where either is too small.
        after: what epoch 0 accepts for the target itself, without the retained share, against the target; each item is
            tested in the fold in which the ratio had not seen it. None where too few were accepted.
        covariates: each in pool, in what is accepted for the target itself, and in the target.
        unsupported: what the part of the target outside the pool is like, by covariates if there are any.
        figures: of all this that decide the verdict.
    """

    before: TwoSample | None
    after: TwoSample | None
    covariates: Sequence[CovariateShift]
    unsupported: Sequence[str]
    figures: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "before": self.before.to_dict() if self.before else None,
            "after": self.after.to_dict() if self.after else None,
            "covariates": [row.to_dict() for row in self.covariates],
            "unsupported": list(self.unsupported),
        }


def look(
    ratio: CrossFittedRatio,
    pool: Table,
    target: Table,
    identities: Tensor | None,
    covariates: Covariates,
    words: Mapping[str, tuple[str, str]],
    likeness: Tensor,
    seed: int,
) -> Arrival:
    """Compare the accepted with the target, and the target with the pool; at most `LOOKED_AT` rows of each.

    Args:
        ratio: of `pool` and `target`.
        pool: (N, D).
        target: (K, D).
        identities: (N,) integers, or None.
        covariates: see `rsft.plan`.
        words: likewise.
        likeness: (N,) acceptance without a retained share of the pool.
        seed: of the accept decisions, and of what is looked at.
    """
    accepted = np.flatnonzero(accept(likeness.numpy(), seed=seed))
    generator = np.random.default_rng(seed)
    pool_rows, target_rows, accepted_rows = (
        np.sort(generator.permutation(rows)[:LOOKED_AT])
        for rows in (np.arange(len(ratio.pool_fold)), np.arange(len(ratio.target_fold)), accepted)
    )
    whole, aims = both_sides(pool, target)
    everything, wanted, kept = whole.take(pool_rows), aims.take(target_rows), whole.take(accepted_rows)
    found = support(
        everything.numpy(),
        wanted.numpy(),
        identities=None if identities is None else np.asarray(identities)[pool_rows],
        seed=seed,
    )
    fraction = found.unsupported_fraction
    figures = {
        "unsupported_fraction": fraction.value or 0.0,
        "unsupported_low": fraction.low or 0.0,
        "unsupported_high": fraction.high or 0.0,
    }
    target_fold = ratio.target_fold[target_rows]
    before, after = (
        two_sample(side.numpy(), wanted.numpy(), folds=(ratio.pool_fold[rows], target_fold), seed=seed)
        if len(rows) >= MIN_LOOKED_AT
        else None
        for side, rows in ((everything, pool_rows), (kept, accepted_rows))
    )
    if before is not None:
        figures |= {"mmd_low": _lower(before.mmd)}
    if after is not None:
        figures |= {"arrival_auc": after.auc.value or 0.5, "arrival_auc_low": after.auc.low or 0.5}
    of_pool, of_target = covariates
    aimed = {name: values[target_rows] for name, values in of_target.items()}
    table = covariate_shift(of_pool, of_target, accepted) if len(accepted) else []
    more_than_usual = (fraction.low or 0.0) > 1 - USUAL
    named = name_outside(of_pool, aimed, found.outside, words) if more_than_usual else []
    return Arrival(before, after, table, named, figures)


def _lower(interval: Interval) -> float:
    """As far below the estimate as makes a false alarm rare, the same number of standard errors as for the AUC."""
    value, low = interval.value or 0.0, interval.low or 0.0
    return value - (value - low) / NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * DIFFERENCE_ERRORS
