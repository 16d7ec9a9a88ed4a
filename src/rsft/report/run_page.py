"""The page of a run: what was tried, did it help, by how much, how sure, at what cost, and what to do next."""

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsft.report import page
from rsft.report.figures.det import det_figure
from rsft.report.figures.differences import Change, differences_figure
from rsft.report.figures.groups import groups_figure
from rsft.report.figures.training import loss_figure, path_figure
from rsft.report.plan_page import plan_figures, whole
from rsft.report.run import read_run
from rsft.report.style import Drawing
from rsft.types import PRETRAINED, TUNED, UNIFORM

SET_NAMES = {"target": "target", "retain": "retention set"}
MOODS = {"ship": "good", "do not ship": "bad", "keep the pretrained network": "", "evaluate more people": "open"}
FACES = {
    "accepted": "Accepted: always, or nearly",
    "borderline": "Borderline: accepted in some epochs",
    "rejected": "Rejected: never, or hardly ever",
}
# entries of `config.toml` that are options of `rsft fit`, in the order of a command
OPTIONS = {
    "pool": "--pool", "target": "--target", "evaluation": "--eval", "evaluation_root": "--eval-root",
    "retain": "--retain", "retain_root": "--retain-root", "model": "--model", "attributes": "--attributes",
    "landmarks": "--landmarks", "aligned": "--aligned", "allow_overlap": "--allow-overlap",
    "drop_overlap": "--drop-overlap", "groups": "--groups", "seed": "--seed",
}  # fmt: skip


def write_run_page(folder: Path) -> Path:
    """Write the page of a run folder.

    Args:
        folder: The run folder.

    Returns:
        The path of the page.

    Raises:
        InputError: The folder is not a complete run folder, or another version of rsft wrote it.
        OSError: The page cannot be written.
    """
    return page.write_page(folder, "run.html", run_data(read_run(folder)))


