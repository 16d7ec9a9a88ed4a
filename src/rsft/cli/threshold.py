"""`rsft threshold`."""

from pathlib import Path
from typing import Annotated

import typer

from rsft.cli import show
from rsft.cli.options import Aligned, EvalRoot, Json, Model, Seed


def threshold(
    evaluation: Annotated[Path, typer.Option("--eval", help="As for `rsft evaluate`: the people it is set on.")],
    fmr: Annotated[list[float], typer.Option(help="The false match rate wished; may be given several times.")],
    model: Model = "dlib",
    eval_root: EvalRoot = None,
    embeddings: Annotated[Path | None, typer.Option(help="An output of `rsft embed` that has the pictures.")] = None,
    safe: Annotated[
        bool, typer.Option("--safe", help="With --write: those that keep to the rate in 97.5 % of the draws.")
    ] = False,
    write: Annotated[bool, typer.Option("--write", help="Put them into the model's bundle.json.")] = False,
    aligned: Aligned = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Set thresholds for wished false match rates, say how sure they are, and keep them with a model."""
    from rsft.face.threshold import bundle_of, set_thresholds, write_thresholds

    if write:
        bundle_of(Path(model))  # before the work, not after it
    with show.progress(quiet=json) as listener:
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
