"""`rsft monitor`: whether the pictures of today are still those that a model was tuned for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsft.data.images import find_images
from rsft.data.reading import read_json
from rsft.errors import InputError
from rsft.face.adaptation.drift import (
    COVARIATES,
    MIN_KEPT,
    Drift,
    DriftFound,
    drift_from_pictures,
    drift_from_summary,
)
from rsft.face.adaptation.planning import target_groups
from rsft.face.adaptation.recipe import FEATURES
from rsft.face.evaluation.protocol import TARGET
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.load import load_model
from rsft.face.runs.drift_history import Call, add_call
from rsft.face.runs.inputs import inputs_of
from rsft.face.runs.kept_target import faces_of, read_kept_target
from rsft.face.runs.progress import Listener, Stages, silent
from rsft.face.runs.run_config import read_run_config
from rsft.groups import effective_number
from rsft.report.run import PLAN_FILE
from rsft.types import PathLike

REFERENCE, SUMMARY = "reference", "summary"
HISTORY_END = ".monitor"  # of the folder beside a run that has the history of its calls


@dataclass(frozen=True)
class Monitored:
    """What a call of `monitor` found.

    Attributes:
        found: How the new pictures compare with the target.
        model: Fingerprint of the model of the run.
        against: What they were compared with: "reference", pictures, or "summary", what the run keeps of its target.
        planned_on: Kind of features that the plan of the run was made on.
        quarantined: Number of new pictures that could not be used.
        earlier: The earlier calls of the history with the same model against the same, oldest first.
    """

    found: DriftFound
    model: str
    against: str
    planned_on: str
    quarantined: int
    earlier: list[Call]

    @property
    def notes(self) -> list[str]:
        """What to know about the comparison, in sentences."""
        told = []
        if self.against == SUMMARY and self.planned_on != COVARIATES:
            told.append(
                f"the plan of the run was made on {self.planned_on}, of which a run keeps nothing: light, sharpness, "
                "pose and size are compared, and a change of who is shown, such as in age, may be missed; give the "
                "old pictures as --reference to compare on both"
            )
        in_a_row = 0
        for call in reversed(self.earlier):
            if call.outcome != Drift.DRIFTED:
                break
            in_a_row += 1
        if self.found.outcome == Drift.DRIFTED:
            told.append(
                f"{in_a_row + 1} calls in a row have found a difference"
                if in_a_row
                else "the call before did not find it: a few calls in a thousand find a difference where there is none"
                if self.earlier
                else "this is the first call of its history"
            )
        return told

    def to_dict(self) -> dict[str, Any]:
        """Return what was found as a dictionary for JSON; no name and no path is in it."""
        return {
            "model": self.model,
            "against": self.against,
            "planned_on": self.planned_on,
            "quarantined": self.quarantined,
            **self.found.to_dict(),
        }


def monitor(
    run: PathLike,
    *,
    target: PathLike,
    reference: PathLike | None = None,
    history: PathLike | None = None,
    model: FaceModel | None = None,
    aligned: bool = False,
    landmarks: PathLike | None = None,
    seed: int = 0,
    listener: Listener = silent,
) -> Monitored:
    """Compare new pictures of a deployment with those that a run of `fit` was tuned for.

    Without `reference` they are compared with what the run keeps of its target: means and covariance of light,
    sharpness, pose and size. With it the pictures are compared themselves, on these covariates and on the features that
    the plan of the run was made on.

    Args:
        run: Folder of a finished run of `fit`.
        target: The new pictures, in any form that `find_images` reads. Labels are not needed.
        reference: The pictures that the run was tuned for.
        history: Folder to add a line of JSON about this call to; it is created. By default nothing is written.
        model: The model of the run, as `load_model(run, network=...)` returns it, if it is a network of your own.
        aligned: All pictures are aligned chips already.
        landmarks: A file as for `read_landmarks`. No face is searched for in the sets whose pictures it names.
        seed: Seed of the folds.
        listener: Callback that receives (stage, done, total) as each stage advances.

    Raises:
        InputError: The run, the pictures or the history cannot be used, or the run keeps too little of its target.
    """
    folder, stages = Path(run), Stages(listener)
    read_run_config(folder)
    told: dict[str, Any] = read_json(folder / PLAN_FILE, dict[str, Any], "the plan of a run")
    planned_on = _planned_on(told)
    model = model or load_model(run)
    sets = {TARGET: find_images(target)} | ({} if reference is None else {REFERENCE: find_images(reference)})
    inputs = inputs_of(model, sets, landmarks=landmarks, aligned=aligned)
    faces = faces_of(aligned=aligned, landmarks=inputs.points[TARGET] is not None)
    kept = read_kept_target(folder, faces=faces) if reference is None else None
    new = inputs.embed(TARGET, stages)
    if kept is not None:
        absent = [name for name in kept.names if name not in new.covariates]
        if absent:
            raise InputError(
                f"the new pictures lack the covariate '{absent[0]}' of the run: read them in the same way."
            )
        found = drift_from_summary(kept, new)
    else:
        old = inputs.embed(REFERENCE, stages)
        different = effective_number(target_groups(old))
        if different < MIN_KEPT:
            raise InputError(
                f"'{reference}' has {different:.0f} different pictures that can be used: a comparison needs {MIN_KEPT}."
            )
        with stages.stage("compare"):
            found = drift_from_pictures(old, new, list(dict.fromkeys((COVARIATES, planned_on))), seed=seed)
    against = SUMMARY if kept is not None else REFERENCE
    result = Monitored(found, model.fingerprint, against, planned_on, len(new.quarantined), [])
    if history is not None:
        read = [path for path in (run, target, reference, landmarks) if path is not None]
        result.earlier.extend(add_call(Path(history), result.to_dict(), read))
    return result


def _planned_on(plan: dict[str, Any]) -> str:
    """Return the kind of features of the plan of a run."""
    features = plan.get("features")
    kind = features.get("kind") if isinstance(features, dict) else None
    return kind if kind in FEATURES else COVARIATES
