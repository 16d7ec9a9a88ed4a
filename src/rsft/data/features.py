"""Storage of the features of pictures: embeddings, activations where tuning starts, and covariates."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rsft.data.columns import Coded, Strings, first_part
from rsft.data.joined_arrays import JoinedArrays
from rsft.data.packed_views import Activations, PackedViews
from rsft.disk.room import save_array, telling_full
from rsft.errors import InputError

DESCRIPTION_FILE = "embedding.json"
EMBEDDINGS_FILE = "embeddings.npy"
NUISANCES_FILE = "nuisances.npy"
ACTIVATIONS_FILE = "activations.npy"
KEPT_FILE = "kept_views.npy"
COVARIATES_FILE = "covariates.npz"


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


def load_features(folder: Path) -> Features:
    """Read features that `Features.save` wrote; activations are memory-mapped.

    Args:
        folder: The folder, an output of `rsft embed`.

    Raises:
        InputError: A file is missing or damaged, or the number of embeddings differs from that of the ids.
    """
    try:
        description: dict[str, Any] = json.loads((folder / DESCRIPTION_FILE).read_text())
        ids, embeddings = description["items"], np.load(folder / EMBEDDINGS_FILE)
        features = Features(
            ids,
            embeddings,
            np.load(folder / NUISANCES_FILE),
            _load_activations(folder, len(ids)),
            [(item, reason) for item, reason in description["quarantined"]],
            description["fingerprint"],
            dict(np.load(folder / COVARIATES_FILE)),
        )
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"'{folder}' is not a complete output of `rsft embed`: {error}.") from error
    if len(ids) != len(embeddings):
        raise InputError(f"'{folder}' names {len(ids)} items but has {len(embeddings)} embeddings: embed again.")
    return features


def _load_activations(folder: Path, items: int) -> np.ndarray | PackedViews | None:
    """Map the activations of a folder, if it has any."""
    if not (folder / ACTIVATIONS_FILE).exists():
        return None
    array: np.ndarray = np.load(folder / ACTIVATIONS_FILE, mmap_mode="r")
    return PackedViews(array, np.load(folder / KEPT_FILE)) if (folder / KEPT_FILE).exists() else array[:items]


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
