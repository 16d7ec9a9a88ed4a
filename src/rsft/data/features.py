"""Storage of the features of pictures: embeddings, activations where tuning starts, and covariates."""

import json
import zipfile
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.compute as pc
from pydantic import BaseModel

from rsft.data.columns import Coded, Strings, first_part
from rsft.data.joined_arrays import JoinedArrays
from rsft.data.packed_views import Activations, PackedViews
from rsft.data.reading import map_array, read_json, reading
from rsft.disk.room import save_array, telling_full
from rsft.errors import InputError

DESCRIPTION_FILE = "embedding.json"
EMBEDDINGS_FILE = "embeddings.npy"
NUISANCES_FILE = "nuisances.npy"
ACTIVATIONS_FILE = "activations.npy"
KEPT_FILE = "kept_views.npy"
COVARIATES_FILE = "covariates.npz"
OUTPUT = "part of a complete output of `rsft embed`"
MAX_NUMBER, MAX_HEADER = 16, 1 << 16  # bytes of a covariate of an item, and of the header of an array


@dataclass(frozen=True)
class Features:
    """Features of the N usable pictures of a set, in the order of the set.

    Attributes:
        ids: (N,) ids of the pictures.
        embeddings: (N, D) float32, each the sum of the embeddings of a picture and of its mirror image, or of its first
            two views that were computed, or twice that of the only one.
        nuisances: (N, C) float32, the input of the first stage that may be tuned, averaged over the picture.
        activations: (N, V, ...) float16, the input of the same stage without averaging, for the picture, its mirror
            image and V - 2 further views; None if it was not kept. `PackedViews` if some views were not computed.
        quarantined: Id and reason of each picture that was left out.
        fingerprint: Fingerprint of the model.
        covariates: Name -> (N,) values that are measured on each picture without a network.
        clips: (N,) int64 number of the clip that each picture is a frame of; None if that is unknown. It is not saved.
    """

    ids: Sequence[str]
    embeddings: np.ndarray
    nuisances: np.ndarray
    activations: Activations | None
    quarantined: Sequence[tuple[str, str]]
    fingerprint: str
    covariates: Mapping[str, np.ndarray] = field(default_factory=dict)
    clips: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def identities(self) -> Coded:
        """(N,) identity of each picture."""
        return Strings.shown(self.ids).coded(first_part)

    @cached_property
    def people(self) -> np.ndarray:
        """(N,) int, the index of each picture's identity among the sorted identities, 0 to C - 1."""
        _, rank = np.unique(self.identities.names, return_inverse=True)
        return rank[self.identities.codes]

    def subset(self, rows: np.ndarray) -> "Features":
        """Return the features of some pictures, without the list of quarantined pictures.

        Args:
            rows: (n,) integer rows, in the order of the result.
        """
        return replace(
            self,
            ids=[self.ids[row] for row in rows],
            embeddings=self.embeddings[rows],
            nuisances=self.nuisances[rows],
            activations=self.activations.take(rows)
            if isinstance(self.activations, PackedViews)
            else None
            if self.activations is None
            else self.activations[rows],
            quarantined=[],
            covariates={name: values[rows] for name, values in self.covariates.items()},
            clips=None if self.clips is None else self.clips[rows],
        )

    def save(self, folder: Path) -> None:
        """Write the features into a folder.

        The description is written last, so a folder without it is incomplete.

        Args:
            folder: An existing folder.
        """
        save_array(folder / EMBEDDINGS_FILE, self.embeddings)
        save_array(folder / NUISANCES_FILE, self.nuisances)
        if isinstance(self.activations, PackedViews):
            save_array(folder / ACTIVATIONS_FILE, self.activations.array)
            save_array(folder / KEPT_FILE, self.activations.kept)
        elif self.activations is not None:
            save_array(folder / ACTIVATIONS_FILE, self.activations)
        with telling_full(folder / COVARIATES_FILE):
            np.savez(folder / COVARIATES_FILE, **self.covariates)  # type: ignore[arg-type]
        description = {
            "fingerprint": self.fingerprint,
            "items": list(self.ids),
            "quarantined": [list(entry) for entry in self.quarantined],
        }
        with telling_full(folder / DESCRIPTION_FILE):
            (folder / DESCRIPTION_FILE).write_text(json.dumps(description, indent=1))


class Description(BaseModel):
    """The shape of `embedding.json`."""

    fingerprint: str
    items: list[str]
    quarantined: list[tuple[str, str]]


