"""`rsft compare`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from rsft.cli import options, show, show_models
from rsft.cli.progress import progress
from rsft.errors import InputError


def compare(
    pool: options.Pool,
    target: options.Target,
    evaluation: options.Evaluation,
    out: Annotated[Path, typer.Option(help="Folder for the results. An existing comparison is continued.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{options.MODEL_HELP} Default: dlib. Repeatable: each untouched and tuned, side by side, in a folder "
            "of its own in --out; the first is the one in use."
        ),
    ] = None,
    eval_root: options.EvalRoot = None,
    retain: options.Retain = None,
    retain_root: options.RetainRoot = None,
    config: options.Config = None,
    envelope: Annotated[
        list[str] | None,
        typer.Option(help="Also try rejection with this rule for M: max, max_tv=0.02, ... Repeatable."),
    ] = None,
    oracle: Annotated[
        str | None, typer.Option(help="ATTRIBUTE=VALUE. Also train on only the pool pictures with this value.")
    ] = None,
    attributes: Annotated[
        Path | None, typer.Option(help="CSV for --oracle: path,<attributes...>. Default: the manifest.")
    ] = None,
    peers: Annotated[
        bool, typer.Option("--peers", help="Also compare domain adaptation: MMD, CORAL, pseudo-labels, statistics.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Number of trainings of each method.")] = 5,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes, each running one training at a time.")] = 1,
    aligned: options.Aligned = False,
    landmarks: options.Landmarks = None,
    allow_overlap: options.AllowOverlap = False,
    drop_overlap: options.DropOverlap = False,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Train with rejection and with its baselines, at equal samples and equal time, and report which is better."""
    from rsft.face.compare import compare_faces
    from rsft.face.compare_models import compare_models
    from rsft.report.comparison_page import COMPARISON_FILE, MODELS_FILE
    from rsft.report.figures.methods import write_figure
    from rsft.report.kinds import write_report

    attribute, separator, value = (oracle or "").partition("=")
    if oracle is not None and not (attribute and separator):
        raise InputError(f"--oracle needs ATTRIBUTE=VALUE, such as shift=night; got '{oracle}'.")
    given: dict[str, Any] = {
        "pool": pool,
        "target": target,
        "evaluation": evaluation,
        "out": out,
        "evaluation_root": eval_root,
        "retain": retain,
        "retain_root": retain_root,
        "recipe": options.read_recipe(config),
        "envelopes": envelope or (),
        "oracle": (attribute, value) if oracle is not None else None,
        "attributes": attributes,
        "peers": peers,
        "seeds": seeds,
        "seed": seed,
        "aligned": aligned,
        "landmarks": landmarks,
        "allow_overlap": allow_overlap,
        "drop_overlap": drop_overlap,
        "workers": workers,
    }
    models = model or ["dlib"]
    with progress(quiet=json) as listener:
        if len(models) > 1:
            result = compare_models(models=models, listener=listener, **given).to_dict()
        else:
            result = compare_faces(model=models[0], listener=listener, **given).to_dict()
    write_figure(out, MODELS_FILE if len(models) > 1 else COMPARISON_FILE)
    page = write_report(out)
    if json:
        show.print_json(result)
        return
    (show_models.print_compared if len(models) > 1 else show.print_comparison)(result)
    print(f"Report: {page}")
