"""The page of any folder that rsft wrote."""

from collections.abc import Callable
from pathlib import Path

from rsft.errors import InputError
from rsft.report.comparison_page import COMPARISON_FILE, MODELS_FILE, write_comparison_page
from rsft.report.evaluation_page import EVALUATION_FILE, write_evaluation_page
from rsft.report.plan_page import write_plan_page
from rsft.report.run import METRICS_FILE, PLAN_FILE
from rsft.report.run_page import write_run_page

# The first of these files that a folder holds tells what it is; a run has a plan too.
PAGES: dict[str, Callable[[Path], Path]] = {
    METRICS_FILE: write_run_page,
    MODELS_FILE: write_comparison_page,
    COMPARISON_FILE: write_comparison_page,
    EVALUATION_FILE: write_evaluation_page,
    PLAN_FILE: write_plan_page,
}


def write_report(folder: Path) -> Path:
    """Write `report.html` and `report.json` into an output folder of `fit`, `demo`, `compare`, `plan` or `evaluate`.

    Args:
        folder: The folder.

    Returns:
        The path of the page.

    Raises:
        InputError: The folder is none of these, is not complete, or was written by another version of rsft.
        OSError: The page cannot be written.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder '{folder}': give the --out of a command.")
    for file, write in PAGES.items():
        if (folder / file).is_file():
            return write(folder)
    raise InputError(f"'{folder}' holds none of {', '.join(PAGES)}: give the --out of a command that has finished.")
