"""Error rates of groups of people at one threshold for all."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rsft.data.images import ImageSet
from rsft.data.manifest import read_attributes
from rsft.errors import InputError
from rsft.face.evaluation.bootstrap import INSUFFICIENT, interval
from rsft.face.evaluation.rule_of_30 import is_supported, note_for
from rsft.face.evaluation.scores import false_match_rates, false_non_match_rates
from rsft.face.evaluation.trials import AnyTrial
from rsft.face.evaluation.verification import (
    Verification,
    identity_weights,
)
from rsft.types import Interval

MIN_PEOPLE = 2
SHOWN_VALUES = 5


@dataclass(frozen=True)
class Group:
    """The comparisons within a group.

    Attributes:
        fmr: for each FMR that the thresholds were set for over all, the group's own.
        fnmr: likewise.
        accuracy: over the folds, with thresholds of the group's own, as RFW has it; None without folds.
        people: how many.
        pairs_genuine: number of genuine comparisons.
        pairs_impostor: of impostor comparisons between two of the group.
    """

    fmr: Mapping[float, Interval]
    fnmr: Mapping[float, Interval]
    accuracy: float | None
    people: int
    pairs_genuine: int
    pairs_impostor: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON, FMRs as text."""
        rates = {
            name: {f"{fmr:g}": rate.to_dict() for fmr, rate in getattr(self, name).items()} for name in ("fmr", "fnmr")
        }
        counts = ("accuracy", "people", "pairs_genuine", "pairs_impostor")
        return rates | {name: getattr(self, name) for name in counts}


@dataclass(frozen=True)
class Groups:
    """Groups of one attribute.

    Attributes:
        groups: by value, sorted.
        thresholds: one for all groups, for each FMR.
        unknown: how many pictures have no value and are in no group.
    """

    groups: Mapping[str, Group]
    thresholds: Mapping[float, float]
    unknown: int

    def ratio(self, rate: str, fmr: float) -> float | None:
        """Smallest over largest "fmr" or "fnmr" of the groups: 1 is equal. None without two, or if all are 0."""
        values = [getattr(group, rate)[fmr].value for group in self.groups.values()]
        known = [value for value in values if value is not None]
        return min(known) / max(known) if len(known) > 1 and max(known) > 0 else None

    def accuracies(self) -> dict[str, float | None] | None:
        """Of the groups' accuracies: mean, standard deviation (K - 1), and SER, the largest error over the smallest.

        None where fewer than two groups have folds; SER is None where a group has no error.

        Source: M. Wang and W. Deng, "Mitigating bias in face recognition using skewness-aware reinforcement learning",
        2020, section 4.2.
        """
        known = np.array([group.accuracy for group in self.groups.values() if group.accuracy is not None])
        if len(known) < MIN_PEOPLE:
            return None
        errors = 1 - known
        ser = float(errors.max() / errors.min()) if errors.min() > 0 else None
        return {"mean": float(known.mean()), "std": float(known.std(ddof=1)), "ser": ser}

    def to_dict(self) -> dict[str, Any]:
        """For JSON, FMRs as text."""
        return {
            "groups": {value: group.to_dict() for value, group in self.groups.items()},
            "thresholds": {f"{fmr:g}": threshold for fmr, threshold in self.thresholds.items()},
            "min_over_max": {
                f"{fmr:g}": {rate: self.ratio(rate, fmr) for rate in ("fmr", "fnmr")} for fmr in self.thresholds
            },
            "accuracies": self.accuracies(),
            "unknown": self.unknown,
        }


def by_group(
    trial: AnyTrial,
    name: str,
    values: Sequence[str],
    thresholds: Mapping[float, float],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Groups:
    """FMR and FNMR within each group, at thresholds that were set over all.

    Args:
        trial: scores of all.
        name: of the system.
        values: (N,) of each picture; an empty one is in no group.
        thresholds: for each FMR, one for all groups, as `Verification.thresholds`.
        draws: number of bootstrap draws of a group's identities.
        seed: of the bootstrap.
    """
    of_picture = np.array(values)
    groups = {
        value: _group(trial.within(of_picture == value), name, thresholds, draws, seed)
        for value in sorted(set(values) - {""})
    }
    return Groups(groups, dict(thresholds), int((of_picture == "").sum()))


def _group(trial: AnyTrial, name: str, thresholds: Mapping[float, float], draws: int, seed: int) -> Group:
    genuine, impostor = trial.pairs.counts
    people = len(trial.pairs.people)
    fmr, fnmr = dict.fromkeys(thresholds, INSUFFICIENT), dict.fromkeys(thresholds, INSUFFICIENT)
    accuracy = None
    if genuine and impostor:
        weights = identity_weights(trial.pairs, draws, np.random.default_rng(seed))
        scores = trial.scores(name, list(thresholds), below=min(thresholds.values()), seed=seed)
        for rate, threshold in thresholds.items():
            missed = false_non_match_rates(scores, weights, threshold)
            fnmr[rate] = interval(missed[0], missed[1:])
            if is_supported(rate, impostor):
                false = false_match_rates(scores, weights, threshold)
                fmr[rate] = interval(false[0], false[1:], note_for(rate, impostor))
        folds = trial.folds(name)
        accuracy = None if folds is None else folds.exact.mean
    return Group(fmr, fnmr, accuracy, people, genuine, impostor)


def group_of_each(images: ImageSet, attribute: str, path: str | os.PathLike[str] | None = None) -> dict[str, str]:
    """Picture -> value of an attribute, empty where there is none.

    Args:
        images: the pictures.
        attribute: its name.
        path: a CSV or Parquet file `path,<attributes...>`; by default the attributes that the pictures have themselves.

    Raises:
        InputError: there is no such attribute, or a picture has no row.
    """
    columns = images.attributes if path is None else read_attributes(Path(path), images.ids)
    if attribute not in columns:
        where = images.root if path is None else path
        raise InputError(f"'{where}' has no attribute '{attribute}'; it has {', '.join(sorted(columns)) or 'none'}.")
    return dict(zip(images.ids, columns[attribute], strict=True))


def pictures_with(images: ImageSet, attribute: str, value: str, path: str | os.PathLike[str] | None = None) -> set[str]:
    """The pictures that have a value of an attribute; see `group_of_each`.

    Raises:
        InputError: there is no such attribute, a picture has no row, or none has the value.
    """
    values = group_of_each(images, attribute, path)
    found = {item for item, of_item in values.items() if of_item == value}
    if not found:
        there = ", ".join(sorted(set(values.values()))[:SHOWN_VALUES])
        raise InputError(f"no picture of '{images.root}' has {attribute}={value}; there are values such as {there}.")
    return found


def rates_of_groups(
    trial: AnyTrial, name: str, verification: Verification, attribute: str, values: Sequence[str], *, seed: int
) -> dict[str, Any] | None:
    """`by_group` at the thresholds that the comparisons of all set, for JSON; None where they set none.

    Args:
        trial: scores of all.
        name: of the system.
        verification: of that system.
        attribute: its name.
        values: (N,) of each picture.
        seed: of the bootstrap.
    """
    thresholds = {
        fmr: verification.thresholds[fmr] for fmr, tar in verification.tar_at_fmr.items() if tar.value is not None
    }
    if not thresholds:
        return None
    return by_group(trial, name, values, thresholds, seed=seed).to_dict() | {"attribute": attribute}
