"""The front door: from pool and target features to acceptance probabilities, their cost, and whether to use them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsft.acceptance import acceptance_probability
from rsft.envelope import Envelope, choose_envelope
from rsft.ratio import fit_ratio
from rsft.ratio.combine import retain_pool
from rsft.sampler import RejectionSampler

MIN_TARGET = 50
MIN_EFFECTIVE_SIZE = 30
MAX_UNSUPPORTED_FRACTION = 0.25
# Three standard errors of the area under the ROC curve above one half: the pool differs from the target.
DIFFERENCE_ERRORS = 3.0


class Outcome(StrEnum):
    """What a plan advises."""

    WORTH_TRYING = "worth trying"
    POOL_MATCHES = "the pool already matches the target"
    TOO_LITTLE_SUPPORT = "too little of the pool looks like the target"
    TARGET_TOO_SMALL = "too few target items to tell"


@dataclass(frozen=True)
class Verdict:
    """A named outcome and the figures that led to it, in words."""

    outcome: Outcome
    reason: str

    def __str__(self) -> str:
        return f"{self.outcome}: {self.reason}"


@dataclass(frozen=True)
class Plan:
    """What to train on.

    Attributes:
        acceptance: (N,) float64, the probability of each pool item in an epoch.
        log_ratio: (N,) float64, log target - log pool, of the target as stated (with the retained share of the pool).
        likeness: (N,) float64, the acceptance probability without the retained share.
        envelope: the chosen M and its price.
        diagnostics: figures of the ratio and of what will be accepted.
        verdict: the advice.
        seed: of the accept decisions.
    """

    acceptance: Tensor
    log_ratio: Tensor
    likeness: Tensor
    envelope: Envelope
    diagnostics: dict[str, float]
    verdict: Verdict
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the items."""
        return {
            "verdict": {"outcome": str(self.verdict.outcome), "reason": self.verdict.reason},
            "envelope": vars(self.envelope),
            "m": float(np.exp(self.envelope.log_m)),
            "diagnostics": self.diagnostics,
            "seed": self.seed,
        }

    def sampler(self, **options: Any) -> RejectionSampler:
        """A sampler over the pool with these probabilities; `options` are those of `RejectionSampler`."""
        return RejectionSampler(self.acceptance, **{"seed": self.seed, **options})


def plan(
    pool: Tensor,
    target: Tensor,
    *,
    envelope: str = "max",
    retain_fraction: float = 0.0,
    identities: Tensor | None = None,
    method: str = "classifier",
    seed: int = 0,
    **ratio_options: Any,
) -> Plan:
    """Estimate the ratio, choose the envelope and say whether training on the accepted is worth it.

    Args:
        pool: (N, D) features of the pool's items.
        target: (K, D) features of pictures of the target population, unlabelled.
        envelope: rule of `choose_envelope`, written "max", "max_tv=0.02", "rate=0.1", "quantile=0.97" or "log_m=1.5".
        retain_fraction: share of the pool itself in the target, in [0, 1].
        identities: (N,) identity or class of each item, for the count of those kept.
        method: of `fit_ratio`.
        seed: of the folds of the ratio and of the accept decisions.
        **ratio_options: of the method.

    Raises:
        ValueError: see `fit_ratio` and `choose_envelope`.

    >>> generator = torch.Generator().manual_seed(0)
    >>> pool = torch.randn(2000, 2, generator=generator)
    >>> target = 0.5 * torch.randn(500, 2, generator=generator) + torch.tensor([1.0, 0.0])
    >>> plan(pool, target, envelope="max_tv=0.02").verdict.outcome
    <Outcome.WORTH_TRYING: 'worth trying'>
    """
    ratio = fit_ratio(pool, target, method, seed=seed, **ratio_options)
    # Scaled to mean 1 over the pool, so that the retained share is the stated one on this very pool.
    alone = ratio.pool_log_ratio - (torch.logsumexp(ratio.pool_log_ratio, 0) - np.log(len(pool)))
    log_ratio = retain_pool(alone, retain_fraction)
    chosen = choose_envelope(log_ratio, envelope)
    acceptance = acceptance_probability(log_ratio, chosen.log_m)
    diagnostics = {
        **ratio.diagnostics,
        "auc_error": _auc_error(ratio.diagnostics["auc"], len(target), len(pool)),
        "unsupported_fraction": float((ratio.target_log_ratio > ratio.pool_log_ratio.max()).double().mean()),
        "expected_accepted": float(acceptance.sum()),
        "pool_items": float(len(pool)),
        "target_items": float(len(target)),
    }
    if identities is not None:
        diagnostics |= _identities_kept(acceptance, torch.as_tensor(identities))
    likeness = acceptance_probability(alone, choose_envelope(alone, envelope).log_m)
    return Plan(acceptance, log_ratio, likeness, chosen, diagnostics, _verdict(diagnostics, chosen), seed)


def _verdict(figures: dict[str, float], envelope: Envelope) -> Verdict:
    auc, error = figures["auc"], figures["auc_error"]
    if figures["target_items"] < MIN_TARGET:
        return Verdict(
            Outcome.TARGET_TOO_SMALL, f"{figures['target_items']:.0f} target items; take at least {MIN_TARGET}"
        )
    if auc < 0.5 + DIFFERENCE_ERRORS * error:
        return Verdict(
            Outcome.POOL_MATCHES,
            f"a classifier tells target from pool with an AUC of {auc:.3f} +- {error:.3f}; 0.5 is chance",
        )
    unsupported = figures["unsupported_fraction"]
    if unsupported > MAX_UNSUPPORTED_FRACTION or envelope.effective_size < MIN_EFFECTIVE_SIZE:
        return Verdict(
            Outcome.TOO_LITTLE_SUPPORT,
            f"{unsupported:.0%} of the target is more target-like than any pool item, and the accepted are worth "
            f"{envelope.effective_size:.0f} items; add pool items like the target, or retain more of the pool",
        )
    return Verdict(
        Outcome.WORTH_TRYING,
        f"target and pool differ (AUC {auc:.3f}); {figures['expected_accepted']:.0f} of {figures['pool_items']:.0f} "
        f"items are accepted an epoch, worth {envelope.effective_size:.0f} items; "
        f"{envelope.clipped_mass:.1%} of the target is clipped",
    )


def _auc_error(auc: float, positives: int, negatives: int) -> float:
    """Standard error of an area under the ROC curve (J. Hanley and B. McNeil, 1982)."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positives - 1) * (q1 - auc**2) + (negatives - 1) * (q2 - auc**2)
    return float(np.sqrt(max(variance, 0) / (positives * negatives)))


def _identities_kept(acceptance: Tensor, identities: Tensor) -> dict[str, float]:
    """How many identities are expected to have an accepted item, and how many at an equal-sized uniform subset."""
    _, index, counts = torch.unique(identities, return_inverse=True, return_counts=True)
    missed = torch.zeros(len(counts), dtype=torch.float64).index_add_(0, index, torch.log1p(-acceptance.clamp(max=1)))
    uniform_missed = counts * torch.log1p(-acceptance.mean())
    return {
        "identities": float(len(counts)),
        "identities_accepted": float(-torch.expm1(missed).sum()),
        "identities_uniform": float(-torch.expm1(uniform_missed).sum()),
    }
