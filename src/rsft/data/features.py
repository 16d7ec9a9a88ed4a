"""What a network made of a set of pictures: embeddings, activations where tuning starts, and what was left out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rsft.data.joined_arrays import JoinedArrays
from rsft.data.listing import identity_of
from rsft.errors import InputError

DESCRIPTION_FILE = "embedding.json"
EMBEDDINGS_FILE = "embeddings.npy"
NUISANCES_FILE = "nuisances.npy"
ACTIVATIONS_FILE = "activations.npy"
COVARIATES_FILE = "covariates.npz"


@dataclass(frozen=True)
class Features:
    """Rows for the pictures that could be used, in the order of the set.

    Attributes:
        ids: (N,) of the pictures.
        embeddings: (N, D) float32, the sum over the picture and its mirror image.
        nuisances: (N, C) float32, what enters the first stage that may be tuned, averaged over the picture.
        activations: (N, V, ...) float16, the same not averaged, of the picture, its mirror image and V - 2 more views;
            None if not kept.
        quarantined: id and reason of each picture left out.
        fingerprint: of the model.
        covariates: name -> (N,), what can be told of each picture without a network.
    """

    ids: Sequence[str]
    embeddings: np.ndarray
    nuisances: np.ndarray
    activations: np.ndarray | JoinedArrays | None
    quarantined: Sequence[tuple[str, str]]
    fingerprint: str
    covariates: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def identities(self) -> list[str]:
        """(N,) name of the identity of each row."""
        return [identity_of(item) for item in self.ids]

    @cached_property
    def people(self) -> np.ndarray:
        """(N,) int, the number of each row's identity in 0 ... C - 1, in the order of their names."""
        return np.unique(self.identities, return_inverse=True)[1]

    def subset(self, rows: np.ndarray) -> "Features":
        """The features of some rows, in that order."""
        return replace(
            self,
            ids=[self.ids[row] for row in rows],
            embeddings=self.embeddings[rows],
            nuisances=self.nuisances[rows],
            activations=None if self.activations is None else self.activations[rows],
            quarantined=[],
            covariates={name: values[rows] for name, values in self.covariates.items()},
        )

    def save(self, folder: Path) -> None:
        """Write into an existing folder; the description comes last, so a folder without it is not whole."""
        np.save(folder / EMBEDDINGS_FILE, self.embeddings)
        np.save(folder / NUISANCES_FILE, self.nuisances)
        if self.activations is not None:
            np.save(folder / ACTIVATIONS_FILE, np.asarray(self.activations))
        np.savez(folder / COVARIATES_FILE, **self.covariates)  # type: ignore[arg-type]
        description = {
            "fingerprint": self.fingerprint,
            "items": list(self.ids),
            "quarantined": [list(entry) for entry in self.quarantined],
        }
        (folder / DESCRIPTION_FILE).write_text(json.dumps(description, indent=1))


def load_features(folder: Path) -> Features:
    """Read what `Features.save` wrote; activations are mapped, not read.

    Raises:
        InputError: the folder is not whole.
    """
    try:
        description: dict[str, Any] = json.loads((folder / DESCRIPTION_FILE).read_text())
        ids, embeddings = description["items"], np.load(folder / EMBEDDINGS_FILE)
        activations = folder / ACTIVATIONS_FILE
        features = Features(
            ids,
            embeddings,
            np.load(folder / NUISANCES_FILE),
            np.load(activations, mmap_mode="r")[: len(ids)] if activations.exists() else None,
            [(item, reason) for item, reason in description["quarantined"]],
            description["fingerprint"],
            dict(np.load(folder / COVARIATES_FILE)),
        )
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"'{folder}' is not a whole output of `rsft embed`: {error}.") from error
    if len(ids) != len(embeddings):
        raise InputError(f"'{folder}' names {len(ids)} items but has {len(embeddings)} embeddings: embed again.")
    return features


def join_features(parts: Sequence[Features]) -> Features:
    """Parts of a set, embedded by one model, as one in their order; activations stay where they are."""
    used = [part for part in parts if len(part)] or parts[:1]
    kept = [part.activations for part in used]
    return replace(
        used[0],
        ids=[item for part in used for item in part.ids],
        embeddings=np.concatenate([part.embeddings for part in used]),
        nuisances=np.concatenate([part.nuisances for part in used]),
        activations=JoinedArrays([np.asanyarray(array) for array in kept if array is not None])
        if kept[0] is not None
        else None,
        quarantined=[entry for part in parts for entry in part.quarantined],
        covariates={name: np.concatenate([part.covariates[name] for part in used]) for name in used[0].covariates},
    )
