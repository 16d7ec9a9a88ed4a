"""The page of several runs, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rsft.errors import InputError
from rsft.report import page
from rsft.report.direction import isolated
from rsft.report.figures.differences import Change, differences_figure
from rsft.report.run import read_run
from rsft.report.run_page import SET_NAMES
from rsft.report.style import Drawing
from rsft.types import PRETRAINED, TUNED

ABSENT = "–"
NOT_SETTINGS = ("inputs", "made_with", "started_in")


def write_runs_page(runs: Sequence[Path], out: Path) -> Path:
    """Write the page of several runs.

    Args:
        runs: The run folders, at least two.
        out: An existing folder to write into.

    Returns:
        The path of the page.

    Raises:
        InputError: A folder is not a complete run folder, or one is given twice.
        OSError: The page cannot be written.
    """
    return page.write_page(out, "runs.html", runs_data(runs))


def runs_data(runs: Sequence[Path]) -> dict[str, Any]:
    """Return what the template of several runs needs; the arguments are those of `write_runs_page`."""
    places = {run.resolve() for run in runs}
    if len(runs) < 2 or len(places) < len(runs):
        raise InputError(f"a comparison of runs needs two or more folders, each once; got {len(runs)}.")
    read = dict(zip(isolated(_names([run.resolve() for run in runs])), map(read_run, runs), strict=True))
    sets = [key for key in SET_NAMES if all(key in run["metrics"][TUNED] for run in read.values())]
    fmrs = [
        fmr
        for fmr in next(iter(read.values()))["metrics"][TUNED]["target"]["tar_at_fmr"]
        if all(fmr in run["metrics"][TUNED]["target"]["tar_at_fmr"] for run in read.values())
    ]
    if not fmrs:
        raise InputError("the runs have no FMR in common: evaluate them with one version of rsft.")
    settings = {name: dict(_settings(run["config"])) for name, run in read.items()}
    keys = dict.fromkeys(key for one in settings.values() for key in one)
    rows = {key: [one.get(key, ABSENT) for one in settings.values()] for key in keys}
    return {
        "runs": {name: _row(run) for name, run in read.items()},
        "sets": {key: SET_NAMES[key] for key in sets},
        "fmrs": fmrs,
        "settings": {key: values for key, values in rows.items() if len(set(values)) > 1},
        "same_pictures": _same_pictures(read),
        "kind": "report",
        "version": None,
        "name": f"{len(read)} runs",
        "title": "Runs, side by side",
        "sections": [("verdicts", "Verdicts"), ("values", "The figures"), ("settings", "How they were made")],
        "figures": {"differences": _differences(read, sets, fmrs)},
    }


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the last part of each path, with as many parts before it as make all different."""
    longest = max(len(folder.parts) for folder in folders)
    for parts in range(1, longest + 1):
        names = ["/".join(folder.parts[-parts:]) for folder in folders]
        if len(set(names)) == len(names):
            break
    return names


def _row(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is shown of one run."""
    metrics = run["metrics"]
    return {
        "title": metrics["title"],
        "verdict": metrics["verdict"],
        "metrics": {name: metrics[name] for name in (PRETRAINED, TUNED)},
        "gains": metrics["differences"].get(f"{TUNED} - {PRETRAINED}", {}),
        "acceptance_rate": metrics["acceptance_rate"],
        "images_decoded": metrics["images_decoded"],
        "images_trained": metrics["images_trained"],
        "seconds": sum(metrics["seconds"].values()),
    }


def _settings(config: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Return the dotted name and the value of each setting as text."""
    found: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, Mapping) and key not in NOT_SETTINGS:
            found += _settings(value, f"{before}{key}.")
        elif key not in NOT_SETTINGS:
            found.append((f"{before}{key}", str(value)))
    return found


def _same_pictures(read: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether the runs evaluated as many people and pairs, which is no proof that they are the same."""
    counts = [
        {key: (rates["people"], rates["pairs_genuine"], rates["pairs_impostor"]) for key, rates in of.items()}
        for of in (run["metrics"][TUNED] for run in read.values())
    ]
    return all(one == counts[0] for one in counts)


def _differences(read: Mapping[str, Mapping[str, Any]], sets: Sequence[str], fmrs: Sequence[str]) -> Drawing | None:
    """Draw what each run gained over its pretrained network, a panel for each set and FMR."""
    groups: dict[str, list[Change]] = {}
    for key in sets:
        for fmr in fmrs:
            changes = [
                Change(name, gains[key][fmr], TUNED)
                for name, run in read.items()
                if key in (gains := run["metrics"]["differences"].get(f"{TUNED} - {PRETRAINED}", {}))
            ]
            groups[f"{SET_NAMES[key].capitalize()}, FMR {fmr}"] = changes
    unit = "TAR, tuned minus pretrained (right of 0: better)"
    return differences_figure(groups, "What each run gained over its pretrained network", unit=unit)