def load_features(folder: Path) -> Features:
    """Read features that `Features.save` wrote; activations are memory-mapped.

    Args:
        folder: The folder, an output of `rsft embed`.

    Raises:
        InputError: A file is missing or damaged, or does not have a row for each item.
    """
    told: Description = read_json(folder / DESCRIPTION_FILE, Description, OUTPUT)
    if pc.count_distinct(pyarrow.array(told.items, pyarrow.large_string())).as_py() < len(told.items):
        raise InputError(f"'{folder / DESCRIPTION_FILE}' names an item twice: embed again.")
    return Features(
        told.items,
        _finite(folder / EMBEDDINGS_FILE, told.items),
        _finite(folder / NUISANCES_FILE, told.items),
        _load_activations(folder, len(told.items)),
        told.quarantined,
        told.fingerprint,
        _load_covariates(folder / COVARIATES_FILE, len(told.items)),
    )


def _finite(path: Path, items: Sequence[str]) -> np.ndarray:
    """Read an array with a row of finite numbers for each item into memory."""
    rows: np.ndarray = np.array(map_array(path, OUTPUT, "f"))
    _check_rows(path, rows, len(items), {2})
    broken = np.flatnonzero(~np.isfinite(rows).all(1))
    if len(broken):
        raise InputError(
            f"'{path}' has a number that is not finite in row {broken[0]}, '{items[broken[0]]}': check the model."
        )
    return rows


def _check_rows(path: Path, array: np.ndarray, rows: int, dimensions: Container[int]) -> None:
    """Raise `InputError` unless an array has this many rows and one of these numbers of dimensions."""
    if array.ndim not in dimensions or len(array) != rows:
        raise InputError(f"'{path}' has shape {array.shape}, but its description needs {rows} rows: embed again.")


def _load_activations(folder: Path, items: int) -> np.ndarray | PackedViews | None:
    """Map the activations of a folder, if it has any."""
    if not (folder / ACTIVATIONS_FILE).exists():
        return None
    array = map_array(folder / ACTIVATIONS_FILE, OUTPUT, "f")
    if not (folder / KEPT_FILE).exists():
        _check_rows(folder / ACTIVATIONS_FILE, array, items, range(3, 9))
        return array
    kept = map_array(folder / KEPT_FILE, OUTPUT, "b")
    _check_rows(folder / KEPT_FILE, kept, items, {2})
    _check_rows(folder / ACTIVATIONS_FILE, array, int(kept.sum()), range(2, 8))
    return PackedViews(array, np.array(kept))


def _load_covariates(path: Path, items: int) -> dict[str, np.ndarray]:
    """Read the covariates, (items,) numbers each."""
    with reading(path, OUTPUT):
        with zipfile.ZipFile(path) as archive:
            largest = max((member.file_size for member in archive.infolist()), default=0)
        if largest > items * MAX_NUMBER + MAX_HEADER:  # before it is inflated
            raise InputError(f"'{path}' has arrays of {largest} bytes, too many for {items} items: embed again.")
        with np.load(path, allow_pickle=False) as stored:
            covariates = {name: stored[name] for name in stored.files}
    for name, values in covariates.items():
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub" or values.shape != (items,):
            raise InputError(f"'{path}' needs one number for each of {items} items as '{name}': embed again.")
    return covariates


def join_features(parts: Sequence[Features]) -> Features:
    """Concatenate the features of parts of a set; activations are not copied.

    Args:
        parts: Features from the same model, at least one, in the order of the result.
    """
    used = [part for part in parts if len(part)] or parts[:1]
    return replace(
        used[0],
        ids=[item for part in used for item in part.ids],
        embeddings=np.concatenate([part.embeddings for part in used]),
        nuisances=np.concatenate([part.nuisances for part in used]),
        activations=_joined([part.activations for part in used if part.activations is not None]),
        quarantined=[entry for part in parts for entry in part.quarantined],
        covariates={name: np.concatenate([part.covariates[name] for part in used]) for name in used[0].covariates},
    )


def _joined(arrays: Sequence[Activations]) -> JoinedArrays | PackedViews | None:
    """Join the activations of parts of a set, which are all of one kind."""
    packed = [part for part in arrays if isinstance(part, PackedViews)]
    if packed:
        whole = JoinedArrays([np.asanyarray(part.array) for part in packed])
        return PackedViews(whole, np.concatenate([part.kept for part in packed]))
    return JoinedArrays([np.asanyarray(array) for array in arrays]) if arrays else None
