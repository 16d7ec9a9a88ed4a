"""The page: the dictionary of a run through one template."""

import math
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from rsft.errors import InputError
from rsft.report import figures
from rsft.report.run import REPORT_FILE, read_run
from rsft.types import Interval

SET_NAMES = {"target": "target", "retain": "retention"}


def write_report(folder: Path) -> Path:
    """Make `report.html` in the folder of a run; returns its path.

    Raises:
        InputError: it is not the folder of a run, or that of another version.
    """
    path, run = folder / REPORT_FILE, read_run(folder)
    try:
        path.write_text(render(run), encoding="utf-8")
    except KeyError as error:
        raise InputError(
            f"'{folder}' has no {error}; another version of rsft made it: report with that one."
        ) from error
    return path


def render(run: dict[str, Any]) -> str:
    """The HTML of a run; its figures are inside."""
    metrics = run["metrics"]
    systems = {name: metrics[name] for name in ("pretrained", "uniform", "tuned") if name in metrics}
    sets = {key: name for key, name in SET_NAMES.items() if key in metrics["tuned"]}
    fmr = metrics["headline_fmr"]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    filters: dict[str, Any] = {
        "interval": lambda value: str(Interval(**value)),
        "difference": lambda value: Interval(**value).signed(),
        "percent": lambda x: f"{100 * x:.1f} %",
        "exp": math.exp,
    }
    environment.filters |= filters
    template = resources.files("rsft.report").joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        run,
        systems=systems,
        sets=sets,
        fmrs=list(metrics["tuned"]["target"]["tar_at_fmr"]),
        tar_figure=figures.tar_figure(systems, sets, fmr),
        ratio_figure=figures.ratio_figure(run["items"], run["plan"]["envelope"]["log_m"]),
        path_figure=figures.path_figure(metrics["validation"]["path"], metrics["validation"]["share"]),
        loss_figure=figures.loss_figure(run["history"]),
    )
