"""The front door: from pool and target features to acceptance probabilities, their cost, and whether to use them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsft.acceptance import accept, acceptance_probability
from rsft.envelope import Envelope, choose_envelope, price_list
from rsft.evaluation.shift import CovariateShift, TwoSample, auc_error, covariate_shift, two_sample
from rsft.evaluation.support import USUAL, name_outside, support
from rsft.identities import FloorAcceptance, IdentityAcceptance, identity_log_ratio
from rsft.ratio import fit_ratio
from rsft.ratio.combine import retain_pool
from rsft.ratio.crossfit import CrossFittedRatio
from rsft.ratio.rows import Table, both_sides
from rsft.sampler import RejectionSampler
from rsft.tail import pareto_k
from rsft.types import CONFIDENCE, Interval
from rsft.verdict import DIFFERENCE_ERRORS, Verdict, judge_plan

LOOKED_AT, MIN_LOOKED_AT = 10_000, 30


class AcceptBy(StrEnum):
    """What is accepted or rejected as one."""

    ITEM = "item"
    IDENTITY = "identity"


@dataclass(frozen=True)
class Arrival:
    """Whether the accepted are like the target.

    Attributes:
        before: pool against target; None where either is too small.
        after: what epoch 0 accepts for the target itself, without the retained share, against the target; each item is
            tested in the fold in which the ratio had not seen it. None where too few were accepted.
        covariates: each in pool, in what is accepted for the target itself, and in the target.
    """

    before: TwoSample | None
    after: TwoSample | None
    covariates: Sequence[CovariateShift]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "before": self.before.to_dict() if self.before else None,
            "after": self.after.to_dict() if self.after else None,
            "covariates": [row.to_dict() for row in self.covariates],
        }


@dataclass(frozen=True)
class Plan:
    """What to train on.

    Attributes:
        acceptance: (N,) float64, the probability that the draw of an item, or of its identity, accepts it.
        log_ratio: (N,) float64, log target - log pool, of the target as stated (with the retained share of the pool).
        likeness: (N,) float64, the acceptance probability without the retained share.
        envelope: the chosen M and its price.
        prices: what other rules would cost.
        diagnostics: figures of the ratio and of what will be accepted.
        unsupported: where the target lies outside the pool, named by covariates if there are any.
        arrival: whether the accepted are like the target.
        verdict: the advice.
        seed: of the accept decisions.
        method: the estimator of the ratio.
        folds: (N,) and (K,) uint8, the part of the ratio's cross-fitting each item was held out in.
        rule: how identities are minded; None where each item is accepted by itself.
    """

    acceptance: Tensor
    log_ratio: Tensor
    likeness: Tensor
    envelope: Envelope
    prices: Sequence[Envelope]
    diagnostics: dict[str, float]
    unsupported: Sequence[str]
    arrival: Arrival
    verdict: Verdict
    seed: int
    method: str
    folds: tuple[np.ndarray, np.ndarray]
    rule: FloorAcceptance | IdentityAcceptance | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the items."""
        return {
            "verdict": {"outcome": str(self.verdict.outcome), "reason": self.verdict.reason},
            "envelope": vars(self.envelope),
            "m": math.exp(self.envelope.log_m),
            "prices": [vars(envelope) for envelope in self.prices],
            "method": self.method,
            "diagnostics": self.diagnostics,
            "unsupported": list(self.unsupported),
            "arrival": self.arrival.to_dict(),
            "seed": self.seed,
        }

    def inclusion(self) -> Tensor:
        """(N,) float64: the exact probability that an item is trained on in an epoch, with what identities add."""
        return self.acceptance if self.rule is None else self.rule.inclusion()

    def sampler(self, **options: Any) -> RejectionSampler:
        """A sampler over the pool with these probabilities; `options` are those of `RejectionSampler`."""
        return RejectionSampler(self._drawn(), **{"seed": self.seed, **options})

    def accepted(self, epoch: int = 0) -> np.ndarray:
        """Ascending numbers of the items accepted in an epoch: (n,) int64."""
        return self.sampler().accepted(epoch).numpy()

    def _drawn(self) -> Any:
        return self.acceptance if self.rule is None else self.rule


