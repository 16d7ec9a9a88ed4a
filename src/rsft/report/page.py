"""The report page, rendered from the data of a run by one template."""

import math
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from rsft.disk.whole import replace_file
from rsft.report import figures
from rsft.report.run import REPORT_FILE, read_run
from rsft.types import PRETRAINED, TUNED, UNIFORM, Interval

SET_NAMES = {"target": "target", "retain": "retention"}


def write_report(folder: Path) -> Path:
    """Write `report.html` into a run folder.

    Args:
        folder: The run folder.

    Returns:
        The path of the page.

    Raises:
        InputError: The folder is not a complete run folder, or another version of rsft wrote it.
        OSError: The page cannot be written.
    """
    path = folder / REPORT_FILE
    replace_file(path, render(read_run(folder)).encode())  # a link at its place is replaced, not followed
    return path


def render(run: dict[str, Any]) -> str:
    """Render the report of a run as HTML with inline figures.

    Args:
        run: The data of the run, from `read_run`.
    """
    metrics = run["metrics"]
    systems = {name: metrics[name] for name in (PRETRAINED, UNIFORM, TUNED) if name in metrics}
    sets = {key: name for key, name in SET_NAMES.items() if key in metrics[TUNED]}
    fmr = metrics["headline_fmr"]
    return _template().render(
        run,
        systems=systems,
        sets=sets,
        fmrs=list(metrics[TUNED]["target"]["tar_at_fmr"]),
        tar_figure=figures.tar_figure(systems, sets, fmr),
        ratio_figure=figures.ratio_figure(run["items"], run["plan"]["envelope"]["log_m"]),
        path_figure=figures.path_figure(metrics["validation"]["path"], metrics["validation"]["share"]),
        loss_figure=figures.loss_figure(run["history"]),
    )


@cache
def _template() -> jinja2.Template:
    """Return the template, which escapes every text but the figures; these escape theirs."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    filters: dict[str, Any] = {
        "interval": lambda value: str(Interval(**value)),
        "difference": lambda value: Interval(**value).signed(),
        "percent": lambda x: f"{100 * x:.1f} %",
        "exp": math.exp,
    }
    environment.filters |= filters
    template = resources.files("rsft.report").joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(template)
