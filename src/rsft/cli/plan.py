"""`rsft plan`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from rsft.cli import matrix, show, show_models
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
from rsft.cli.progress import progress
from rsft.errors import InputError


def plan(
    pool: Annotated[Path, typer.Option(help=f"{POOL_HELP} {matrix.MATRIX_HELP}")],
    target: Annotated[Path | None, typer.Option(help=f"{TARGET_HELP} {matrix.MATRIX_HELP}")] = None,
    attributes: Annotated[
        Path | None, typer.Option(help="CSV for --shares: path,<attributes...>. Default: the manifest.")
    ] = None,
    shares: Annotated[
        Path | None, typer.Option(help="In place of --target: TOML file with the target shares of each attribute.")
    ] = None,
    model: Model = "dlib",
    against: Annotated[
        list[str] | None,
        typer.Option(help="Network that could take the place of --model. Repeatable. Default: those of `rsft models`."),
    ] = None,
    no_swap: Annotated[
        bool, typer.Option("--no-swap", help="Do not look whether another network does better.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder to create, with plan.json and accepted.parquet.")] = None,
    config: Config = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Plan with each kind of features, or each estimator for rows, and rank the plans."
        ),
    ] = False,
    features: Annotated[
        str | None, typer.Option(help="Features to plan with: activations, covariates or embedding.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="Estimator of the density ratio: classifier, auto, ...")] = None,
    envelope: Annotated[
        str | None, typer.Option(help="Rule for M: max, max_tv=0.02, rate=0.1, quantile=0.97 or log_m=1.")
    ] = None,
    retain_fraction: Annotated[
        float | None, typer.Option(help="Share of the pool in the target mixture, 0 to 1.")
    ] = None,
    accept_by: Annotated[str | None, typer.Option(help="Unit that is accepted: item or identity.")] = None,
    floor: Annotated[int | None, typer.Option(help="Minimum number of items of each accepted identity.")] = None,
    aligned: Aligned = False,
    landmarks: Landmarks = None,
    labels: Annotated[
        Path | None, typer.Option(help="For rows of features: identity or class of each row, .npy or FILE.csv:COLUMN.")
    ] = None,
    target_groups: Annotated[
        Path | None,
        typer.Option(
            help="For rows of features: what each target row is of, such as its clip; formats as for --labels."
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="For rows of features: number of epochs whose accepted rows are written. Default: 1."),
    ] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Report, before any training, what would be accepted, at what cost, and whether tuning is worth trying."""
    from rsft.data.matrix import is_matrix

    given: dict[str, Any] = {"features": features, "method": method, "envelope": envelope, "accept_by": accept_by}
    given |= {"retain_fraction": retain_fraction, "floor": floor}
    if is_matrix(pool):
        places = {"pool": pool, "target": target, "shares": shares, "attributes": attributes, "out": out}
        rows = {
            "labels": labels,
            "target_groups": target_groups,
            "epochs": epochs,
            "compare": compare,
            "seed": seed,
            "overwrite": overwrite,
        }
        no_rows: dict[str, Any] = {
            "--model": model != "dlib",
            "--config": config,
            "--features": features,
            "--aligned": aligned,
        }
        no_rows |= {"--landmarks": landmarks, "--against": against, "--no-swap": no_swap}
        options = {name: value for name, value in given.items() if name != "features"}
        matrix.run_plan(places | rows | options, of_pictures=no_rows, json=json)
        return
    matrix.refuse_pictures({"--labels": labels, "--target-groups": target_groups, "--epochs": epochs})
    from rsft.face.plan import plan_attributes, plan_folders

    _check_target(target, shares, attributes, landmarks)
    if against and (no_swap or shares is not None):
        raise InputError(
            f"--against compares networks on pictures: leave it or {'--no-swap' if no_swap else '--shares'} out."
        )
    if shares is not None:
        known = plan_attributes(
            pool=pool,
            attributes=attributes,
            shares=shares,
            out=out,
            recipe=read_recipe(config, given),
            seed=seed,
            overwrite=overwrite,
        )
        show.print_plans(known.to_dict(), [], compare=False, as_json=json)
        if not json:
            _print_written(out)
        return
    assert target is not None
    with progress(quiet=json) as listener:
        made = plan_folders(
            pool=pool,
            target=target,
            model=model,
            against=() if no_swap else against,
            out=out,
            recipe=read_recipe(config, given),
            compare=compare,
            aligned=aligned,
            landmarks=landmarks,
            seed=seed,
            overwrite=overwrite,
            listener=listener,
        )
    result = made.to_dict()
    show.print_plans(result, [ranked.to_dict() for ranked in made.ranking], compare=compare, as_json=json)
    if not json:
        show_models.print_models(result["models"])
        show_models.print_advice(result["advice"])
        _print_cost(result)
        _print_written(out)


def _print_written(out: Path | None) -> None:
    """Print where the plan is."""
    if out is not None:
        told = f"Written: {escape(str(out))}, with plan.json and accepted.parquet, the accepted pictures."
        Console(highlight=False).print(told)


def _print_cost(result: dict[str, Any]) -> None:
    """Print how long it takes to read and rate a picture, as measured here, and how to learn what a run takes."""
    kinds = result["features"]["compared"] if result.get("features") else []
    chosen = next((kind for kind in kinds if kind["features"] == result["features"]["kind"]), None)
    if chosen is not None and chosen["seconds_of_a_picture"] is not None:
        print(f"Reading and rating a picture took {1000 * chosen['seconds_of_a_picture']:.0f} ms here.")
    print("About what a fit takes, in minutes and bytes: rsft doctor POOL TARGET EVAL")


def _check_target(target: Path | None, shares: Path | None, attributes: Path | None, landmarks: Path | None) -> None:
    """Raise an error if the options for pictures do not state exactly one target, or if `--shares` has landmarks."""
    if (target is None) == (shares is None) or (attributes is not None and shares is None):
        raise InputError(
            "state the target by --target, or by --attributes and --shares together, or by --shares alone if the pool "
            "has attributes itself."
        )
    if shares is not None and landmarks is not None:
        raise InputError("landmarks are for pictures that are embedded, and with --shares none is: leave one out.")
