"""`rsft evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from rsft.cli import show
from rsft.cli.options import EVAL_HELP, Aligned, Attributes, EvalRoot, Groups, Json, Landmarks, Model, Seed


def evaluate(
    evaluation: Annotated[Path, typer.Option("--eval", help=EVAL_HELP)],
    model: Model = "dlib",
    eval_root: EvalRoot = None,
    retain: Annotated[Path | None, typer.Option(help="A second set, evaluated likewise.")] = None,
    retain_root: Annotated[Path | None, typer.Option(help="Like --eval-root, for --retain.")] = None,
    embeddings: Annotated[
        Path | None, typer.Option(help="An output of `rsft embed` that has the pictures of --eval: none is read.")
    ] = None,
    templates: Annotated[
        Path | None, typer.Option(help="A CSV, template,path: templates of several pictures are compared.")
    ] = None,
    identification: Annotated[
        bool, typer.Option("--identification", help="Also search people in a gallery of some of them.")
    ] = False,
    distractors: Annotated[Path | None, typer.Option(help="Pictures of others, put into that gallery.")] = None,
    enrolled_fraction: Annotated[float, typer.Option(help="Of the people with two pictures, in that gallery.")] = 0.5,
    groups: Groups = None,
    attributes: Attributes = None,
    det: Annotated[Path | None, typer.Option(help="Where to draw FNMR over FMR, as .svg.")] = None,
    aligned: Aligned = False,
    landmarks: Landmarks = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Verify pairs: accuracy, TAR at fixed FMRs and EER, with 95 % intervals; identification and groups on demand."""
    from rsft.face.evaluate import evaluate_folders

    with show.progress(quiet=json) as listener:
        results = evaluate_folders(
            model=model,
            evaluation=evaluation,
            evaluation_root=eval_root,
            retain=retain,
            retain_root=retain_root,
            embeddings=embeddings,
            templates=templates,
            identification=identification,
            distractors=distractors,
            enrolled_fraction=enrolled_fraction,
            groups=groups,
            attributes=attributes,
            det=det is not None,
            aligned=aligned,
            landmarks=landmarks,
            seed=seed,
            listener=listener,
        )
    if det is not None:
        from rsft.report.figures import det_figure

        det.write_text(det_figure({Path(model).name: results["target"]["det"]}), encoding="utf-8")
    if json:
        show.print_json(results["target"] | ({"retain": results["retain"]} if retain else {}))
    else:
        for result in results.values():
            show.print_verification(result)
