"""The page of a comparison: of rejection with what is free, or of several networks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsft.errors import InputError
from rsft.report import page
from rsft.report.figures.differences import Change, differences_figure
from rsft.report.run import name_of, read_shaped
from rsft.report.shapes.comparison import Comparison
from rsft.report.style import Drawing, short
from rsft.types import PRETRAINED, TUNED

COMPARISON_FILE, MODELS_FILE = "comparison.json", "models.json"
REJECTION = "rejection"


def write_comparison_page(folder: Path) -> Path:
    """Write the page of a comparison.

    Args:
        folder: Output folder of `rsft compare`, with a `models.json` if several networks were compared.

    Returns:
        The path of the page.

    Raises:
        InputError: The folder holds no finished comparison.
        OSError: The page cannot be written.
    """
    file = next((name for name in (MODELS_FILE, COMPARISON_FILE) if (folder / name).is_file()), None)
    if file is None:
        raise InputError(f"'{folder}' holds no {COMPARISON_FILE}: let `rsft compare --out {folder}` finish.")
    found = read_shaped(folder / file, Comparison)
    return page.write_page(folder, "comparison.html", comparison_data(found, name_of(folder)))


def comparison_data(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what the template of a comparison needs.

    Args:
        found: The content of `comparison.json` or `models.json`, see `rsft.report.shapes.comparison.Comparison`.
        name: Name of its folder.
    """
    methods = list(found["values"])
    of_networks = REJECTION not in methods
    wanted = found.get("best_untouched", "") if of_networks else PRETRAINED
    reference: str = wanted if wanted in methods else methods[0]
    differences = {"differences": {}, "cost": {}, "verdict": "", **found}["differences"]
    sections = {"values": "The figures", "cost": "What one training cost"}
    return {
        "found": {"differences": {}, "cost": {}, "verdict": "", **found},
        "kind": "compare",
        "version": None,
        "name": name,
        "title": "Networks, untouched and tuned" if of_networks else "Rejection beside what is free",
        "reference": reference,
        "against": "the best untouched" if of_networks else "the pretrained network",
        "subject": None if of_networks else REJECTION,
        "sections": [(key, words) for key, words in sections.items() if key != "cost" or found.get("cost")],
        "figures": {"differences": _differences(found["metrics"], differences, reference)},
    }


def _differences(metrics: list[str], differences: Mapping[str, Any], reference: str) -> Drawing | None:
    """Draw every method less the reference, a panel for each metric."""
    known = {name: others[reference] for name, others in differences.items() if reference in others}
    if not known:
        return None
    groups = {
        metric: [Change(name, by_metric[metric], _colour(name)) for name, by_metric in known.items()]
        for metric in metrics
    }
    title = f"What each gains over {reference}"
    return differences_figure(groups, title, unit=f"difference to {short(reference, narrow=True)} (right of 0: better)")


def _colour(name: str) -> str:
    """Return the system whose colour a method has."""
    return TUNED if name == REJECTION or name.endswith(f", {TUNED}") else name
