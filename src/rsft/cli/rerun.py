"""`rsft rerun`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsft.cli import show
from rsft.cli.options import MODEL_HELP, Json, Overwrite, Resume
from rsft.cli.progress import progress

if TYPE_CHECKING:
    from rsft.face.rerun import Rerun

DIFFERS = 1  # exit code


def rerun(
    run: Annotated[Path, typer.Argument(help="Folder of a finished `rsft fit`. It is only read.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to create. Default: RUN.rerun, which is removed if nothing differs."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help=f"The pretrained model, if it is not where it was. {MODEL_HELP}")
    ] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Make a finished run of `rsft fit` again from its folder, and compare: exit code 0 if it is the same, 1 if not."""
    from rsft.face.rerun import rerun as run_again

    with progress(quiet=json) as listener:
        found = run_again(run, out=out, model=model, overwrite=overwrite, resume=resume, listener=listener)
    show.print_json(found.to_dict()) if json else _print(found)
    if not found.same:
        raise typer.Exit(DIFFERS)


def _print(found: "Rerun") -> None:
    """Print "same", or what differs and by how much, and what may explain it."""
    print("same" if found.same else "differs")
    for name, part in found.parts.items():
        if not part.same:
            print(f"  {name}: {part.text}")
    for heading, told in (
        ("changed input", found.inputs),
        ("made with", found.conditions),
        ("not told", found.untold),
    ):
        for sentence in told:
            print(f"  {heading}: {sentence}")
    if found.out is not None:
        print(f"  {found.out}: the new run")
