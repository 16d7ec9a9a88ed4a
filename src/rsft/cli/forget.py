"""`rsft forget`."""

from pathlib import Path
from typing import Annotated

import typer

from rsft.cli import show
from rsft.cli.options import Json


def forget(
    identity: Annotated[str, typer.Option(help="Name of the person, as in the pool.")],
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Run folders, and outputs of `rsft plan` or `rsft embed`.")
    ] = None,
    manifest: Annotated[
        list[Path] | None,
        typer.Option(help="CSV or Parquet manifest, or pairs, to rewrite without the person. Repeatable."),
    ] = None,
    json: Json = False,
) -> None:
    """Report which runs used a person, and remove the person from manifests."""
    from rsft.face.forget import forget as run_forget

    found = run_forget(identity, runs or [], manifest or [])
    show.print_json(found) if json else show.print_forgotten(found)
