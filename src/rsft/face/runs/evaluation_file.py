"""What `rsft evaluate --out` writes: `evaluation.json` and its page."""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rsft.face.evaluation.det import det_band
from rsft.face.evaluation.trials import AnyTrial
from rsft.report.evaluation_page import EVALUATION_FILE, write_evaluation_page


def curves_of_each(trial: AnyTrial, seed: int) -> dict[str, Any]:
    """Return the DET curve of each system of a trial, for JSON; None where no FMR is supported."""
    bands = {name: det_band([trial], name, seed=seed) for name in trial.systems}
    return {name: band and band.to_dict() for name, band in bands.items()}


def write_evaluation(folder: Path, sets: Mapping[str, Mapping[str, Any]], models: Sequence[str], seed: int) -> None:
    """Write `evaluation.json` and `report.html`.

    Args:
        folder: Folder to write into.
        sets: "target" and, if there is one, "retain" -> its "systems", "differences", "curves" and "left_out", each by
            the name of a network, and "groups", if they were asked for.
        models: Names of the networks, the one in use first.
        seed: Seed of the bootstrap.
    """
    told = {"version": importlib.metadata.version("rsft"), "seed": seed, "models": list(models), "sets": sets}
    (folder / EVALUATION_FILE).write_text(json.dumps(told, indent=1), encoding="utf-8")
    write_evaluation_page(folder)
