"""The main entry point: acceptance probabilities from pool and target features, their cost, and a verdict on them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from rsft.arrival import Arrival, Covariates, check_arrival
from rsft.envelope import Envelope, price_curve, price_list
from rsft.evaluation.shift import auc_error
from rsft.histogram import ratio_histogram
from rsft.law import Law, Score, Scored
from rsft.pilot import Part, Pilot, assess_part
from rsft.promise import Promise, check_promise
from rsft.ratio import fit_ratio
from rsft.ratio.rows import Table
from rsft.sampling.acceptance import accept_at
from rsft.sampling.identities import AcceptBy, FloorAcceptance, IdentityAcceptance
from rsft.sampling.lazy import LazyRejectionSampler
from rsft.sampling.sampler import RejectionSampler
from rsft.thinning import Thinned, check_identity_rule, thin
from rsft.verdict import Verdict, judge_given, judge_plan, notes_on

GIVEN = "given"


@dataclass(frozen=True)
class Plan:
    """Acceptance probabilities for the items of a pool, with their cost, diagnostics and a verdict.

    Attributes:
        acceptance: (N,) float64 probability that the draw of an item, or of its identity, accepts it.
        log_ratio: (N,) float64 log target - log pool, where the target includes the retained share of the pool.
        likeness: (N,) float64 acceptance probability without the retained share.
        envelope: The chosen envelope M and its cost.
        prices: Cost of other envelope rules, see `price_list`.
        diagnostics: Name -> value of statistics of the ratio and of the expected accepted items.
        arrival: Comparison of the accepted items with the target; None if there is no target sample.
        verdict: The advice, and its reason.
        seed: Seed for the accept decisions.
        method: Name of the estimator of the ratio, or "given".
        folds: (N,) and (K,) uint8 cross-fitting fold in which each item was held out; None if the ratio was given.
        rule: Acceptance rule for identities; None if items are accepted independently.
        law: The frozen rule from features to acceptance, for other items of the pool. None if the ratio was given, or
            identities are accepted as a whole or with a floor.
        pilot: What the items say about the pool that they are a random part of; None if they are the pool.
        notes: What else was found, such as items of the target that repeat or are in the pool too, as sentences.
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
    law: Law | None = None
    pilot: Pilot | None = None
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary, without the values of the items."""
        return {
            "verdict": {"outcome": str(self.verdict.outcome), "reason": self.verdict.reason},
            "envelope": vars(self.envelope),
            "m": math.exp(self.envelope.log_m),
            "prices": [vars(envelope) for envelope in self.prices],
            "price_curve": price_curve(self.log_ratio),
            "ratios": ratio_histogram(self.log_ratio, self.acceptance),
            "method": self.method,
            "diagnostics": self.diagnostics,
            "arrival": self.arrival.to_dict() if self.arrival else None,
            "seed": self.seed,
            "notes": list(self.notes),
            **({} if self.pilot is None else {"pilot": self.pilot.to_dict()}),
        }

    def inclusion(self) -> Tensor:
        """Return the exact probability (N,) float64 that an item is used in an epoch, including the identity rule."""
        return self.acceptance if self.rule is None else self.rule.inclusion()

    @overload
    def sampler(self, *, score: None = None, **options: Any) -> RejectionSampler: ...

    @overload
    def sampler(self, *, score: Score, items: int | None = None, **options: Any) -> LazyRejectionSampler: ...

    def sampler(
        self, *, score: Score | None = None, items: int | None = None, **options: Any
    ) -> RejectionSampler | LazyRejectionSampler:
        """Return a sampler over the items of the plan, or with `score` over a pool of which it saw a part or nothing.

        Args:
            score: Function from (n,) int64 items, ascending, to their (n, D) features, of the kind that the plan was
                made on; or to (features, usable), where usable is (n,) bool and False for an item that cannot be used.
                It is called when a pass reaches these items, once for each item.
            items: Number N of items of the pool, with `score`. The default is that of the pilot.
            **options: Further arguments of `RejectionSampler`, or with `score` of `LazyRejectionSampler`.

        Raises:
            ValueError: If `score` is missing although the plan was made from a pilot, `items` is missing or given
                without `score`, or the plan has no `law`. When iterated, if `score` returns other features than the
                plan was made on, or NaN.
        """
        if score is not None:
            return self._lazy_sampler(score, items, options)
        if items is not None or (self.pilot is not None and not self.pilot.is_whole):
            raise ValueError("`Plan.sampler(score=...)` is required for a pool of which the plan saw a part.")
        return RejectionSampler(self._drawn(), **{"seed": self.seed, **options})

    def _lazy_sampler(self, score: Score, items: int | None, options: dict[str, Any]) -> LazyRejectionSampler:
        """Return the sampler that computes the features of what it reaches."""
        if self.law is None:
            raise ValueError("`Plan.sampler(score=...)` needs a plan from features whose items are accepted singly.")
        known = None
        if self.pilot is not None:
            unusable = self.pilot.unusable
            values = [self.log_ratio.numpy(), np.full(len(unusable), -math.inf)]
            known = np.concatenate([self.pilot.rows, unusable]), np.concatenate(values)
            items = self.pilot.items if items is None else items
        if items is None:
            raise ValueError("`Plan.sampler(items=...)` is required: the plan was not made from a pilot.")
        scored = Scored(self.law, score)
        return LazyRejectionSampler(
            scored, self.envelope.log_m, items, **{"seed": self.seed, "known": known, **options}
        )

    def check_promise(self, items: Tensor, log_ratio: Tensor) -> Promise | None:
        """Compare the items that a run met with what the pilot promised.

        Args:
            items: (n,) int64 items whose ratio was computed, as in `LazyRejectionSampler.scored`.
            log_ratio: (n,) their log ratios; -inf for an item that cannot be used, which is left out.

        Returns:
            The figures of the items outside the pilot. None without a pilot, or if there are none.
        """
        if self.pilot is None or self.law is None:
            return None
        new = log_ratio[torch.from_numpy(~np.isin(items.numpy(), self.pilot.rows)) & ~log_ratio.isneginf()]
        if not len(new):
            return None
        return check_promise(
            new,
            self.envelope.log_m,
            mean_error=self.diagnostics["mean_ratio_error"] / self.diagnostics["mean_ratio"],
            clipped_mass=self.pilot.clipped_mass.high or 0.0,
            retain_fraction=self.law.retain_fraction,
        )

    def accepted(self, epoch: int = 0) -> np.ndarray:
        """Return the ascending indices (n,) int64 of the items of the plan that are accepted in an epoch."""
        if self.pilot is None:
            return self.sampler().accepted(epoch).numpy()
        mask = accept_at(self.acceptance.numpy(), self.pilot.rows, seed=self.seed, epoch=epoch, balanced=True)
        return np.flatnonzero(mask)

    def _drawn(self) -> Any:
        """Return what `RejectionSampler` draws from: the identity rule, or the probabilities."""
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
    pilot: Part | None = None,
    seed: int = 0,
    **ratio_options: Any,
) -> Plan:
    """Estimate the density ratio, choose the envelope, and judge whether to train on the accepted items.

    Args:
        pool: (N, D) features of the pool's items: a tensor, an array or memory map, or a sequence of such shards.
        target: (K, D) features of items of the target population, in the same forms. No labels are needed.
        envelope: Rule of `choose_envelope`: "max", "max_tv=0.02", "rate=0.1", "quantile=0.97" or "log_m=1.5".
        retain_fraction: Share of the pool itself in the target, in [0, 1].
        identities: (N,) integer identity or class of each item. Required if `accept_by` is "identity" or `floor` is
            above 1.
        accept_by: "item" to accept items one by one, or "identity" to accept or reject all items of an identity
            together, by their mean ratio.
        floor: Minimum number of items of each accepted identity; an identity with fewer items keeps all of them. Above
            1 only with `accept_by="item"`.
        covariates: name -> (N,) values of the pool's items, and name -> (K,) values of the target items. They are used
            to describe the shift.
        words: covariate -> words for a low and for a high value, such as ("dark", "bright").
        method: Estimator of the ratio, see `fit_ratio`.
        pilot: If `pool` is a random part of a larger pool, the (N,) int64 numbers of its items there, ascending, and
            the size of the larger pool; then, if there are any, the numbers of further items of that part, which
            cannot be used. Items must then be accepted one by one.
        seed: Seed for the folds of the ratio and for the accept decisions.
        **ratio_options: Options of `fit_ratio`. Pass `groups=identities` if the target shows other people than the
            pool, and `target_groups`, (K,) integers, if several target items show the same, such as frames of a clip:
            they count as one. Equal rows are found anyway.

    Returns:
        The plan.

    Raises:
        ValueError: If the features or an option are not valid (see `fit_ratio` and `choose_envelope`), `accept_by` and
            `floor` do not go together, or `identities` is required and missing.

    >>> generator = torch.Generator().manual_seed(0)
    >>> pool = torch.randn(2000, 2, generator=generator)
    >>> target = 0.5 * torch.randn(500, 2, generator=generator) + torch.tensor([1.0, 0.0])
    >>> plan(pool, target, envelope="max_tv=0.02").verdict.outcome
    <Outcome.WORTH_TRYING: 'worth trying'>
    """
    check_identity_rule(accept_by, floor, identities)
    if pilot is not None and (accept_by != AcceptBy.ITEM or floor > 1):
        raise ValueError("`plan(pilot=...)` needs items that are accepted one by one, without a floor.")
    ratio = fit_ratio(pool, target, method, seed=seed, **ratio_options)
    thinned = thin(ratio.pool_log_ratio, envelope, retain_fraction, identities, accept_by, floor)
    arrival = check_arrival(ratio, pool, target, identities, covariates, words or {}, thinned.likeness, seed)
    seen, targets_seen = (int(ratio.diagnostics[name]) for name in ("items_trained_on", "target_items_trained_on"))
    targets = len(ratio.target_log_ratio)
    different = ratio.diagnostics["target_effective_groups"] / targets
    figures = {
        **ratio.diagnostics,
        "auc_error": auc_error(ratio.diagnostics["auc"], targets_seen * different, seen - targets_seen),
        "target_items": float(targets),
        **thinned.figures,
        **arrival.figures,
    }
    assessed = None
    if pilot is not None:
        assessed = assess_part(pilot, thinned, identities, seed)
        figures |= assessed.figures()
        figures["expected_accepted"] *= assessed.items / assessed.looked_at
    made = _to_plan(
        thinned,
        figures,
        arrival,
        judge_plan(figures, thinned.envelope, arrival.unsupported),
        seed,
        ratio.method,
        (ratio.pool_fold, ratio.target_fold),
    )
    made = replace(made, notes=notes_on(figures, arrival.second))
    if thinned.rule is not None:
        return made
    law = Law(ratio, thinned.log_mean, retain_fraction, thinned.envelope.log_m, thinned.likeness_log_m)
    return replace(made, law=law, pilot=assessed)


def plan_from_ratio(
    log_ratio: Any,
    *,
    envelope: str = "max",
    retain_fraction: float = 0.0,
    identities: Tensor | None = None,
    accept_by: str = "item",
    floor: int = 1,
    seed: int = 0,
) -> Plan:
    """Make a plan for a ratio that is already known, such as one from `attribute_ratio` or `exponential_tilt`.

    Args:
        log_ratio: (N,) floating log target - log pool of the pool's items, up to a constant.
        envelope: Rule of `choose_envelope`, as in `plan`.
        retain_fraction: Share of the pool itself in the target, in [0, 1].
        identities: (N,) integer identity or class of each item. Required if `accept_by` is "identity" or `floor` is
            above 1.
        accept_by: "item", or "identity" to accept or reject all items of an identity together.
        floor: Minimum number of items of each accepted identity, as in `plan`.
        seed: Seed for the accept decisions.

    Returns:
        The plan, without `arrival` and `folds`.

    Raises:
        ValueError: If a log ratio is NaN or +inf, an option is not valid, `accept_by` and `floor` do not go together,
            or `identities` is required and missing.

    >>> from rsft.ratio.attributes import attribute_ratio
    >>> log_ratio = attribute_ratio(["day"] * 90 + ["night"] * 10, {"day": 0.5, "night": 0.5})
    >>> round(plan_from_ratio(log_ratio).envelope.acceptance_rate, 3)
    0.2
    """
    check_identity_rule(accept_by, floor, identities)
    thinned = thin(log_ratio, envelope, retain_fraction, identities, accept_by, floor)
    verdict = judge_given(thinned.figures, thinned.envelope)
    return _to_plan(thinned, thinned.figures, None, verdict, seed, GIVEN, None)


def _to_plan(
    thinned: Thinned,
    figures: dict[str, float],
    arrival: Arrival | None,
    verdict: Verdict,
    seed: int,
    method: str,
    folds: tuple[np.ndarray, np.ndarray] | None,
) -> Plan:
    """Complete the plan; the arguments are attributes of `Plan`, with `figures` its diagnostics."""
    return Plan(
        thinned.acceptance,
        thinned.log_ratio,
        thinned.likeness,
        thinned.envelope,
        price_list(thinned.log_ratio),
        figures,
        arrival,
        verdict,
        seed,
        method,
        folds,
        thinned.rule,
    )
