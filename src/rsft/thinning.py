"""The part of a plan that follows from the log ratio alone: envelope, acceptance, and what is left of identities."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rsft.envelope import Envelope, choose_envelope
from rsft.pareto import pareto_k
from rsft.per_item import as_log_ratio, codes_of
from rsft.ratio.combine import retain_pool
from rsft.sampling.acceptance import acceptance_probability
from rsft.sampling.identities import AcceptBy, FloorAcceptance, IdentityAcceptance, identity_log_ratio, mind_identities


class Thinned(NamedTuple):
    """Envelope and acceptance of a pool.

    Attributes:
        acceptance: See `Plan`, as for the next four.
        log_ratio: With mean 1 over the pool before the retained share.
        likeness: Acceptance probability without the retained share.
        envelope: The chosen envelope.
        rule: The acceptance rule for identities, or None.
        figures: Diagnostics.
        log_mean: Log of the mean ratio, by which the ratios were divided.
        likeness_log_m: Log of the envelope for the target alone.
    """

    acceptance: Tensor
    log_ratio: Tensor
    likeness: Tensor
    envelope: Envelope
    rule: FloorAcceptance | IdentityAcceptance | None
    figures: dict[str, float]
    log_mean: float
    likeness_log_m: float


def check_identity_rule(accept_by: str, floor: int, identities: Any) -> None:
    """Raise ValueError unless the identity options go together and `identities` is given if required."""
    whole = accept_by == AcceptBy.IDENTITY
    if accept_by not in list(AcceptBy) or floor < 1 or (whole and floor > 1):
        raise ValueError(
            "`plan(accept_by=..., floor=...)` needs 'item' with a floor of 1 or more, or 'identity' without one; got "
            f"{accept_by!r}, {floor}."
        )
    if identities is None and (whole or floor > 1):
        raise ValueError("`plan(identities=...)` is required to accept by identity or with a floor.")


def thin(log_ratio: Any, envelope: str, retain_fraction: float, identities: Any, accept_by: str, floor: int) -> Thinned:
    """Choose the envelope for a log ratio and compute the acceptance probabilities and their diagnostics.

    The arguments are those of `plan_from_ratio`.
    """
    log_ratio = as_log_ratio(log_ratio, "plan(log_ratio=...)").detach().cpu().double()
    if not torch.isfinite(log_ratio).any():
        raise ValueError(
            "`plan(log_ratio=...)` needs items with a finite log ratio, got "
            + (f"-inf for all {len(log_ratio)}: the pool has no target mass." if len(log_ratio) else "no items.")
        )
    codes = None
    if identities is not None:
        codes = torch.from_numpy(codes_of(identities, "plan(identities=...)", len(log_ratio))[1])
    # Scale to mean 1 over the pool, so that the retained share is exact on this pool.
    log_mean = float(torch.logsumexp(log_ratio, 0)) - math.log(len(log_ratio))
    alone = log_ratio - log_mean
    figures = {"pareto_k": pareto_k(alone), "pool_items": float(len(alone))}
    whole = accept_by == AcceptBy.IDENTITY
    if whole:
        assert codes is not None
        coarse = identity_log_ratio(alone, codes)
        figures["identity_tv"] = float((alone.softmax(0) - coarse.softmax(0)).abs().sum() / 2)
        alone = coarse
    mixed = retain_pool(alone, retain_fraction)
    chosen = choose_envelope(mixed, envelope)
    acceptance = acceptance_probability(mixed, chosen.log_m)
    rule: FloorAcceptance | IdentityAcceptance | None = None
    if codes is not None:
        rule = mind_identities(acceptance, codes, accept_by, floor)
        figures |= _identities_kept(acceptance, codes, whole=whole)
    figures["expected_accepted"] = float((acceptance if rule is None else rule.inclusion()).sum())
    for_target = choose_envelope(alone, envelope)
    figures["target_effective_size"] = for_target.effective_size
    likeness = acceptance_probability(alone, for_target.log_m)
    return Thinned(acceptance, mixed, likeness, chosen, rule, figures, log_mean, for_target.log_m)


def _identities_kept(acceptance: Tensor, codes: Tensor, *, whole: bool) -> dict[str, float]:
    """Compute the expected number of identities with an accepted item, also for a uniform subset of equal size."""
    counts = codes.bincount()
    missed = torch.zeros(len(counts), dtype=torch.float64).index_add_(0, codes, torch.log1p(-acceptance.clamp(max=1)))
    if whole:  # all items of an identity share one draw
        missed = missed / counts
    uniform_missed = counts * torch.log1p(-acceptance.mean())
    return {
        "identities": float(len(counts)),
        "identities_accepted": float(-torch.expm1(missed).sum()),
        "identities_uniform": float(-torch.expm1(uniform_missed).sum()),
    }
