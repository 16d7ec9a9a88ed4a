"""`rsft fit`."""

from pathlib import Path
from typing import Annotated

import typer

from rsft.cli import show
from rsft.cli.options import (
    Aligned,
    AllowOverlap,
    Attributes,
    Config,
    DropOverlap,
    EvalRoot,
    Evaluation,
    Groups,
    Json,
    Landmarks,
    Model,
    Overwrite,
    Pool,
    Resume,
    Retain,
    RetainRoot,
    Seed,
    Target,
    read_recipe,
)
from rsft.cli.progress import progress


def fit(
    pool: Pool,
    target: Target,
    evaluation: Evaluation,
    out: Annotated[Path, typer.Option(help="Run folder to create.")],
    model: Model = "dlib",
    eval_root: EvalRoot = None,
    retain: Retain = None,
    retain_root: RetainRoot = None,
    config: Config = None,
    whiten_only: Annotated[
        bool, typer.Option("--whiten-only", help="Whiten the network and do not train it: steps = 0 in the recipe.")
    ] = False,
    aligned: Aligned = False,
    landmarks: Landmarks = None,
    allow_overlap: AllowOverlap = False,
    drop_overlap: DropOverlap = False,
    groups: Groups = None,
    attributes: Attributes = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    resume: Resume = False,
    show_faces: Annotated[
        bool, typer.Option("--show-faces", help="Show pictures in the report, and names in the run folder.")
    ] = False,
    tracker: Annotated[
        list[str] | None,
        typer.Option(help="Also log plan, training and gate to tensorboard, mlflow or wandb (offline). Repeatable."),
    ] = None,
    tracker_folder: Annotated[
        Path | None, typer.Option(help="Folder for what trackers write. Default: OUT.tracked, beside the run.")
    ] = None,
    json: Json = False,
) -> None:
    """Adapt a model: plan, fine-tune on the accepted pictures, evaluate, and write the model and a report."""
    from rsft.face.fit import fit as run_fit

    with progress(quiet=json) as listener:
        result = run_fit(
            pool=pool,
            target=target,
            evaluation=evaluation,
            out=out,
            model=model,
            evaluation_root=eval_root,
            retain=retain,
            retain_root=retain_root,
            recipe=read_recipe(config, {"steps": 0} if whiten_only else None),
            seed=seed,
            aligned=aligned,
            landmarks=landmarks,
            allow_overlap=allow_overlap,
            drop_overlap=drop_overlap,
            groups=groups,
            attributes=attributes,
            overwrite=overwrite,
            resume=resume,
            show_faces=show_faces,
            trackers=tracker or (),
            tracker_folder=tracker_folder,
            listener=listener,
        )
    show.print_json(result.metrics) if json else show.print_metrics(result.metrics, str(out))
