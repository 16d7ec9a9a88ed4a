"""`rsft report`."""

from pathlib import Path
from typing import Annotated

import typer

from rsft.cli import show
from rsft.cli.options import Json


def report(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    json: Json = False,
) -> None:
    """Write report.html again, from the files of a run folder."""
    from rsft.report.page import write_report

    path = write_report(run)
    show.print_json({"report": str(path)}) if json else print(path)
