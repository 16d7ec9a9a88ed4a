"""`rsft forget`."""

from pathlib import Path
from typing import Annotated

import typer

from rsft.cli import show
from rsft.cli.options import Json


def forget(
    identity: Annotated[str, typer.Option(help="The person, by the name in the pool.")],
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Run folders, and outputs of `rsft plan` and `rsft embed`.")
    ] = None,
    manifest: Annotated[
        list[Path] | None, typer.Option(help="A CSV or Parquet manifest, or pairs: rewritten without the person.")
    ] = None,
    json: Json = False,
) -> None:
    """Say which runs used a person, and take the person out of manifests."""
    from rsft.face.forget import forget as run_forget

    found = run_forget(identity, runs or [], manifest or [])
    show.print_json(found) if json else show.print_forgotten(found)
