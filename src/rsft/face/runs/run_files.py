"""The files of a finished run: metrics, plan, model, model card, thumbnails and report."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from rsft.disk.access import make_private
from rsft.disk.whole import discard
from rsft.face.evaluation.protocol import TARGET
from rsft.face.networks.bundle import FaceModel, tuned
from rsft.face.runs.inputs import POOL
from rsft.face.runs.model_card import write_card
from rsft.face.runs.pseudonyms import Pseudonyms
from rsft.face.runs.results import NAMED, Findings, write_plan
from rsft.face.runs.thumbnails import Faces, save_errors, save_thumbnails
from rsft.face.runs.used_inputs import write_used
from rsft.report.page import REPORT_FILE
from rsft.report.run import CONFIG_FILE, ERRORS_FILE, METRICS_FILE
from rsft.report.run_page import write_run_page
from rsft.types import TUNED

MODEL_FOLDER = "model"


def shipped_model(model: FaceModel, found: Findings, source: str) -> FaceModel:
    """Return the first tuned network with the weights kept by its gate, its thresholds and the origin `source`."""
    first, report = found.tuned[0], found.reports[TARGET].systems[TUNED]
    thresholds = {f"{fmr:g}": threshold for fmr, threshold in report.thresholds.items()}
    return tuned(model, first.at(first.gate.share), thresholds, source)


def write_run(
    folder: Path,
    found: Findings,
    metrics: dict[str, Any],
    shipped: FaceModel,
    *,
    licence_of_source: str,
    pseudonym: Pseudonyms = NAMED,
    faces: Mapping[str, Faces] | None = None,
    used: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Write all files of a run.

    Args:
        folder: Folder to write into.
        found: The results.
        metrics: The results as returned by `summarise`.
        shipped: The model to ship.
        licence_of_source: Licence of the pretrained model.
        pseudonym: Replaces the names of pictures and people.
        faces: The pictures of the pool, as `POOL`, and those that are evaluated, as `TARGET`, to show some in the
            report. By default, the report shows none.
        used: The pictures that were read, see `write_used`. By default, they are not noted.
    """
    plan, times_trained = found.plans[0], found.tuned[0].line.times_trained
    (folder / METRICS_FILE).write_text(json.dumps(metrics, indent=1))
    # apart from the metrics, which are the same for every salt
    errors = {key: wrong.to_dict(pseudonym) for key, wrong in found.errors.items()}
    (folder / ERRORS_FILE).write_text(json.dumps(errors, indent=1))
    (folder / CONFIG_FILE).write_text(tomli_w.dumps(found.config))
    retain_fraction = found.config["recipe"]["retain_fraction"]
    write_plan(
        folder,
        plan,
        found.pool,
        retain_fraction=retain_fraction,
        features=found.features,
        pseudonym=pseudonym,
        times_trained=times_trained,
    )
    if used is not None:
        write_used(folder, used, pseudonym)
    discard(folder / MODEL_FOLDER)  # left by an attempt that was interrupted later
    shipped.save(folder / MODEL_FOLDER, licence_of_source=licence_of_source)
    write_card(folder, metrics, plan, shipped)
    if faces is not None:
        save_thumbnails(folder, faces[POOL], found.pool.ids, times_trained, found.pool.acceptance)
        save_errors(folder, faces[TARGET], found.errors[TARGET])
    write_run_page(folder)
    if faces is not None:
        make_private(folder / REPORT_FILE)
