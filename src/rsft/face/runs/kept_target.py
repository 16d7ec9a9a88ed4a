"""What a run keeps of its target, so that `rsft monitor` can compare new pictures with it: `target.json`.

These are means, a covariance and a share over all pictures of the target: no number of a single picture.
"""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, Field, model_validator

from rsft.data.features import Features
from rsft.data.reading import read_json
from rsft.errors import InputError
from rsft.evaluation.covariate_summary import MIN_KEPT, CovariateSummary
from rsft.face.adaptation.drift import kept_of

TARGET_FILE = "target.json"
KIND = "what a run keeps of its target"
MOST = 100  # covariates

Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Summary(BaseModel):
    """The shape of a `CovariateSummary`."""

    items: Annotated[int, Field(ge=MIN_KEPT)]
    effective: Annotated[float, Field(ge=MIN_KEPT - 0.5, allow_inf_nan=False)]
    names: Annotated[list[str], Field(min_length=1, max_length=MOST)]
    means: list[Finite]
    covariance: list[list[Finite]]
    outside_fraction: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def _fits(self) -> "_Summary":
        width = len(set(self.names))
        if not len(self.names) == len(self.means) == len(self.covariance) == width or any(
            len(row) != width for row in self.covariance
        ):
            raise ValueError(f"needs {width} means and a covariance of {width} rows and columns")
        matrix = np.array(self.covariance)
        if not np.allclose(matrix, matrix.T, rtol=1e-2) or np.linalg.eigvalsh(_scaled(matrix)).min() < -1e-2:
            raise ValueError("the covariance must be symmetric and not negative")
        return self


class KeptTarget(BaseModel):
    """The shape of `target.json`.

    Attributes:
        faces: How the faces were found: "photographs", "chips" or "landmarks".
        summary: The covariates; None if the target had too few different pictures.
    """

    faces: str
    summary: _Summary | None

    @property
    def covariates(self) -> CovariateSummary | None:
        """The summary as what compares."""
        return None if self.summary is None else CovariateSummary(**self.summary.model_dump())


def faces_of(*, aligned: bool, landmarks: bool) -> str:
    """Return how faces are found, in one word."""
    return "landmarks" if landmarks else "chips" if aligned else "photographs"


def write_kept_target(folder: Path, target: Features, *, faces: str) -> None:
    """Write `target.json`.

    Args:
        folder: The run folder.
        target: Features of the target.
        faces: See `KeptTarget`.
    """
    summary = kept_of(target)
    told = {"faces": faces, "summary": None if summary is None else summary.to_dict()}
    (folder / TARGET_FILE).write_text(json.dumps(told, indent=1))


def read_kept_target(run: Path, *, faces: str) -> CovariateSummary:
    """Return the summary of the target that a run keeps.

    Args:
        run: The run folder.
        faces: How the faces of the pictures to compare are found.

    Raises:
        InputError: The run keeps none, its faces were found in another way, or the file is damaged.
    """
    instead = "give the pictures that it was tuned for as --reference"
    if not (run / TARGET_FILE).is_file():
        raise InputError(f"'{run}' keeps nothing of its target, as runs of `rsft fit` now do: {instead}.")
    kept: KeptTarget = read_json(run / TARGET_FILE, KeptTarget, KIND)
    if kept.covariates is None:
        raise InputError(f"'{run}' keeps nothing of its target, which had fewer than {MIN_KEPT} pictures: {instead}.")
    if kept.faces != faces:
        option = {"chips": "pass --aligned", "landmarks": "pass --landmarks"}
        how = option.get(kept.faces, "leave out --aligned and --landmarks")
        raise InputError(f"the target of '{run}' was read as {kept.faces}, and this as {faces}: {how}.")
    return kept.covariates


def _scaled(matrix: np.ndarray) -> np.ndarray:
    """Return a covariance as correlations; what is constant stays as it is."""
    spread = np.sqrt(np.where(np.diag(matrix) > 0, np.diag(matrix), 1.0))
    return matrix / np.outer(spread, spread)
