"""Whether new pictures are still like those of a target, from their features or from a summary of the target."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy.stats import fisher_exact

from rsft.data.features import Features
from rsft.evaluation.covariate_summary import (
    MIN_KEPT,
    Change,
    CovariateSummary,
    items_to_tell,
    one_law_p,
    summarise_covariates,
    told_auc,
)
from rsft.evaluation.shift import FOLDS, auc_error, cross_fitted_auc
from rsft.evaluation.support import support, wilson
from rsft.face.adaptation.planning import WORDS, shared_covariates, table_of, target_groups
from rsft.face.adaptation.sameness import copies
from rsft.groups import effective_number, joined
from rsft.types import Interval, normal_interval
from rsft.verdict import DIFFERENCE_ERRORS, MAX_ARRIVAL_AUC, MIN_TARGET

MIN_NEW = 30  # new pictures, in effect; fewer are not compared
ALARM = 1 - NormalDist().cdf(DIFFERENCE_ERRORS)  # probability of a false alarm of one figure
NAMED = 3  # covariates in the reason
COVARIATES = "covariates"


class Drift(StrEnum):
    """The outcome of a comparison of new pictures with a target."""

    SAME = "no difference found"
    DRIFTED = "drifted"
    TOO_FEW = "too few pictures to tell"


@dataclass(frozen=True, kw_only=True)
class DriftFound:
    """How new pictures compare with a target.

    Attributes:
        outcome: Whether they differ.
        reason: The figures behind the outcome, in one sentence.
        advice: What to do, in one sentence.
        tune_again: Whether a new plan is advised.
        target: Number of different pictures of the target, in effect.
        pictures: Number of new pictures that could be used.
        different: Number of different ones among them, in effect.
        auc: Kind of features -> AUC between the target and the new pictures; empty if there are too few.
        unsupported: Share of the new pictures outside the target; None if there are too few.
        unsupported_then: The share to expect of pictures like the target.
        covariates: The change of each covariate, the largest first.
        told_auc: The AUC that so many pictures tell with a probability of 80 %.
        pictures_needed: Number of different new pictures that tell an AUC of `MAX_ARRIVAL_AUC` with a probability of
            80 %. None if no number does, since the target has too few.
    """

    outcome: Drift
    reason: str
    advice: str
    tune_again: bool
    target: float
    pictures: int
    different: float
    auc: dict[str, Interval]
    unsupported: Interval | None
    unsupported_then: float | None
    covariates: Sequence[Change]
    told_auc: float | None
    pictures_needed: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as a dictionary for JSON."""
        return vars(self) | {
            "outcome": str(self.outcome),
            "auc": {name: auc.to_dict() for name, auc in self.auc.items()},
            "unsupported": None if self.unsupported is None else self.unsupported.to_dict(),
            "covariates": [change.to_dict() for change in self.covariates],
        }


@dataclass(frozen=True)
class _Figures:
    """What a comparison measured; attributes of `DriftFound`, and the names of the figures that are alarming."""

    auc: dict[str, Interval]
    unsupported: Interval
    unsupported_then: float
    covariates: Sequence[Change]
    alarms: Sequence[str]


def drift_from_summary(target: CovariateSummary, new: Features) -> DriftFound:
    """Compare new pictures with the covariates of a target that is kept as a summary.

    Args:
        target: The summary.
        new: Features of the new pictures, with its covariates.
    """
    groups = target_groups(new)
    if effective_number(groups) < MIN_NEW:
        return _judged(target.effective, new, groups, None, len(target.names))
    found = target.difference(new.covariates, groups)
    alarms = [COVARIATES] * (found.auc_p < ALARM) + ["unsupported"] * (found.unsupported_p < ALARM)
    changes = target.changes(new.covariates, groups)
    figures = _Figures({COVARIATES: found.auc}, found.unsupported, found.unsupported_then, changes, alarms)
    return _judged(target.effective, new, groups, figures, len(target.names))


def drift_from_pictures(target: Features, new: Features, kinds: Sequence[str], *, seed: int = 0) -> DriftFound:
    """Compare new pictures with those of a target.

    Args:
        target: Features of the target, with at least `MIN_KEPT` different pictures.
        new: Features of the new pictures, by the same model.
        kinds: Kinds of features to compare on, of `rsft.face.adaptation.recipe.FEATURES`. The first one tells which
            pictures are outside the target.
        seed: Seed of the folds.
    """
    names = shared_covariates(target, new)
    then, now = _groups(target, new)
    effective = effective_number(then)
    if effective_number(now) < MIN_NEW:
        return _judged(effective, new, now, None, len(names))
    folds = _folds(then, now, seed)
    aucs, alarms = {}, []
    for kind in kinds:
        old_rows, new_rows = table_of(target, new, kind)
        auc = cross_fitted_auc(old_rows, new_rows, folds=folds, seed=seed)
        aucs[kind] = normal_interval(auc, auc_error(auc, effective_number(now), effective))
        if one_law_p(old_rows, new_rows, (effective, effective_number(now))) < ALARM:
            alarms.append(kind)
    old_rows, new_rows = table_of(target, new, kinds[0])
    outside = support(old_rows, new_rows, target_groups=now, seed=seed).unsupported_fraction
    usual = _outside_itself(old_rows, folds[0], seed)
    share, told = outside.value or 0.0, effective_number(now)
    counts = [[round(part * size), round((1 - part) * size)] for part, size in ((share, told), (usual, effective))]
    if fisher_exact(counts, alternative="greater").pvalue < ALARM:
        alarms.append("unsupported")
    summary = summarise_covariates({name: target.covariates[name] for name in names}, then)
    changes = [] if summary is None else summary.changes(new.covariates, now)
    figures = _Figures(aucs, wilson(share, told), usual, changes, alarms)
    return _judged(effective, new, now, figures, len(names))


