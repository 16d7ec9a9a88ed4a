"""`rsft demo`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rsft.cli import show
from rsft.cli.options import Json, Overwrite, Seed
from rsft.cli.progress import progress


class Shift(StrEnum):
    """The shifts that the demo can simulate."""

    LOW_RESOLUTION = "low-resolution"
    MASK = "mask"
    NIGHT = "night"


def demo(
    out: Annotated[Path, typer.Option(help="Run folder to create.")] = Path("rsft-demo"),
    shift: Annotated[Shift, typer.Option(help="Simulated change of the pictures in deployment.")] = Shift.NIGHT,
    quick: Annotated[
        bool, typer.Option("--quick", help="Half the folds, half the pool, fewer steps: about a minute.")
    ] = False,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Adapt a real network to a simulated shift on real faces, and measure whether it helped."""
    from rsft.face.demo import demo as run_demo

    with progress(quiet=json) as listener:
        result = run_demo(out=out, shift=shift.value, quick=quick, seed=seed, overwrite=overwrite, listener=listener)
    show.print_json(result.metrics) if json else show.print_metrics(result.metrics, str(out))
