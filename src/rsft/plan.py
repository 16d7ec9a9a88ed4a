"""The front door: from pool and target features to acceptance probabilities, their cost, and whether to use them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rsft.acceptance import acceptance_probability, check_log_ratio
from rsft.arrival import Arrival, Covariates, look
from rsft.envelope import Envelope, choose_envelope, price_list
from rsft.evaluation.shift import auc_error
from rsft.identities import AcceptBy, FloorAcceptance, IdentityAcceptance, identity_log_ratio, mind_identities
from rsft.ratio import fit_ratio
from rsft.ratio.combine import retain_pool
from rsft.ratio.rows import Table
from rsft.sampler import RejectionSampler
from rsft.tail import pareto_k
from rsft.verdict import Verdict, judge_given, judge_plan

GIVEN = "given"


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
        arrival: whether the accepted are like the target; None where the target is not known by a sample.
        verdict: the advice.
        seed: of the accept decisions.
        method: the estimator of the ratio, or "given".
        folds: (N,) and (K,) uint8, the part of the ratio's cross-fitting each item was held out in; or None.
        rule: how identities are minded; None where each item is accepted by itself.
    """

    acceptance: Tensor
    log_ratio: Tensor
    likeness: Tensor
    envelope: Envelope
    prices: Sequence[Envelope]
    diagnostics: dict[str, float]
    arrival: Arrival | None
    verdict: Verdict
    seed: int
    method: str
    folds: tuple[np.ndarray, np.ndarray] | None
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
            "arrival": self.arrival.to_dict() if self.arrival else None,
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
    covariates: Covariates = ({}, {}),
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
        identities: (N,) integers, identity or class of each item.
        accept_by: "item", or "identity": an identity is accepted as a whole, by the mean ratio of its items.
        floor: items that an accepted identity gets at least, where it has so many; with `accept_by="item"`.
        covariates: name -> (N,) of the pool, and name -> (K,) of the target, for the tables of what shifts.
        words: covariate -> what a low and a high value is called, such as ("dark", "bright").
        method: of `fit_ratio`.
        seed: of the folds of the ratio and of the accept decisions.
        **ratio_options: of the method; `groups=identities` where the target shows other people than the pool.

    Raises:
        ValueError: see `fit_ratio` and `choose_envelope`; or identities are needed and not given.

    >>> generator = torch.Generator().manual_seed(0)
    >>> pool = torch.randn(2000, 2, generator=generator)
    >>> target = 0.5 * torch.randn(500, 2, generator=generator) + torch.tensor([1.0, 0.0])
    >>> plan(pool, target, envelope="max_tv=0.02").verdict.outcome
    <Outcome.WORTH_TRYING: 'worth trying'>
    """
    _check_rule(accept_by, floor, identities)
    ratio = fit_ratio(pool, target, method, seed=seed, **ratio_options)
    thinned = _thin(ratio.pool_log_ratio, envelope, retain_fraction, identities, accept_by, floor)
    arrival = look(ratio, pool, target, identities, covariates, words or {}, thinned.likeness, seed)
    seen, targets_seen = (int(ratio.diagnostics[name]) for name in ("items_trained_on", "target_items_trained_on"))
    figures = {
        **ratio.diagnostics,
        "auc_error": auc_error(ratio.diagnostics["auc"], targets_seen, seen - targets_seen),
        "target_items": float(len(ratio.target_log_ratio)),
        **thinned.figures,
        **arrival.figures,
    }
    return thinned.to_plan(
        figures,
        arrival,
        judge_plan(figures, thinned.envelope, arrival.unsupported),
        seed,
        ratio.method,
        (ratio.pool_fold, ratio.target_fold),
    )


def plan_from_ratio(
    log_ratio: Tensor,
    *,
    envelope: str = "max",
    retain_fraction: float = 0.0,
    identities: Tensor | None = None,
    accept_by: str = "item",
    floor: int = 1,
    seed: int = 0,
) -> Plan:
    """A plan for a ratio that is known: by attributes, by densities, a tilt, or made of others.

    Args:
        log_ratio: (N,) log target - log pool of the pool's items, up to a constant.
        envelope: as in `plan`, like the others.
        retain_fraction: see there.
        identities: see there.
        accept_by: see there.
        floor: see there.
        seed: of the accept decisions.

    Raises:
        ValueError: see `choose_envelope`; or identities are needed and not given.

    >>> from rsft.ratio.attributes import attribute_ratio
    >>> log_ratio = attribute_ratio(["day"] * 90 + ["night"] * 10, {"day": 0.5, "night": 0.5})
    >>> round(plan_from_ratio(log_ratio).envelope.acceptance_rate, 3)
    0.2
    """
    _check_rule(accept_by, floor, identities)
    thinned = _thin(log_ratio.detach().cpu().double(), envelope, retain_fraction, identities, accept_by, floor)
    verdict = judge_given(thinned.figures, thinned.envelope)
    return thinned.to_plan(thinned.figures, None, verdict, seed, GIVEN, None)


class _Thinned(NamedTuple):
    """What follows from a log ratio alone; the fields are those of `Plan`."""

    acceptance: Tensor
    log_ratio: Tensor
    likeness: Tensor
    envelope: Envelope
    rule: FloorAcceptance | IdentityAcceptance | None
    figures: dict[str, float]

    def to_plan(
        self,
        figures: dict[str, float],
        arrival: Arrival | None,
        verdict: Verdict,
        seed: int,
        method: str,
        folds: tuple[np.ndarray, np.ndarray] | None,
    ) -> Plan:
        return Plan(
            self.acceptance,
            self.log_ratio,
            self.likeness,
            self.envelope,
            price_list(self.log_ratio),
            figures,
            arrival,
            verdict,
            seed,
            method,
            folds,
            self.rule,
        )


def _check_rule(accept_by: str, floor: int, identities: Tensor | None) -> None:
    whole = accept_by == AcceptBy.IDENTITY
    if accept_by not in list(AcceptBy) or floor < 1 or (whole and floor > 1):
        raise ValueError(
            "`plan(accept_by=..., floor=...)` needs 'item' with a floor of 1 or more, or 'identity' without one; got "
            f"{accept_by!r}, {floor}."
        )
    if identities is None and (whole or floor > 1):
        raise ValueError("`plan(identities=...)` is needed to accept by identity or with a floor.")


def _thin(
    log_ratio: Tensor, envelope: str, retain_fraction: float, identities: Tensor | None, accept_by: str, floor: int
) -> _Thinned:
    check_log_ratio(log_ratio, "plan(log_ratio=...)")
    # Scaled to mean 1 over the pool, so that the retained share is the stated one on this very pool.
    alone = log_ratio - (torch.logsumexp(log_ratio, 0) - math.log(len(log_ratio)))
    figures = {"pareto_k": pareto_k(alone), "pool_items": float(len(alone))}
    whole = accept_by == AcceptBy.IDENTITY
    if whole:
        assert identities is not None
        coarse = identity_log_ratio(alone, identities)
        figures["identity_tv"] = float((alone.softmax(0) - coarse.softmax(0)).abs().sum() / 2)
        alone = coarse
    mixed = retain_pool(alone, retain_fraction)
    chosen = choose_envelope(mixed, envelope)
    acceptance = acceptance_probability(mixed, chosen.log_m)
    rule: FloorAcceptance | IdentityAcceptance | None = None
    if identities is not None:
        rule = mind_identities(acceptance, identities, accept_by, floor)
        figures |= _identities_kept(acceptance, identities, whole=whole)
    figures["expected_accepted"] = float((acceptance if rule is None else rule.inclusion()).sum())
    for_target = choose_envelope(alone, envelope)
    figures["target_effective_size"] = for_target.effective_size
    likeness = acceptance_probability(alone, for_target.log_m)
    return _Thinned(acceptance, mixed, likeness, chosen, rule, figures)


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
