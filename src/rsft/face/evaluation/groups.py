"""Error rates within groups of people, at a threshold that all groups share."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsft.data.images import ImageSet
from rsft.data.manifest import read_attributes
from rsft.data.remote import to_path
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
    """Error rates of the comparisons within one group.

    Attributes:
        fmr: FMR of the group at each threshold. The key is the FMR over all pictures that the threshold was set for.
        fnmr: FNMR of the group at the same thresholds, with the same keys.
        accuracy: Accuracy over the folds with thresholds chosen within the group, as in RFW; None without folds, or
            where a fold of the group has pairs of one kind only.
        people: Number of people in the group.
        pairs_genuine: Number of genuine comparisons.
        pairs_impostor: Number of impostor comparisons between two people of the group.
    """

    fmr: Mapping[float, Interval]
    fnmr: Mapping[float, Interval]
    accuracy: float | None
    people: int
    pairs_genuine: int
    pairs_impostor: int

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary, with FMRs as text."""
        rates = {
            name: {f"{fmr:g}": rate.to_dict() for fmr, rate in getattr(self, name).items()} for name in ("fmr", "fnmr")
        }
        counts = ("accuracy", "people", "pairs_genuine", "pairs_impostor")
        return rates | {name: getattr(self, name) for name in counts}


@dataclass(frozen=True)
class Groups:
    """Error rates of the groups of one attribute.

    Attributes:
        groups: Value of the attribute -> its group, sorted by value.
        thresholds: FMR -> threshold, the same for all groups.
        unknown: Number of pictures without a value. They are in no group.
    """

    groups: Mapping[str, Group]
    thresholds: Mapping[float, float]
    unknown: int

    def ratio(self, rate: str, fmr: float) -> float | None:
        """Return the smallest rate of a group over the largest, in [0, 1].

        Args:
            rate: "fmr" or "fnmr".
            fmr: FMR that the threshold was set for.

        Returns:
            The ratio, or None if fewer than two groups have this rate or all their rates are 0.
        """
        values = [getattr(group, rate)[fmr].value for group in self.groups.values()]
        known = [value for value in values if value is not None]
        return min(known) / max(known) if len(known) > 1 and max(known) > 0 else None

    def accuracies(self) -> dict[str, float | None] | None:
        """Summarise the accuracies of the K groups.

        Returns:
            "mean", "std" (with denominator K - 1) and "ser", the largest error over the smallest. "ser" is None if a
            group has no error. The result is None if fewer than two groups have an accuracy.

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
        """Return a JSON-serialisable dictionary, with FMRs as text."""
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
    """Compute FMR and FNMR within each group, at thresholds that were set over all pictures.

    The rates of a group without genuine or impostor comparisons are "insufficient data". So is an FMR if the group has
    fewer than 3 / FMR impostor comparisons.

    Args:
        trial: Scores of all pictures.
        name: Name of the system.
        values: (N,) value of each picture. A picture with an empty value is in no group.
        thresholds: FMR -> threshold, the same for all groups, such as `Verification.thresholds`.
        draws: Number of bootstrap draws of the identities of each group.
        seed: Seed for the bootstrap.
    """
    of_picture = np.array(values)
    groups = {
        value: _group(trial.within(of_picture == value), name, thresholds, draws, seed)
        for value in sorted(set(values) - {""})
    }
    return Groups(groups, dict(thresholds), int((of_picture == "").sum()))


def _group(trial: AnyTrial, name: str, thresholds: Mapping[float, float], draws: int, seed: int) -> Group:
    """Compute the error rates of one group from the trial of its pictures."""
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
        accuracy = None if folds is None or folds.note else folds.exact.mean
    return Group(fmr, fnmr, accuracy, people, genuine, impostor)


def group_of_each(images: ImageSet, attribute: str, path: str | os.PathLike[str] | None = None) -> dict[str, str]:
    """Return the id of each picture -> its value of an attribute, or "" if it has none.

    Args:
        images: The pictures.
        attribute: Name of the attribute.
        path: CSV or Parquet file with a column `path` and a column for each attribute. By default, the attributes that
            are stored with the pictures are used.

    Raises:
        InputError: If the attribute does not exist, or a picture has no row in the file.
    """
    columns = images.attributes if path is None else read_attributes(to_path(path), images.ids)
    if attribute not in columns:
        where = images.root if path is None else path
        raise InputError(f"'{where}' has no attribute '{attribute}'; it has {', '.join(sorted(columns)) or 'none'}.")
    return dict(zip(images.ids, columns[attribute], strict=True))


def pictures_with(images: ImageSet, attribute: str, value: str, path: str | os.PathLike[str] | None = None) -> set[str]:
    """Return the ids of the pictures that have a given value of an attribute.

    Args:
        images: The pictures.
        attribute: Name of the attribute.
        value: The value.
        path: File with the attributes, see `group_of_each`.

    Raises:
        InputError: If the attribute does not exist, a picture has no row in the file, or no picture has the value.
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
    """Compute the error rates of groups at the thresholds of a verification of all pictures.

    Args:
        trial: Scores of all pictures.
        name: Name of the system.
        verification: Verification of the system, whose supported FMRs and thresholds are used.
        attribute: Name of the attribute.
        values: (N,) value of each picture. A picture with an empty value is in no group.
        seed: Seed for the bootstrap.

    Returns:
        JSON-serialisable dictionary of the `Groups` and the attribute, or None if no FMR is supported.
    """
    thresholds = {
        fmr: verification.thresholds[fmr] for fmr, tar in verification.tar_at_fmr.items() if tar.value is not None
    }
    if not thresholds:
        return None
    return by_group(trial, name, values, thresholds, seed=seed).to_dict() | {"attribute": attribute}
