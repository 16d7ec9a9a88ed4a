"""How well a network verifies what looks like the target, told before any training by the pool's labels."""

from dataclasses import dataclass, replace

import numpy as np

from rsft.data.features import Features
from rsft.face.evaluation.bootstrap import interval
from rsft.face.evaluation.pairs import PairList, list_all_pairs
from rsft.face.evaluation.trials import scored
from rsft.face.evaluation.verification import verify
from rsft.plan import Plan
from rsft.sampling.identities import rank_within_group
from rsft.types import Interval
from rsft.verdict import Outcome, Verdict

FMR = 0.01
MAX_ALIKE, MAX_USUAL = 300, 1000
DRAWS = 200
# A network copes that verifies this share of pictures like the target, and others of the same people so little better.
MIN_TAR, MAX_GAP = 0.95, 0.05


@dataclass(frozen=True)
class Headroom:
    """TAR at `FMR`, with intervals over identities.

    Attributes:
        alike: of pictures like the target, each compared with pictures of the pool as they come.
        usual: of pictures of the same people as they come.
        gap: usual less alike.
    """

    alike: Interval
    usual: Interval
    gap: Interval


def find_headroom(
    embeddings: np.ndarray, people: np.ndarray, likeness: np.ndarray, *, seed: int = 0
) -> Headroom | None:
    """Verify a draw of the items that look like the target, and the others of the same people.

    Args:
        embeddings: (N, D) of the pool, by the network before any training.
        people: (N,) int identity of each item.
        likeness: (N,) in [0, 1], the probability with which an item is accepted for the target alone; of so many items
            as these are worth, and at most `MAX_ALIKE`, each is drawn in proportion to it.
        seed: of the draws.

    Returns:
        None where too few pictures are compared to tell.
    """
    if not likeness.any():
        return None
    generator, shares = np.random.default_rng(seed), likeness / likeness.sum()
    size = min(MAX_ALIKE, int(1 / (shares**2).sum()))
    alike = generator.choice(len(shares), size, replace=False, p=shares)
    theirs = generator.permutation(np.flatnonzero(np.isin(people, people[alike])))
    most = max(2, MAX_USUAL // len(np.unique(people[alike])))
    usual = theirs[rank_within_group(people[theirs]) < most]
    rows = np.concatenate([alike, usual])
    first, second = (index.ravel() for index in np.indices((len(alike), len(usual))))
    others = rows[first] != usual[second]
    among = list_all_pairs(people[usual])
    compared = {
        "alike": PairList(first[others], len(alike) + second[others], people[rows]),
        "usual": PairList(len(alike) + among.a, len(alike) + among.b, people[rows]),
    }
    if not all(count for pairs in compared.values() for count in pairs.counts):
        return None
    values, draws = {}, {}
    for name, pairs in compared.items():
        report = verify([scored({"": embeddings[rows]}, pairs)], fmrs=[FMR], draws=DRAWS, seed=seed)
        values[name], draws[name] = report.systems[""].tar_at_fmr[FMR], report.draws[""][FMR]
    alike_value, usual_value = values["alike"].value, values["usual"].value
    if alike_value is None or usual_value is None:
        return None
    gap = interval(usual_value - alike_value, draws["usual"] - draws["alike"])
    return Headroom(values["alike"], values["usual"], gap)


def with_headroom(plan: Plan, pool: Features) -> Plan:
    """The plan, its verdict minding whether the network copes with the target as it is; see `find_headroom`."""
    found = find_headroom(pool.embeddings, pool.people, plan.likeness.numpy(), seed=plan.seed)
    if found is None:
        return plan
    figures = {"alike_tar": found.alike.value, "usual_tar": found.usual.value, "tar_gap": found.gap.value}
    figures |= {"tar_gap_low": found.gap.low, "tar_gap_high": found.gap.high}
    diagnostics = plan.diagnostics | {name: value for name, value in figures.items() if value is not None}
    return replace(plan, diagnostics=diagnostics, verdict=_judged(plan.verdict, found))


def _judged(verdict: Verdict, found: Headroom) -> Verdict:
    if verdict.outcome is not Outcome.WORTH_TRYING:
        return verdict
    told = (
        f"the network verifies pictures like the target at {found.alike} and others of the same people at "
        f"{found.usual} (TAR at FMR {FMR:g} on the pool)"
    )
    value, gap = found.alike.value or 0.0, found.gap
    if value >= MIN_TAR and gap.high is not None and gap.high < MAX_GAP:
        return Verdict(Outcome.MODEL_COPES, f"{told}; training on them is not likely to gain")
    if gap.value is not None and gap.value < MAX_GAP:
        told += ", hardly worse: uniform training may gain as much"
    return Verdict(verdict.outcome, f"{verdict.reason}; {told}")
