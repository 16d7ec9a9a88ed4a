"""`rsft threshold`."""

from pathlib import Path
from typing import Annotated

import typer

from rsft.cli import show
from rsft.cli.options import EVAL_HELP, Aligned, EvalRoot, Json, Model, Seed
from rsft.cli.progress import progress


def threshold(
    evaluation: Annotated[Path, typer.Option("--eval", help=EVAL_HELP)],
    fmr: Annotated[list[float], typer.Option(help="False match rate to find a threshold for. Repeatable.")],
    model: Model = "dlib",
    eval_root: EvalRoot = None,
    embeddings: Annotated[Path | None, typer.Option(help="Output of `rsft embed` for the pictures of --eval.")] = None,
    safe: Annotated[
        bool, typer.Option("--safe", help="With --write: thresholds that keep the rate in 97.5 % of bootstrap draws.")
    ] = False,
    write: Annotated[bool, typer.Option("--write", help="Write the thresholds into the model's bundle.json.")] = False,
    aligned: Aligned = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Find thresholds for false match rates, with their uncertainty, and optionally store them with a model."""
    from rsft.face.threshold import bundle_of, set_thresholds, write_thresholds

    if write:
        bundle_of(Path(model))  # raise the error before the work
    with progress(quiet=json) as listener:
        found = set_thresholds(
            evaluation=evaluation,
            fmrs=fmr,
            model=model,
            evaluation_root=eval_root,
            embeddings=embeddings,
            aligned=aligned,
            seed=seed,
            listener=listener,
        )
    written = write_thresholds(Path(model), found, safe=safe) if write else None
    result = {f"{one.wished:g}": one.to_dict() for one in found}
    if json:
        show.print_json(result | ({"written": str(written)} if written else {}))
        return
    show.print_thresholds(result)
    if written:
        print(f"Written: {written}")
