"""`rsft data check` and `rsft convert`: what is there, and in which form."""

from pathlib import Path
from typing import Annotated

import typer

from rsft.cli import show
from rsft.cli.options import EVAL_HELP, FORMS, POOL_HELP, Json

data = typer.Typer(help="Look at data before using them.", no_args_is_help=True)


def convert(
    source: Annotated[Path, typer.Argument(help=POOL_HELP)],
    destination: Annotated[Path, typer.Argument(help=f"What to make: {FORMS}.")],
    json: Json = False,
) -> None:
    """Write a pool in another form; pictures keep their bytes."""
    from rsft.data.convert import convert as run_convert

    result = run_convert(source, destination)
    if json:
        show.print_json(result)
    else:
        print(f"{result['pictures']} pictures of {result['identities']} identities: {destination}")
        if result["lost"]:
            print(f"  this form has no place for the attributes {', '.join(result['lost'])}")


@data.command()
def check(
    pool: Annotated[Path, typer.Argument(help=POOL_HELP)],
    against: Annotated[Path | None, typer.Option(help="An evaluation set: " + EVAL_HELP)] = None,
    against_root: Annotated[Path | None, typer.Option(help="What the paths in --against are relative to.")] = None,
    embeddings: Annotated[
        Path | None, typer.Option(help="An output of `rsft embed` for the pool: doubtful labels are told by it.")
    ] = None,
    json: Json = False,
) -> None:
    """Damaged pictures, lone ones, duplicates within the pool and with an evaluation set, doubtful labels."""
    from rsft.face.check import check_pool

    with show.progress(quiet=json) as listener:
        found = check_pool(pool, against=against, against_root=against_root, embeddings=embeddings, listener=listener)
    show.print_json(found) if json else show.print_check(found)
