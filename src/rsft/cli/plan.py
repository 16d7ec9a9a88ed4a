"""`rsft plan`."""

from pathlib import Path
from typing import Annotated

import typer

from rsft.cli import matrix, show
from rsft.cli.options import (
    POOL_HELP,
    TARGET_HELP,
    Aligned,
    Config,
    Json,
    Landmarks,
    Model,
    Overwrite,
    Seed,
    read_recipe,
)
from rsft.errors import InputError


def plan(
    pool: Annotated[Path, typer.Option(help=f"{POOL_HELP} Or an output of `rsft embed`. {matrix.MATRIX_HELP}")],
    target: Annotated[
        Path | None, typer.Option(help=f"{TARGET_HELP} Or an output of `rsft embed`. {matrix.MATRIX_HELP}")
    ] = None,
    attributes: Annotated[Path | None, typer.Option(help="With --shares: a CSV, path,<attributes...>.")] = None,
    shares: Annotated[
        Path | None, typer.Option(help="For --target: a TOML table of target shares an attribute.")
    ] = None,
    model: Model = "dlib",
    out: Annotated[Path | None, typer.Option(help="Folder for plan.json and accepted.parquet.")] = None,
    config: Config = None,
    compare: Annotated[bool, typer.Option("--compare", help="Plan on each kind of features, and rank them.")] = False,
    features: Annotated[str | None, typer.Option(help="activations, covariates or embedding.")] = None,
    method: Annotated[str | None, typer.Option(help="Estimator of the ratio: classifier, auto, ...")] = None,
    envelope: Annotated[str | None, typer.Option(help="max, max_tv=0.02, rate=0.1, quantile=0.97 or log_m=1.")] = None,
    retain_fraction: Annotated[float | None, typer.Option(help="Share of the pool in the target, 0 to 1.")] = None,
    accept_by: Annotated[str | None, typer.Option(help="item, or identity: all its items or none.")] = None,
    floor: Annotated[int | None, typer.Option(help="Items that an accepted identity gets at least.")] = None,
    aligned: Aligned = False,
    landmarks: Landmarks = None,
    labels: Annotated[
        Path | None, typer.Option(help="Of rows of features: identity or class of each, .npy or FILE.csv:COLUMN.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of rows of features: write the accepted of so many, 1 by default.")
    ] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Say before any training what would be accepted, what it costs, and whether to try."""
    from rsft.data.matrix import is_matrix

    given = {
        "features": features,
        "method": method,
        "envelope": envelope,
        "retain_fraction": retain_fraction,
        "accept_by": accept_by,
        "floor": floor,
    }
    if is_matrix(pool):
        places = {"pool": pool, "target": target, "shares": shares, "attributes": attributes, "out": out}
        rows = {"labels": labels, "epochs": epochs, "compare": compare, "seed": seed, "overwrite": overwrite}
        no_rows = {"--model": model != "dlib", "--config": config, "--features": features, "--aligned": aligned}
        no_rows |= {"--landmarks": landmarks}
        options = {name: value for name, value in given.items() if name != "features"}
        matrix.run_plan(places | rows | options, of_pictures=no_rows, json=json)
        return
    matrix.refuse_pictures({"--labels": labels, "--epochs": epochs})
    from rsft.face.plan import plan_attributes, plan_folders

    if (target is None) == (shares is None) or (attributes is not None and shares is None):
        raise InputError(
            "the target is stated by --target, or by --attributes and --shares together, or by --shares alone where "
            "the pool has attributes itself."
        )
    if shares is not None:
        if landmarks is not None:
            raise InputError("landmarks are for pictures that are embedded: with --shares none is. Leave one out.")
        known = plan_attributes(
            pool=pool,
            attributes=attributes,
            shares=shares,
            out=out,
            recipe=read_recipe(config, given),
            seed=seed,
            overwrite=overwrite,
        )
        show.print_json(known.to_dict()) if json else show.print_plan(known.to_dict())
        return
    assert target is not None
    with show.progress(quiet=json) as listener:
        made, plans = plan_folders(
            pool=pool,
            target=target,
            model=model,
            out=out,
            recipe=read_recipe(config, given),
            compare=compare,
            aligned=aligned,
            landmarks=landmarks,
            seed=seed,
            overwrite=overwrite,
            listener=listener,
        )
    if json:
        ranking = {"ranking": [ranked.to_dict() for ranked in plans]} if compare else {}
        show.print_json(made.to_dict() | ranking)
    else:
        show.print_ranking([ranked.to_dict() for ranked in plans])
        show.print_plan(made.to_dict())
