"""Which group each evaluated picture is in, and what a model does to these groups."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rsft.data.images import ImageSet
from rsft.data.manifest import read_attributes
from rsft.errors import InputError
from rsft.face.groups import by_group
from rsft.face.verification import AnyTrial, Verification

SHOWN_VALUES = 5


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
