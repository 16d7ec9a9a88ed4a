"""The main entry point: acceptance probabilities from pool and target features, their cost, and a verdict on them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rsft.arrival import Arrival, Covariates, check_arrival
from rsft.envelope import Envelope, choose_envelope, price_list
from rsft.evaluation.shift import auc_error
from rsft.law import Law
from rsft.pareto import pareto_k
from rsft.pilot import NONE, Pilot, assess_pilot
from rsft.promise import Promise, check_promise
from rsft.ratio import fit_ratio
from rsft.ratio.combine import retain_pool
from rsft.ratio.rows import Table
from rsft.sampling.acceptance import accept_at, acceptance_probability, check_log_ratio
from rsft.sampling.identities import AcceptBy, FloorAcceptance, IdentityAcceptance, identity_log_ratio, mind_identities
from rsft.sampling.lazy import LazyRejectionSampler
from rsft.sampling.sampler import RejectionSampler
from rsft.verdict import Verdict, judge_given, judge_plan

GIVEN = "given"

# (n,) ascending items of the pool -> their features (n, D), or (features, usable) with a mask (n,) bool
Score = Callable[[np.ndarray], Any]
# items of a pilot, number of items of its pool, and further items of the pilot that cannot be used
Part = tuple[np.ndarray, int] | tuple[np.ndarray, int, np.ndarray]


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

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary, without the values of the items."""
        return {
            "verdict": {"outcome": str(self.verdict.outcome), "reason": self.verdict.reason},
            "envelope": vars(self.envelope),
            "m": math.exp(self.envelope.log_m),
            "prices": [vars(envelope) for envelope in self.prices],
            "method": self.method,
            "diagnostics": self.diagnostics,
            "arrival": self.arrival.to_dict() if self.arrival else None,
            "seed": self.seed,
            **({} if self.pilot is None else {"pilot": self.pilot.to_dict()}),
        }

    def inclusion(self) -> Tensor:
        """Return the exact probability (N,) float64 that an item is used in an epoch, including the identity rule."""
        return self.acceptance if self.rule is None else self.rule.inclusion()

    def sampler(self, **options: Any) -> RejectionSampler:
        """Return a sampler over the items of the plan; `options` are passed to `RejectionSampler`.

        Raises:
            ValueError: If the plan was made from a pilot; see `lazy_sampler`.
        """
        if self.pilot is not None and not self.pilot.is_whole:
            raise ValueError("`Plan.sampler`: the plan was made from a part of the pool; use `lazy_sampler`.")
        return RejectionSampler(self._drawn(), **{"seed": self.seed, **options})

    def lazy_sampler(self, score: Score, items: int | None = None, **options: Any) -> LazyRejectionSampler:
        """Return a sampler over a whole pool, of which this plan saw a part or nothing.

        Args:
            score: Function from (n,) int64 items, ascending, to their (n, D) features, of the kind that the plan was
                made on; or to (features, usable), where usable is (n,) bool and False for an item that cannot be used.
                It is called when a pass reaches these items, once for each item.
            items: Number N of items of the pool. The default is that of the pilot.
            **options: Further arguments of `LazyRejectionSampler`.

        Raises:
            ValueError: If the plan has no `law`, or the number of items is missing. When iterated, if `score` returns
                other features than the plan was made on, or NaN.
        """
        if self.law is None:
            raise ValueError("`Plan.lazy_sampler` needs a plan from features whose items are accepted one by one.")
        known = None
        if self.pilot is not None:
            unusable = self.pilot.unusable
            values = [self.log_ratio.numpy(), np.full(len(unusable), -math.inf)]
            known = np.concatenate([self.pilot.rows, unusable]), np.concatenate(values)
        if items is None:
            if self.pilot is None:
                raise ValueError("`Plan.lazy_sampler(items=...)` is required: the plan was not made from a pilot.")
            items = self.pilot.items
        return LazyRejectionSampler(
            _Scored(self.law, score),
            self.envelope.log_m,
            items,
            **{"seed": self.seed, "known": known, **options},
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
            pool.

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
    _check_rule(accept_by, floor, identities)
    if pilot is not None and (accept_by != AcceptBy.ITEM or floor > 1):
        raise ValueError("`plan(pilot=...)` needs items that are accepted one by one, without a floor.")
    ratio = fit_ratio(pool, target, method, seed=seed, **ratio_options)
    thinned = _thin(ratio.pool_log_ratio, envelope, retain_fraction, identities, accept_by, floor)
    arrival = check_arrival(ratio, pool, target, identities, covariates, words or {}, thinned.likeness, seed)
    seen, targets_seen = (int(ratio.diagnostics[name]) for name in ("items_trained_on", "target_items_trained_on"))
    figures = {
        **ratio.diagnostics,
        "auc_error": auc_error(ratio.diagnostics["auc"], targets_seen, seen - targets_seen),
        "target_items": float(len(ratio.target_log_ratio)),
        **thinned.figures,
        **arrival.figures,
    }
    assessed = None
    if pilot is not None:
        assessed = _assess(pilot, thinned, identities, seed)
        figures |= assessed.figures()
        figures["expected_accepted"] *= assessed.items / assessed.looked_at
    made = thinned.to_plan(
        figures,
        arrival,
        judge_plan(figures, thinned.envelope, arrival.unsupported),
        seed,
        ratio.method,
        (ratio.pool_fold, ratio.target_fold),
    )
    if thinned.rule is not None:
        return made
    law = Law(ratio, thinned.log_mean, retain_fraction, thinned.envelope.log_m, thinned.likeness_log_m)
    return replace(made, law=law, pilot=assessed)


def _assess(pilot: Part, thinned: "_Thinned", identities: Tensor | None, seed: int) -> Pilot:
    """Return the figures of the pool that a pilot is a part of."""
    rows, items, unusable = np.asarray(pilot[0]), pilot[1], pilot[2] if len(pilot) > 2 else NONE
    if rows.shape != (len(thinned.log_ratio),) or items < len(rows) + len(unusable) or bool((np.diff(rows) <= 0).any()):
        raise ValueError(
            f"`plan(pilot=...)` needs the ascending numbers of the {len(thinned.log_ratio)} items, and the size of the "
            f"larger pool, got {rows.shape} numbers and {items}."
        )
    return assess_pilot(
        rows,
        items,
        thinned.log_ratio,
        thinned.envelope,
        like_target=thinned.figures["target_effective_size"],
        groups=identities,
        unusable=unusable,
        seed=seed,
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
    _check_rule(accept_by, floor, identities)
    thinned = _thin(log_ratio.detach().cpu().double(), envelope, retain_fraction, identities, accept_by, floor)
    verdict = judge_given(thinned.figures, thinned.envelope)
    return thinned.to_plan(thinned.figures, None, verdict, seed, GIVEN, None)


class _Scored:
    """The function from items to log ratios, through their features."""

    def __init__(self, law: Law, score: Score) -> None:
        self._law, self._score = law, score

    def __call__(self, items: np.ndarray) -> Tensor:
        call = "Plan.lazy_sampler(score=...)"
        features, usable = features_of(self._score, items, call)
        log_ratio = torch.full((len(items),), -math.inf, dtype=torch.float64)
        if usable.any():
            try:
                log_ratio[usable] = self._law.log_ratio(features[usable])
            except ValueError as error:  # of another width than those of the plan
                raise ValueError(f"`{call}`, from item {items[0]} on: {error}") from None
        return log_ratio


def features_of(score: Score, items: np.ndarray, call: str) -> tuple[Tensor, Tensor]:
    """Return the features of items, (n, D), and which of the items can be used, (n,) bool.

    Args:
        score: The function that computes them.
        items: (n,) int64 items, at least one.
        call: Names the argument in the messages.

    Raises:
        ValueError: If the shapes do not fit, or a feature of a usable item is NaN or infinite; the message names the
            item.
    """
    found = score(items)
    features, usable = found if isinstance(found, tuple) else (found, np.ones(len(items), bool))
    features, usable = torch.as_tensor(features), torch.as_tensor(usable)
    if features.ndim != 2 or len(features) != len(items) or usable.shape != (len(items),):
        raise ValueError(
            f"`{call}` needs a row of features for each of {len(items)} items, from item {items[0]} on, got "
            f"{tuple(features.shape)} with a mask {tuple(usable.shape)}."
        )
    wrong = usable & ~torch.isfinite(features).all(1)
    if wrong.any():
        raise ValueError(
            f"`{call}` gave NaN or infinity for item {items[int(wrong.nonzero()[0])]}: return (features, usable) to "
            "leave out items that cannot be read."
        )
    return features, usable


class _Thinned(NamedTuple):
    """The part of a `Plan` that follows from the log ratio alone; `figures` are its diagnostics."""

    acceptance: Tensor
    log_ratio: Tensor
    likeness: Tensor
    envelope: Envelope
    rule: FloorAcceptance | IdentityAcceptance | None
    figures: dict[str, float]
    log_mean: float
    likeness_log_m: float

    def to_plan(
        self,
        figures: dict[str, float],
        arrival: Arrival | None,
        verdict: Verdict,
        seed: int,
        method: str,
        folds: tuple[np.ndarray, np.ndarray] | None,
    ) -> Plan:
        """Complete the plan; the arguments are attributes of `Plan`, with `figures` its diagnostics."""
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
    """Raise ValueError unless the identity options go together and `identities` is given if required."""
    whole = accept_by == AcceptBy.IDENTITY
    if accept_by not in list(AcceptBy) or floor < 1 or (whole and floor > 1):
        raise ValueError(
            "`plan(accept_by=..., floor=...)` needs 'item' with a floor of 1 or more, or 'identity' without one; got "
            f"{accept_by!r}, {floor}."
        )
    if identities is None and (whole or floor > 1):
        raise ValueError("`plan(identities=...)` is required to accept by identity or with a floor.")


def _thin(
    log_ratio: Tensor, envelope: str, retain_fraction: float, identities: Tensor | None, accept_by: str, floor: int
) -> _Thinned:
    """Choose the envelope for a log ratio and compute the acceptance probabilities and their diagnostics."""
    check_log_ratio(log_ratio, "plan(log_ratio=...)")
    # Scale to mean 1 over the pool, so that the retained share is exact on this pool.
    log_mean = float(torch.logsumexp(log_ratio, 0)) - math.log(len(log_ratio))
    alone = log_ratio - log_mean
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
    return _Thinned(acceptance, mixed, likeness, chosen, rule, figures, log_mean, for_target.log_m)


def _identities_kept(acceptance: Tensor, identities: Tensor, *, whole: bool) -> dict[str, float]:
    """Compute the expected number of identities with an accepted item, also for a uniform subset of equal size."""
    _, index, counts = torch.unique(identities, return_inverse=True, return_counts=True)
    missed = torch.zeros(len(counts), dtype=torch.float64).index_add_(0, index, torch.log1p(-acceptance.clamp(max=1)))
    if whole:  # all items of an identity share one draw
        missed = missed / counts
    uniform_missed = counts * torch.log1p(-acceptance.mean())
    return {
        "identities": float(len(counts)),
        "identities_accepted": float(-torch.expm1(missed).sum()),
        "identities_uniform": float(-torch.expm1(uniform_missed).sum()),
    }
