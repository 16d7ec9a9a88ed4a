"""Comparison of the accepted items with the target, and of the target with the pool's support."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from torch import Tensor

from rsft.errors import InputError
from rsft.evaluation.populations import find_two_populations
from rsft.evaluation.shift import CovariateShift, TwoSample, covariate_shift, two_sample
from rsft.evaluation.support import USUAL, name_outside, support
from rsft.per_item import as_numbers
from rsft.ratio.crossfit import CrossFittedRatio
from rsft.ratio.rows import Table, both_sides
from rsft.sampling.acceptance import accept
from rsft.types import CONFIDENCE, Interval
from rsft.verdict import DIFFERENCE_ERRORS

LOOKED_AT, MIN_LOOKED_AT = 10_000, 30

# Covariates of the pool's items, name -> (N,), and of the target items, name -> (K,).
Covariates = tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Arrival:
    """How similar the accepted items are to the target.

    The accepted items are those of epoch 0 under the acceptance without the retained share of the pool.

    Attributes:
        before: Two-sample comparison of pool and target. None if the pool has fewer than `MIN_LOOKED_AT` items.
        after: Two-sample comparison of accepted items and target, in which each item is tested in the fold in which the
            ratio had not seen it. None if fewer than `MIN_LOOKED_AT` items were accepted.
        covariates: Distribution of each covariate in the pool, the accepted items and the target.
        unsupported: Words for the part of the target outside the pool's support, such as "dark", from its covariates.
        second: Likewise for the smaller of two populations in the target, against the larger; empty if there is one.
        figures: Name -> value of the statistics that enter the verdict.
    """

    before: TwoSample | None
    after: TwoSample | None
    covariates: Sequence[CovariateShift]
    unsupported: Sequence[str]
    second: Sequence[str]
    figures: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary."""
        return {
            "before": self.before.to_dict() if self.before else None,
            "after": self.after.to_dict() if self.after else None,
            "covariates": [row.to_dict() for row in self.covariates],
            "unsupported": list(self.unsupported),
        }


def check_arrival(
    ratio: CrossFittedRatio,
    pool: Table,
    target: Table,
    identities: Tensor | None,
    covariates: Covariates,
    words: Mapping[str, tuple[str, str]],
    likeness: Tensor,
    seed: int,
) -> Arrival:
    """Compare the accepted items with the target, and the target with the pool, on at most `LOOKED_AT` rows of each.

    Args:
        ratio: Cross-fitted ratio of `pool` and `target`.
        pool: (N, D) features of the pool's items.
        target: (K, D) features of the target items.
        identities: (N,) integer identity of each pool item, or None.
        covariates: name -> (N,) values of the pool's items, and name -> (K,) values of the target items.
        words: covariate -> words for a low and for a high value, such as ("dark", "bright").
        likeness: (N,) acceptance probability without a retained share of the pool.
        seed: Seed for the accept decisions and for the choice of the compared rows.

    Returns:
        The comparisons and the statistics for the verdict.
    """
    accepted = np.flatnonzero(accept(likeness.numpy(), seed=seed))
    generator = np.random.default_rng(seed)
    pool_rows, target_rows, accepted_rows = (
        np.sort(generator.permutation(rows)[:LOOKED_AT])
        for rows in (np.arange(len(ratio.pool_fold)), np.arange(len(ratio.target_fold)), accepted)
    )
    whole, aims = both_sides(pool, target)
    of_pool_items, of_target_items = ratio.repeats.pool, ratio.repeats.target
    everything, wanted, kept = whole.take(pool_rows), aims.take(target_rows), whole.take(accepted_rows)
    found = support(
        everything.numpy(),
        wanted.numpy(),
        identities=(of_pool_items if identities is None else np.asarray(identities))[pool_rows],
        target_groups=of_target_items[target_rows],
        seed=seed,
    )
    fraction = found.unsupported_fraction
    figures = {
        "unsupported_fraction": fraction.value or 0.0,
        "unsupported_low": fraction.low or 0.0,
        "unsupported_high": fraction.high or 0.0,
    }
    divided = find_two_populations(wanted.numpy(), of_target_items[target_rows], seed=seed)
    figures |= {"second_population": divided.share} if divided else {}
    target_fold = ratio.target_fold[target_rows]
    before, after = (
        two_sample(
            side.numpy(),
            wanted.numpy(),
            folds=(ratio.pool_fold[rows], target_fold),
            groups=(of_pool_items[rows], of_target_items[target_rows]),
            seed=seed,
        )
        if len(rows) >= MIN_LOOKED_AT
        else None
        for side, rows in ((everything, pool_rows), (kept, accepted_rows))
    )
    if before is not None:
        figures |= {"mmd_low": _lower(before.mmd)}
    if after is not None:
        figures |= {"arrival_auc": after.auc.value or 0.5, "arrival_auc_low": after.auc.low or 0.5}
    of_pool, of_target = (
        {name: _one_each(values, items, name) for name, values in side.items()}
        for side, items in zip(covariates, (len(whole), len(aims)), strict=True)
    )
    aimed = {name: values[target_rows] for name, values in of_target.items()}
    table = covariate_shift(of_pool, of_target, accepted, of_target_items) if len(accepted) else []
    more_than_usual = (fraction.low or 0.0) > 1 - USUAL
    named = name_outside(of_pool, aimed, found.outside, words) if more_than_usual else []
    others = {} if divided is None else {name: values[~divided.second] for name, values in aimed.items()}
    second = [] if divided is None else name_outside(others, aimed, divided.second, words)
    return Arrival(before, after, table, named, second, figures)


def _one_each(values: Any, items: int, name: str) -> np.ndarray:
    """Return a covariate as (items,) numbers; raise InputError if it has another length or kind."""
    call = f"plan(covariates=...)['{name}']"
    array = as_numbers(values, call)
    if len(array) != items:
        raise InputError(f"`{call}` needs one number for each of {items} items, got {len(array)}.")
    return array


def _lower(interval: Interval) -> float:
    """Return the estimate minus `DIFFERENCE_ERRORS` standard errors, so that false alarms are rare as for the AUC."""
    value, low = interval.value or 0.0, interval.low or 0.0
    return value - (value - low) / NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * DIFFERENCE_ERRORS
