"""The page of an evaluation of one network, or of several on the same pairs."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsft.report import page
from rsft.report.figures.det import det_figure
from rsft.report.figures.differences import Change, differences_figure
from rsft.report.figures.groups import groups_figure
from rsft.report.run import name_of, read_shaped
from rsft.report.run_page import SET_NAMES
from rsft.report.shapes.evaluation import Evaluation
from rsft.report.style import COLOURS, OTHER, Drawing
from rsft.types import PRETRAINED, TUNED, UNIFORM

EVALUATION_FILE = "evaluation.json"


def write_evaluation_page(folder: Path) -> Path:
    """Write the page of an evaluation.

    Args:
        folder: Output folder of `rsft evaluate`, with an `evaluation.json`.

    Returns:
        The path of the page.

    Raises:
        InputError: The folder holds no evaluation of this version of rsft.
        OSError: The page cannot be written.
    """
    found = read_shaped(folder / EVALUATION_FILE, Evaluation)
    return page.write_page(folder, "evaluation.html", evaluation_data(found, name_of(folder)))


def evaluation_data(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what the template of an evaluation needs.

    Args:
        found: The content of `evaluation.json`, see `rsft.report.shapes.evaluation.Evaluation`.
        name: Name of its folder.
    """
    first, *others = found["models"]
    sets = {key: {"differences": {}, "groups": None, **found["sets"][key]} for key in SET_NAMES if key in found["sets"]}
    known = sets["target"]["systems"][first]["tar_at_fmr"]
    of_first = [of["systems"][first]["tar_at_fmr"] for of in sets.values()]
    fmrs = [fmr for fmr in known if any(tars[fmr]["value"] is not None for tars in of_first)]
    colours = dict(
        zip(found["models"], itertools.cycle([COLOURS[TUNED], COLOURS[UNIFORM], OTHER, COLOURS[PRETRAINED]]))
    )
    of_groups = sets["target"]["groups"]
    return {
        "kind": "evaluate",
        "version": found["version"],
        "name": name,
        "title": " and ".join(found["models"]) if len(found["models"]) < 4 else f"{first} and {len(others)} others",
        "seed": found["seed"],
        "models": found["models"],
        "sets": {SET_NAMES[key]: of for key, of in sets.items()},
        "fmrs": fmrs or list(known),
        "unsupported": [fmr for fmr in known if fmrs and fmr not in fmrs],
        "sections": [("rates", "How well it verifies"), ("thresholds", "Thresholds")]
        + ([("groups", "Groups")] if of_groups else []),
        "figures": {
            "differences": _differences(sets, first, others),
            "det": {
                SET_NAMES[key]: det_figure(curves, f"DET on the {SET_NAMES[key]}", colours)
                for key, of in sets.items()
                if (curves := {name: band for name, band in of["curves"].items() if band})
            },
            "groups": groups_figure(of_groups, (fmrs or list(known))[-1]) if of_groups else None,
        },
    }


def _differences(sets: Mapping[str, Any], first: str, others: list[str]) -> Drawing | None:
    """Draw the other networks less the first, a panel for each set."""
    groups = {
        SET_NAMES[key].capitalize(): [
            Change(f"{other}, {fmr}", change, "other")
            for other in others
            for fmr, change in of["differences"].get(other, {}).get(first, {}).items()
        ]
        for key, of in sets.items()
    }
    title = f"What the others gain over {first}"
    return differences_figure(groups, title, unit="TAR minus that of the first, at each FMR (right of 0: better)")