def plan(
    pool: Table,
    target: Table,
    *,
    envelope: str = "max",
    retain_fraction: float = 0.0,
    identities: Tensor | None = None,
    accept_by: str = "item",
    floor: int = 1,
    covariates: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]] = ({}, {}),
    words: Mapping[str, tuple[str, str]] | None = None,
    method: str = "classifier",
    seed: int = 0,
    **ratio_options: Any,
) -> Plan:
    """Estimate the ratio, choose the envelope and say whether training on the accepted is worth it.

    Args:
        pool: (N, D) features of the pool's items; see `fit_ratio` for tables that do not fit in memory.
        target: (K, D) features of pictures of the target population, unlabelled.
        envelope: rule of `choose_envelope`, written "max", "max_tv=0.02", "rate=0.1", "quantile=0.97" or "log_m=1.5".
        retain_fraction: share of the pool itself in the target, in [0, 1].
        identities: (N,) integers, identity or class of each item. Items of one stay in one fold of the ratio.
        accept_by: "item", or "identity": an identity is accepted as a whole, by the mean ratio of its items.
        floor: items that an accepted identity gets at least, where it has so many; with `accept_by="item"`.
        covariates: name -> (N,) of the pool, and name -> (K,) of the target, for the tables of what shifts.
        words: covariate -> what a low and a high value is called, such as ("dark", "bright").
        method: of `fit_ratio`.
        seed: of the folds of the ratio and of the accept decisions.
        **ratio_options: of the method.

    Raises:
        ValueError: see `fit_ratio` and `choose_envelope`; or identities are needed and not given.

    >>> generator = torch.Generator().manual_seed(0)
    >>> pool = torch.randn(2000, 2, generator=generator)
    >>> target = 0.5 * torch.randn(500, 2, generator=generator) + torch.tensor([1.0, 0.0])
    >>> plan(pool, target, envelope="max_tv=0.02").verdict.outcome
    <Outcome.WORTH_TRYING: 'worth trying'>
    """
    by = AcceptBy(accept_by) if accept_by in list(AcceptBy) else None
    if by is None or floor < 1 or (by is AcceptBy.IDENTITY and floor > 1):
        raise ValueError(
            "`plan(accept_by=..., floor=...)` needs 'item' with a floor of 1 or more, or 'identity' without one; got "
            f"{accept_by!r}, {floor}."
        )
    if identities is None and (by is AcceptBy.IDENTITY or floor > 1):
        raise ValueError("`plan(identities=...)` is needed to accept by identity or with a floor.")
    ratio = fit_ratio(pool, target, method, seed=seed, **{"groups": identities, **ratio_options})
    # Scaled to mean 1 over the pool, so that the retained share is the stated one on this very pool.
    items = len(ratio.pool_log_ratio)
    alone = ratio.pool_log_ratio - (torch.logsumexp(ratio.pool_log_ratio, 0) - math.log(items))
    diagnostics = {
        **ratio.diagnostics,
        "auc_error": auc_error(ratio.diagnostics["auc"], len(ratio.target_log_ratio), items),
        "pareto_k": pareto_k(alone),
        "pool_items": float(items),
        "target_items": float(len(ratio.target_log_ratio)),
    }
    if by is AcceptBy.IDENTITY:
        assert identities is not None
        coarse = identity_log_ratio(alone, identities)
        diagnostics["identity_tv"] = float((alone.softmax(0) - coarse.softmax(0)).abs().sum() / 2)
        alone = coarse
    log_ratio = retain_pool(alone, retain_fraction)
    chosen = choose_envelope(log_ratio, envelope)
    acceptance = acceptance_probability(log_ratio, chosen.log_m)
    rule: FloorAcceptance | IdentityAcceptance | None = None
    if identities is not None:
        if by is AcceptBy.IDENTITY:
            rule = IdentityAcceptance(acceptance, identities)
        elif floor > 1:
            rule = FloorAcceptance(acceptance, identities, floor=floor)
        diagnostics |= _identities_kept(acceptance, identities, whole=by is AcceptBy.IDENTITY)
    likeness = acceptance_probability(alone, choose_envelope(alone, envelope).log_m)
    diagnostics["expected_accepted"] = float((acceptance if rule is None else rule.inclusion()).sum())
    arrival, unsupported = _look(ratio, pool, target, identities, covariates, words or {}, likeness, diagnostics, seed)
    return Plan(
        acceptance,
        log_ratio,
        likeness,
        chosen,
        price_list(log_ratio),
        diagnostics,
        unsupported,
        arrival,
        judge_plan(diagnostics, chosen, unsupported),
        seed,
        ratio.method,
        (ratio.pool_fold, ratio.target_fold),
        rule,
    )


def _look(
    ratio: CrossFittedRatio,
    pool: Table,
    target: Table,
    identities: Tensor | None,
    covariates: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]],
    words: Mapping[str, tuple[str, str]],
    likeness: Tensor,
    diagnostics: dict[str, float],
    seed: int,
) -> tuple[Arrival, list[str]]:
    """What the accepted are like, and what of the target the pool lacks; at most `LOOKED_AT` rows of each are seen."""
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
    diagnostics |= {
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
        diagnostics |= {"mmd_low": _lower(before.mmd)}
    if after is not None:
        diagnostics |= {"arrival_auc": after.auc.value or 0.5, "arrival_auc_low": after.auc.low or 0.5}
    of_pool, of_target = covariates
    aimed = {name: values[target_rows] for name, values in of_target.items()}
    table = covariate_shift(of_pool, of_target, accepted) if len(accepted) else []
    more_than_usual = (fraction.low or 0.0) > 1 - USUAL
    return Arrival(before, after, table), name_outside(of_pool, aimed, found.outside, words) if more_than_usual else []


def _lower(interval: Interval) -> float:
    """As far below the estimate as makes a false alarm rare, the same number of standard errors as for the AUC."""
    value, low = interval.value or 0.0, interval.low or 0.0
    return value - (value - low) / NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * DIFFERENCE_ERRORS


def _identities_kept(acceptance: Tensor, identities: Tensor, *, whole: bool) -> dict[str, float]:
    """How many identities are expected to have an accepted item, and how many at an equal-sized uniform subset."""
    _, index, counts = torch.unique(identities, return_inverse=True, return_counts=True)
    missed = torch.zeros(len(counts), dtype=torch.float64).index_add_(0, index, torch.log1p(-acceptance.clamp(max=1)))
    if whole:  # one draw for all items of an identity
        missed = missed / counts
    uniform_missed = counts * torch.log1p(-acceptance.mean())
    return {
        "identities": float(len(counts)),
        "identities_accepted": float(-torch.expm1(missed).sum()),
        "identities_uniform": float(-torch.expm1(uniform_missed).sum()),
    }