def run_data(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template of a run needs.

    Args:
        run: The data of the run, from `read_run`.
    """
    metrics, plan, config = run["metrics"], run["plan"], run["config"]
    systems = {name: metrics[name] for name in (PRETRAINED, UNIFORM, TUNED) if metrics.get(name)}
    sets = {key: name for key, name in SET_NAMES.items() if key in metrics[TUNED]}
    allowed = _number(config.get("recipe", {}), "max_retention_loss")
    trainings = _trainings(run["history"])
    sections = {
        "rates": "How well it verifies", "thresholds": "Thresholds", "groups": "Groups", "errors": "Errors that remain",
        "shift": "The shift", "ratio": "What is accepted, and M", "faces": "Faces", "training": "Training and gate",
        "cost": "What it cost", "warnings": "Left out", "provenance": "How it was made",
    }  # fmt: skip
    absent = {
        "groups": not metrics.get("groups"),
        "warnings": not (metrics["quarantined"] or metrics.get("passed_over")),
    }
    known = metrics[TUNED]["target"]["tar_at_fmr"]
    fmrs = [fmr for fmr in known if any(metrics[TUNED][key]["tar_at_fmr"][fmr]["value"] is not None for key in sets)]
    curves = {key: {name: band for name, band in by.items() if band} for key, by in metrics["curves"].items()}
    return {
        **run,
        "metrics": {"groups": None, "passed_over": {}, **metrics},
        "plan": whole(plan),
        "kind": "fit" if "pool" in config else "demo",
        "title": metrics["title"],
        "version": metrics["version"],
        "mood": MOODS.get(metrics["verdict"]["action"], ""),
        "systems": systems,
        "sets": sets,
        "fmrs": fmrs or list(known),
        "unsupported": [fmr for fmr in known if fmrs and fmr not in fmrs],
        "gains": {
            key: {pair: by_set[key] for pair, by_set in metrics["differences"].items() if key in by_set} for key in sets
        },
        "glance": _glance(metrics, sets),
        "cost": _cost(metrics),
        "faces": {words: run["thumbnails"][kind] for kind, words in FACES.items() if kind in run["thumbnails"]},
        "command": _command(config),
        "made_with": config.get("made_with") if isinstance(config.get("made_with"), dict) else None,
        "config": {key: value for key, value in config.items() if key != "made_with"},
        "sections": [(key, words) for key, words in sections.items() if not absent.get(key)],
        "figures": {
            **plan_figures(plan),
            "differences": _differences(metrics, sets, allowed),
            "det": {key: det_figure(by, f"DET on the {sets[key]}") for key, by in curves.items() if by and key in sets},
            "groups": groups_figure(metrics["groups"], metrics["headline_fmr"]) if metrics.get("groups") else None,
            "path": path_figure(metrics["validation"]["path"], metrics["validation"]["share"], allowed),
            "loss": loss_figure(trainings) if trainings else None,
        },
    }


def _differences(metrics: Mapping[str, Any], sets: Mapping[str, str], allowed: float) -> Drawing | None:
    """Draw the tuned network less each other, on each set, at each FMR that is supported."""
    groups: dict[str, list[Change]] = {words.capitalize(): [] for words in sets.values()}
    for pair, by_set in metrics["differences"].items():
        other = pair.removeprefix(f"{TUNED} - ")
        for key, by_fmr in by_set.items():
            groups[sets[key].capitalize()] += [
                Change(f"{other}, {fmr}", change, TUNED if other == PRETRAINED else other)
                for fmr, change in by_fmr.items()
            ]
    title = "What the tuned network gained and lost"
    return differences_figure(
        groups, title, unit="TAR, tuned minus other, at each FMR (right of 0: better)", allowed=allowed
    )


def _glance(metrics: Mapping[str, Any], sets: Mapping[str, str]) -> dict[str, str]:
    """Return the answers of the first screen: name -> value."""
    shown = {}
    for key, words in sets.items():
        by_set = metrics["differences"].get(f"{TUNED} - {PRETRAINED}", {})
        change = by_set[key][metrics["headline_fmr"]] if key in by_set else None
        if change and change["value"] is not None:
            shown[f"TAR on the {words}, FMR {metrics['headline_fmr']}"] = f"{change['value']:+.3f}"
    shown["people evaluated"] = f"{metrics[TUNED]['target']['people']:,}"
    shown["accepted in an epoch"] = page.percent(metrics["acceptance_rate"])
    shown["time"] = page.duration(sum(metrics["seconds"].values()))
    return shown


def _cost(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return what a run cost: name -> value."""
    return {
        "pictures in the pool": f"{metrics['pool_pictures']:,}",
        "of them read": f"{metrics['images_decoded']:,}",
        "of them embedded": f"{metrics['images_embedded']:,}",
        "views trained on": f"{metrics['images_trained']:,}",
        "time in all": page.duration(sum(metrics["seconds"].values())),
    }


def _trainings(history: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Return the losses of each training; one begins where the number of the step does not grow."""
    found: list[list[float]] = []
    before = math.inf
    for record in history:
        if "loss" in record:
            step = record.get("step", before + 1)
            if step <= before:
                found.append([])
            found[-1].append(record["loss"])
            before = step
    names = [f"training {number} of {len(found)}" for number in range(1, len(found) + 1)]
    return dict(zip(names, found, strict=True))


def _command(config: Mapping[str, Any]) -> str | None:
    """Return the command that made a run of `rsft fit`, less its --out; the recipe is that of `config.toml`."""
    if "pool" not in config:
        return None
    words = ["rsft", "fit"]
    for name, option in OPTIONS.items():
        value = config.get(name)
        if value is True:
            words.append(option)
        elif value is not None and value is not False:
            words += [option, str(value)]
    return shlex.join(words)


def _number(values: Any, name: str) -> float:
    """Return a number of a mapping that anybody may have written, 0 if there is none."""
    value = values.get(name) if isinstance(values, dict) else None
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else 0.0
