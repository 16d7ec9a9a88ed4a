"""`rsft report`."""

from pathlib import Path
from typing import Annotated

import typer

from rsft.cli import show
from rsft.cli.options import Json
from rsft.errors import InputError


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", help="Output of a command. Several: runs."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="For several runs: folder to create, with their page. Default: rsft-runs.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out, if rsft wrote it.")] = False,
    json: Json = False,
) -> None:
    """Write report.html and report.json again, from the files of a folder; or those of several runs, side by side."""
    from rsft.report.kinds import write_report
    from rsft.report.runs_page import write_runs_page
    from rsft.run_folder import writing

    if len(folders) > 1:
        to = out or Path("rsft-runs")
        with writing(to, inputs=folders, overwrite=overwrite) as folder:
            name = write_runs_page(folders, folder).name
        path = to / name
    elif out is not None or overwrite:
        raise InputError("--out is for several runs: the page of one folder is written into it.")
    else:
        path = write_report(folders[0])
    show.print_json({"report": str(path)}) if json else print(path)
