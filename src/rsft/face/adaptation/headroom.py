"""Headroom: how well a network already verifies target-like pictures, estimated from the labels of the pool."""

from dataclasses import dataclass, replace

import numpy as np

from rsft.data.features import Features
from rsft.face.adaptation.alike import FMR, choose_compared
from rsft.face.evaluation.bootstrap import interval
from rsft.plan import Plan
from rsft.types import Interval
from rsft.verdict import Outcome, Verdict

# The model already handles the target if its TAR on target-like pictures is at least MIN_TAR, and the TAR on usual
# pictures of the same people is less than MAX_GAP above it.
MIN_TAR, MAX_GAP = 0.95, 0.05


@dataclass(frozen=True)
class Headroom:
    """TAR at `FMR` of target-like and of usual pictures, with intervals over identities.

    Attributes:
        alike: TAR of target-like pictures, each compared with the usual pictures.
        usual: TAR of usual pictures, which are random pictures of the same people.
        gap: `usual` minus `alike`.
    """

    alike: Interval
    usual: Interval
    gap: Interval


def find_headroom(
    embeddings: np.ndarray, people: np.ndarray, likeness: np.ndarray, *, seed: int = 0
) -> Headroom | None:
    """Estimate how well the pretrained network verifies target-like pictures and random pictures of the same people.

    Args:
        embeddings: (N, D) embeddings of the pool by the pretrained network.
        people: (N,) int identity of each item.
        likeness: (N,) probability that an item is accepted for the target alone, in [0, 1].
        seed: Seed for the draws of `choose_compared` and for the bootstrap.

    Returns:
        The headroom, or None if there are too few comparisons.
    """
    compared = choose_compared(people, likeness, seed=seed)
    if compared is None:
        return None
    reports = compared.verify({"": embeddings[compared.rows]}, seed=seed)
    values = {name: report.systems[""].tar_at_fmr[FMR] for name, report in reports.items()}
    draws = {name: report.draws[""][FMR] for name, report in reports.items()}
    alike_value, usual_value = values["alike"].value, values["usual"].value
    if alike_value is None or usual_value is None:
        return None
    gap = interval(usual_value - alike_value, draws["usual"] - draws["alike"])
    return Headroom(values["alike"], values["usual"], gap)


def with_headroom(plan: Plan, pool: Features, likeness: np.ndarray | None = None) -> Plan:
    """Add the headroom to the diagnostics and the verdict of a plan.

    The verdict of a plan that is worth trying becomes `Outcome.MODEL_COPES` if the model already handles the target.
    The plan is returned unchanged if the headroom cannot be estimated; see `find_headroom`.

    Args:
        plan: Plan of the pool.
        pool: Features of the pool by the pretrained network, or of some of its pictures.
        likeness: (N,) numbers in [0, 1] in proportion to which these pictures are drawn as like the target. The default
            is the likeness of the plan's items.
    """
    known = plan.likeness.numpy() if likeness is None else likeness
    found = find_headroom(pool.embeddings, pool.people, known, seed=plan.seed)
    if found is None:
        return plan
    figures = {"alike_tar": found.alike.value, "usual_tar": found.usual.value, "tar_gap": found.gap.value}
    figures |= {"tar_gap_low": found.gap.low, "tar_gap_high": found.gap.high}
    diagnostics = plan.diagnostics | {name: value for name, value in figures.items() if value is not None}
    return replace(plan, diagnostics=diagnostics, verdict=_judged(plan.verdict, found))


def _judged(verdict: Verdict, found: Headroom) -> Verdict:
    """Return the verdict in view of the headroom. Only a verdict that a plan is worth trying changes."""
    if verdict.outcome is not Outcome.WORTH_TRYING:
        return verdict
    told = (
        f"the network verifies pictures like the target at {found.alike} and others of the same people at "
        f"{found.usual} (TAR at FMR {FMR:g} on the pool)"
    )
    value, gap = found.alike.value or 0.0, found.gap
    if value >= MIN_TAR and gap.high is not None and gap.high < MAX_GAP:
        return Verdict(Outcome.MODEL_COPES, f"{told}; training on them is unlikely to help")
    if gap.value is not None and gap.value < MAX_GAP:
        told += ", hardly worse: uniform training may gain as much"
    return Verdict(verdict.outcome, f"{verdict.reason}; {told}")
