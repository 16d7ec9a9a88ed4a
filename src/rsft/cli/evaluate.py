"""`rsft evaluate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from rsft.cli import launch, show, show_models
from rsft.cli.options import (
    EVAL_HELP,
    MODEL_HELP,
    Aligned,
    Attributes,
    EvalRoot,
    Groups,
    Json,
    Landmarks,
    Overwrite,
    Seed,
)
from rsft.cli.progress import progress
from rsft.errors import InputError


def evaluate(
    evaluation: Annotated[Path, typer.Option("--eval", help=EVAL_HELP)],
    model: Annotated[
        list[str] | None,
        typer.Option(help=f"{MODEL_HELP} Default: dlib. Repeatable: then how they differ on the same pairs."),
    ] = None,
    eval_root: EvalRoot = None,
    retain: Annotated[Path | None, typer.Option(help="Second evaluation set.")] = None,
    retain_root: Annotated[Path | None, typer.Option(help="Like --eval-root, for --retain.")] = None,
    embeddings: Annotated[
        Path | None, typer.Option(help="Output of `rsft embed` for the pictures of --eval, which are then not read.")
    ] = None,
    templates: Annotated[
        Path | None, typer.Option(help="CSV template,path. Compare templates of several pictures in place of pictures.")
    ] = None,
    identification: Annotated[
        bool, typer.Option("--identification", help="Also search for people in a gallery of some of them.")
    ] = False,
    distractors: Annotated[Path | None, typer.Option(help="Pictures of other people, added to that gallery.")] = None,
    enrolled_fraction: Annotated[
        float, typer.Option(help="Share of the people with two or more pictures who are in that gallery.")
    ] = 0.5,
    groups: Groups = None,
    attributes: Attributes = None,
    det: Annotated[Path | None, typer.Option(help="SVG file to write, with FNMR over FMR.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to create, with evaluation.json and report.html.")] = None,
    overwrite: Overwrite = False,
    aligned: Aligned = False,
    landmarks: Landmarks = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Measure accuracy, TAR at fixed FMRs and EER with 95 % intervals; optionally identification and groups."""
    models = model or ["dlib"]
    shared: dict[str, Any] = {
        "evaluation": evaluation,
        "evaluation_root": eval_root,
        "retain": retain,
        "retain_root": retain_root,
        "out": out,
        "overwrite": overwrite,
        "aligned": aligned,
        "landmarks": landmarks,
        "seed": seed,
    }
    of_one: dict[str, Any] = {
        "embeddings": embeddings,
        "templates": templates,
        "identification": identification,
        "distractors": distractors,
        "groups": groups,
        "attributes": attributes,
    }
    if len(models) > 1:
        _refuse([f"--{name}" for name, value in (of_one | {"det": det}).items() if value])
        _evaluate_several(models, shared, json=json)
    else:
        _evaluate_one(models[0], shared, of_one | {"enrolled_fraction": enrolled_fraction}, det, json=json)
    if out is not None and not json:
        print(f"Report: {out}/report.html")


def _evaluate_several(models: list[str], shared: dict[str, Any], *, json: bool) -> None:
    """Evaluate networks on the same pairs and print how they differ; `shared` are arguments of `evaluate_models`."""
    from rsft.face.evaluate_models import evaluate_models

    with progress(quiet=json) as listener:
        compared = evaluate_models(models=models, listener=listener, **shared)
    found = {key: same.to_dict() for key, same in compared.items()}
    show.print_json(found) if json else show_models.print_evaluated(found)


def _evaluate_one(model: str, shared: dict[str, Any], of_one: dict[str, Any], det: Path | None, *, json: bool) -> None:
    """Evaluate one network and print its figures; `shared` and `of_one` are arguments of `evaluate_folders`."""
    from rsft.disk.whole import replace_file
    from rsft.face.evaluate import evaluate_folders
    from rsft.run_folder import check_file

    if det is not None:
        names = ("evaluation", "evaluation_root", "retain", "retain_root", "embeddings", "templates", "distractors")
        check_file(det, inputs=(model, *((shared | of_one)[name] for name in names)))
    with progress(quiet=json) as listener:
        results = evaluate_folders(model=model, det=det is not None, listener=listener, **shared, **of_one)
    if det is not None and launch.number() == 0:
        from rsft.report.figures.det import det_figure
        from rsft.report.style import standalone

        replace_file(det, standalone(det_figure({Path(model).name: results["target"]["det"]}).wide).encode())
    if json:
        show.print_json(results["target"] | ({"retain": results["retain"]} if "retain" in results else {}))
        return
    for key, name in {"target": "evaluation", "retain": "retain"}.items():
        if key in results:
            show.print_verification(results[key], f"{Path(model).name} on {shared[name]}")


def _refuse(options: list[str]) -> None:
    """Raise an error if options were given that are for one network."""
    if options:
        raise InputError(f"{', '.join(options)} is for one --model: leave it out, or give one network.")
