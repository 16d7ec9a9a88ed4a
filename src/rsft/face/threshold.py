"""`rsft threshold`: thresholds for wished false match rates, and the bundle that keeps them."""

import json
from collections.abc import Sequence
from pathlib import Path

from rsft.errors import InputError
from rsft.face.evaluation.thresholds import Threshold, thresholds_for
from rsft.face.networks.bundle import BUNDLE_FILE
from rsft.face.networks.load import ModelLike, load_model
from rsft.face.runs.evaluated import read_evaluated
from rsft.face.runs.inputs import Sources
from rsft.face.runs.progress import Listener, Stages, silent
from rsft.run_folder import replace_file
from rsft.types import PathLike

THRESHOLDS, BOUNDS = "thresholds", "threshold_bounds"


def set_thresholds(
    *,
    evaluation: PathLike,
    fmrs: Sequence[float],
    model: ModelLike = "dlib",
    evaluation_root: PathLike | None = None,
    embeddings: PathLike | None = None,
    aligned: bool = False,
    seed: int = 0,
    listener: Listener = silent,
) -> list[Threshold]:
    """The thresholds of a model for some false match rates; arguments as in `evaluate_folders` and `thresholds_for`."""
    face_model = load_model(model)
    sources = Sources(evaluation=evaluation, evaluation_root=evaluation_root, aligned=aligned)
    found = read_evaluated(face_model, sources, Stages(listener), "evaluation", embeddings=embeddings)
    return thresholds_for(found.trial, face_model.name, fmrs, seed=seed)


def write_thresholds(model: Path, found: Sequence[Threshold], *, safe: bool = False) -> Path:
    """Put thresholds into the `bundle.json` of a model, in place of those for the same rates; returns its path.

    Args:
        model: the folder of a run, or of its `model/`.
        found: by `thresholds_for`.
        safe: write those called safe.

    Raises:
        InputError: there is no such bundle.
    """
    path = bundle_of(model)
    bundle = json.loads(path.read_text())
    chosen = {f"{one.wished:g}": one.safe if safe else one.threshold for one in found}
    bounds = {f"{one.wished:g}": one.to_dict() for one in found}
    bundle[THRESHOLDS] = bundle.get(THRESHOLDS, {}) | chosen
    bundle[BOUNDS] = bundle.get(BOUNDS, {}) | bounds
    replace_file(path, json.dumps(bundle, indent=2).encode())
    return path


def bundle_of(model: Path) -> Path:
    """The `bundle.json` of the folder of a run, or of its `model/`.

    Raises:
        InputError: there is none.
    """
    for path in (model / "model" / BUNDLE_FILE, model / BUNDLE_FILE):
        if path.is_file():
            return path
    raise InputError(f"'{model}' has no {BUNDLE_FILE} to write thresholds into: give the folder of a run.")
