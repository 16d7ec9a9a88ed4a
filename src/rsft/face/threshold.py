"""`rsft threshold`: find thresholds for given false match rates, and store them in the bundle of a model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rsft.data.reading import read_json
from rsft.disk.whole import replace_file
from rsft.errors import InputError
from rsft.face.evaluation.thresholds import Threshold, thresholds_for
from rsft.face.networks.load import ModelLike, load_model
from rsft.face.networks.names import BUNDLE_FILE, bundle_folder
from rsft.face.runs.evaluated import read_evaluated
from rsft.face.runs.inputs import Sources
from rsft.face.runs.progress import Listener, Stages, silent
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
    """Find the thresholds of a model for given false match rates; see `thresholds_for`.

    `rsft.face.runs.inputs.Sources` describes the inputs.

    Args:
        evaluation: See `Sources`.
        fmrs: The false match rates, in (0, 1).
        model: See `Sources`.
        evaluation_root: See `Sources`.
        embeddings: An output of `rsft embed` by the same model that holds the pictures, which are then not read.
        aligned: See `Sources`.
        seed: Seed for the bootstrap.
        listener: Callback that receives (stage, done, total) as each stage advances.

    Returns:
        A threshold for each rate.

    Raises:
        InputError: An input cannot be used, or the set has too few comparisons for one of the rates.
    """
    face_model = load_model(model)
    sources = Sources(evaluation=evaluation, evaluation_root=evaluation_root, aligned=aligned)
    found = read_evaluated(face_model, sources, Stages(listener), "evaluation", embeddings=embeddings, fmrs=fmrs)
    return thresholds_for(found.trial, face_model.name, fmrs, seed=seed)


def write_thresholds(model: Path, found: Sequence[Threshold], *, safe: bool = False) -> Path:
    """Write thresholds into the `bundle.json` of a model, replacing those for the same rates; return its path.

    Args:
        model: A run folder, or its `model/` folder.
        found: Thresholds from `thresholds_for`.
        safe: Write `Threshold.safe` instead of `Threshold.threshold`.

    Raises:
        InputError: There is no such bundle.
    """
    path = bundle_of(model)
    bundle = read_json(path, dict[str, Any], "the bundle of a model")
    chosen = {f"{one.wished:g}": one.safe if safe else one.threshold for one in found}
    bounds = {f"{one.wished:g}": one.to_dict() for one in found}
    for name, new in ((THRESHOLDS, chosen), (BOUNDS, bounds)):
        before = bundle.get(name) or {}
        if not isinstance(before, dict):
            raise InputError(f"'{path}' needs an object of false match rates as '{name}': correct or remove it.")
        bundle[name] = before | new
    replace_file(path, json.dumps(bundle, indent=2).encode())
    return path


def bundle_of(model: Path) -> Path:
    """Return the path of the `bundle.json` of a run folder or of its `model/` folder.

    Raises:
        InputError: There is none.
    """
    folder = bundle_folder(model)
    if folder is None:
        raise InputError(f"'{model}' has no {BUNDLE_FILE} to write thresholds into: give a run folder.")
    return folder / BUNDLE_FILE