def _groups(target: Features, new: Features) -> tuple[np.ndarray, np.ndarray]:
    """Group the pictures of both sides that count as one; a group may have pictures of both."""
    both = Features(
        [*target.ids, *new.ids],
        np.concatenate([target.embeddings, new.embeddings]),
        np.empty((0, 0), np.float32),
        None,
        [],
        new.fingerprint,
        {
            name: np.concatenate([target.covariates[name], new.covariates[name]])
            for name in shared_covariates(target, new)
        },
    )
    groups = joined(copies(both), np.concatenate([target_groups(target), len(target) + target_groups(new)]))
    return groups[: len(target)], groups[len(target) :]


def _folds(then: np.ndarray, now: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Deal the groups out to folds, so that copies are in one."""
    groups, place = np.unique(np.concatenate([then, now]), return_inverse=True)
    fold = (np.random.default_rng(seed).permutation(len(groups)) % FOLDS)[place]
    return fold[: len(then)], fold[len(then) :]


def _outside_itself(rows: np.ndarray, fold: np.ndarray, seed: int) -> float:
    """Return the share of a sample that is outside the other folds of it."""
    parts = [support(rows[fold != part], rows[fold == part], seed=seed).outside for part in np.unique(fold)]
    return float(np.concatenate(parts).mean())


def _judged(target: float, new: Features, groups: np.ndarray, figures: _Figures | None, width: int) -> DriftFound:
    """State the outcome, the reason and the advice."""
    different, needed = effective_number(groups), items_to_tell(MAX_ARRIVAL_AUC, target, width, ALARM)
    told = told_auc(target, different, width, ALARM)
    common: dict[str, Any] = {
        "target": target,
        "pictures": len(new),
        "different": different,
        "told_auc": told,
        "pictures_needed": needed,
    }
    if figures is None:
        more = MIN_NEW - int(different)
        return DriftFound(
            outcome=Drift.TOO_FEW,
            reason=f"{different:.0f} different pictures among {len(new)}; {MIN_NEW} are the least to compare",
            advice=f"collect {more} more before you ask again",
            tune_again=False,
            auc={},
            unsupported=None,
            unsupported_then=None,
            covariates=[],
            **common,
        )
    largest = max(figures.auc, key=lambda kind: figures.auc[kind].value or 0.5)
    auc = figures.auc[largest]
    far = (auc.value or 0.5) >= MAX_ARRIVAL_AUC or "unsupported" in figures.alarms
    drifted = bool(figures.alarms)
    return DriftFound(
        outcome=Drift.DRIFTED if drifted else Drift.SAME,
        reason=_reason(figures, largest),
        advice=_advice(figures, auc, different) if drifted else _if_same(told, needed, different),
        tune_again=drifted and far,
        auc=figures.auc,
        unsupported=figures.unsupported,
        unsupported_then=figures.unsupported_then,
        covariates=figures.covariates,
        **common,
    )


def _reason(figures: _Figures, largest: str) -> str:
    """Name the largest AUC, and what is alarming of the others."""
    auc = figures.auc[largest]
    told = f"target and new pictures differ by an AUC of {auc} on {largest}; 0.5 is chance"
    words = [
        WORDS.get(change.name, (f"low {change.name}", f"high {change.name}"))[(change.difference.value or 0) > 0]
        for change in figures.covariates
        if _clear(change.difference)
    ]
    if figures.alarms and words:
        told += f"; more are {', '.join(words[:NAMED])}"
    if "unsupported" in figures.alarms:
        told += f"; {figures.unsupported.value:.0%} are unlike any of the target, {figures.unsupported_then:.0%} were"
    return told


def _clear(difference: Interval) -> bool:
    """Return whether a change is more than `DIFFERENCE_ERRORS` standard errors from none."""
    value, high = difference.value or 0.0, difference.high or 0.0
    return abs(value) > (high - value) / NormalDist().inv_cdf(0.975) * DIFFERENCE_ERRORS


def _advice(figures: _Figures, auc: Interval, different: float) -> str:
    """Say whether to make a new plan, and how many pictures it lacks."""
    if (auc.value or 0.5) < MAX_ARRIVAL_AUC and "unsupported" not in figures.alarms:
        return (
            f"do not tune again yet: the difference is clear, but an AUC below {MAX_ARRIVAL_AUC:g} is no more than a "
            "plan leaves between the pictures it accepts and its target; watch whether it grows"
        )
    lacking = MIN_TARGET - int(different)
    first = f"collect {lacking} more, then " if lacking > 0 else ""
    return (
        f"{first}make a new plan with these pictures as the target, and tune again if it advises so; whether errors "
        "have become more frequent, only labelled new pictures tell (`rsft evaluate`)"
    )


def _if_same(told: float | None, needed: int | None, different: float) -> str:
    """Say what so many pictures would have told, and how many are needed to tell an AUC of `MAX_ARRIVAL_AUC`."""
    could = "" if told is None else f": with so many pictures, an AUC of {told:.2f} is found 4 times in 5"
    if needed is None:
        return f"nothing to do{could}; the target has too few pictures to tell {MAX_ARRIVAL_AUC:g} from chance"
    more = "" if needed <= different else f"; for an AUC of {MAX_ARRIVAL_AUC:g} give {needed} different ones"
    return f"nothing to do{could}{more}"


def kept_of(target: Features) -> CovariateSummary | None:
    """Return the summary of a target that a run keeps, or None if it has fewer than `MIN_KEPT` different pictures."""
    return summarise_covariates(target.covariates, target_groups(target))


__all__ = ["MIN_KEPT", "Drift", "DriftFound", "drift_from_pictures", "drift_from_summary", "kept_of"]
