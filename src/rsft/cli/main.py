"""`rsft`: the commands. Exit code 0: done; 1: the job failed; 2: bad input."""

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from rsft.cli import show
from rsft.cli.export import export, gallery
from rsft.cli.models import models
from rsft.errors import InputError, RsftError

app = typer.Typer(
    help="Rejection sampling fine-tuning: adapt a pretrained face model to the population it will meet.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="Look at data before using them.", no_args_is_help=True)
app.add_typer(data, name="data")
app.add_typer(models, name="models")
app.add_typer(gallery, name="gallery")
app.command()(export)

FORMS = "a folder, .tar, .rec, shard-{000..012}.tar, or a manifest (.csv, .parquet)"
POOL_HELP = f"Labelled pictures: {FORMS}."
TARGET_HELP = f"Unlabelled pictures of the deployment: {FORMS}."
MODEL_HELP = "A name of `rsft models`, the folder of an earlier run, an .onnx file or a checkpoint."
EVAL_HELP = "A pairs CSV (a,b,same[,fold]), a .bin set, or labelled pictures as for --pool."

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
Model = Annotated[str, typer.Option(help=MODEL_HELP)]
Aligned = Annotated[bool, typer.Option(help="The pictures are aligned chips already: no face is looked for.")]
Seed = Annotated[int, typer.Option(min=0, help="Of everything random.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing --out.")]
Resume = Annotated[bool, typer.Option("--resume", help="Reuse what an interrupted run has embedded.")]
EvalRoot = Annotated[Path | None, typer.Option(help="Folder or .tar that the paths in --eval are relative to.")]
Config = Annotated[Path | None, typer.Option(help="TOML file with a [recipe] table, such as a run's config.toml.")]


class Shift(StrEnum):
    """What may be drawn on the demo's faces."""

    LOW_RESOLUTION = "low-resolution"
    MASK = "mask"
    NIGHT = "night"


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Run folder to make.")] = Path("rsft-demo"),
    shift: Annotated[Shift, typer.Option(help="What the deployment does to pictures.")] = Shift.NIGHT,
    quick: Annotated[bool, typer.Option("--quick", help="Half the people and fewer steps: about a minute.")] = False,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Adapt a real network to a drawn shift on real faces, and measure whether it helped."""
    from rsft.face.demo import demo as run_demo

    with show.progress(quiet=json) as listener:
        result = run_demo(out=out, shift=shift.value, quick=quick, seed=seed, overwrite=overwrite, listener=listener)
    show.print_json(result.metrics) if json else show.print_metrics(result.metrics, str(out))


@app.command()
def plan(
    pool: Annotated[Path, typer.Option(help=POOL_HELP + " Or an output of `rsft embed`.")],
    target: Annotated[Path | None, typer.Option(help=TARGET_HELP + " Or an output of `rsft embed`.")] = None,
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
    seed: Seed = 0,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Say before any training what would be accepted, what it costs, and whether to try."""
    from rsft.face.commands import plan_attributes, plan_folders

    given = {
        "features": features,
        "method": method,
        "envelope": envelope,
        "retain_fraction": retain_fraction,
        "accept_by": accept_by,
        "floor": floor,
    }
    if (target is None) == (shares is None) or (attributes is not None and shares is None):
        raise InputError(
            "the target is stated by --target, or by --attributes and --shares together, or by --shares alone where "
            "the pool has attributes itself."
        )
    if shares is not None:
        known = plan_attributes(
            pool=pool,
            attributes=attributes,
            shares=shares,
            out=out,
            recipe=_recipe(config, given),
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
            recipe=_recipe(config, given),
            compare=compare,
            aligned=aligned,
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


@app.command()
def fit(
    pool: Annotated[Path, typer.Option(help=POOL_HELP)],
    target: Annotated[Path, typer.Option(help=TARGET_HELP)],
    evaluation: Annotated[Path, typer.Option("--eval", help=EVAL_HELP + " Like the target.")],
    out: Annotated[Path, typer.Option(help="Run folder to make.")],
    model: Model = "dlib",
    eval_root: EvalRoot = None,
    retain: Annotated[Path | None, typer.Option(help="Like --eval, of what must not get worse.")] = None,
    retain_root: Annotated[Path | None, typer.Option(help="Like --eval-root, for --retain.")] = None,
    config: Config = None,
    aligned: Aligned = False,
    allow_overlap: Annotated[bool, typer.Option("--allow-overlap", help="Evaluate identities of the pool.")] = False,
    drop_overlap: Annotated[
        bool, typer.Option("--drop-overlap", help="Leave evaluated identities out of the pool.")
    ] = False,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    resume: Resume = False,
    show_faces: Annotated[bool, typer.Option("--show-faces", help="Put pictures into the report.")] = False,
    json: Json = False,
) -> None:
    """Adapt a model: plan, fine-tune on what is accepted, evaluate, write the model and a report."""
    from rsft.face.fit import fit as run_fit

    with show.progress(quiet=json) as listener:
        result = run_fit(
            pool=pool,
            target=target,
            evaluation=evaluation,
            out=out,
            model=model,
            evaluation_root=eval_root,
            retain=retain,
            retain_root=retain_root,
            recipe=_recipe(config),
            seed=seed,
            aligned=aligned,
            allow_overlap=allow_overlap,
            drop_overlap=drop_overlap,
            overwrite=overwrite,
            resume=resume,
            show_faces=show_faces,
            listener=listener,
        )
    show.print_json(result.metrics) if json else show.print_metrics(result.metrics, str(out))


@app.command()
def evaluate(
    evaluation: Annotated[Path, typer.Option("--eval", help=EVAL_HELP)],
    model: Model = "dlib",
    eval_root: EvalRoot = None,
    retain: Annotated[Path | None, typer.Option(help="A second set, evaluated likewise.")] = None,
    retain_root: Annotated[Path | None, typer.Option(help="Like --eval-root, for --retain.")] = None,
    aligned: Aligned = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Verify pairs: accuracy, TAR at fixed FMRs and EER, with 95 % intervals."""
    from rsft.face.commands import evaluate_folders

    with show.progress(quiet=json) as listener:
        results = evaluate_folders(
            model=model,
            evaluation=evaluation,
            evaluation_root=eval_root,
            retain=retain,
            retain_root=retain_root,
            aligned=aligned,
            seed=seed,
            listener=listener,
        )
    if json:
        show.print_json(results["target"] | ({"retain": results["retain"]} if retain else {}))
    else:
        for result in results.values():
            show.print_verification(result)


@app.command()
def embed(
    pool: Annotated[Path, typer.Option(help=f"Pictures: {FORMS}.")],
    out: Annotated[Path, typer.Option(help="Folder to make, with embeddings.npy and embedding.json.")],
    model: Model = "dlib",
    aligned: Aligned = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Embed pictures once, for `rsft plan` or for use elsewhere."""
    from rsft.face.commands import embed_folder

    with show.progress(quiet=json) as listener:
        features = embed_folder(
            pool=pool, out=out, model=model, aligned=aligned, overwrite=overwrite, listener=listener
        )
    if json:
        show.print_json({"items": len(features), "quarantined": features.quarantined, "out": str(out)})
    else:
        print(f"{len(features)} pictures embedded, {len(features.quarantined)} left out: {out}")
        for item, reason in features.quarantined[:10]:
            print(f"  {item}: {reason}")


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help=POOL_HELP)],
    destination: Annotated[Path, typer.Argument(help=f"What to make: {FORMS}.")],
    json: Json = False,
) -> None:
    """Write a pool in another form; pictures keep their bytes."""
    from rsft.data.convert import convert as run_convert

    result = run_convert(source, destination)
    if json:
        show.print_json(result)
    else:
        print(f"{result['pictures']} pictures of {result['identities']} identities: {destination}")
        if result["lost"]:
            print(f"  this form has no place for the attributes {', '.join(result['lost'])}")


@data.command()
def check(
    pool: Annotated[Path, typer.Argument(help=POOL_HELP)],
    against: Annotated[Path | None, typer.Option(help="An evaluation set: " + EVAL_HELP)] = None,
    against_root: Annotated[Path | None, typer.Option(help="What the paths in --against are relative to.")] = None,
    embeddings: Annotated[
        Path | None, typer.Option(help="An output of `rsft embed` for the pool: doubtful labels are told by it.")
    ] = None,
    json: Json = False,
) -> None:
    """Damaged pictures, lone ones, duplicates within the pool and with an evaluation set, doubtful labels."""
    from rsft.face.checking import check_pool

    with show.progress(quiet=json) as listener:
        found = check_pool(pool, against=against, against_root=against_root, embeddings=embeddings, listener=listener)
    show.print_json(found) if json else show.print_check(found)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    json: Json = False,
) -> None:
    """Write report.html anew from the files of a run folder."""
    from rsft.report.page import write_report

    path = write_report(run)
    show.print_json({"report": str(path)}) if json else print(path)


def _recipe(config: Path | None, given: Mapping[str, Any] | None = None):  # type: ignore[no-untyped-def]
    """Of the file, with what was given on the command line in place of what it says."""
    from rsft.face.recipe import make_recipe, read_recipe

    recipe = read_recipe(config) if config is not None else make_recipe({})
    changed = {name: value for name, value in (given or {}).items() if value is not None}
    return make_recipe(recipe.model_dump() | changed) if changed else recipe


def run() -> None:
    """The entry point: errors become one line and an exit code."""
    show.log_to_stderr()
    try:
        app()
    except (InputError, ValueError) as error:
        _fail(error, 2)
    except (RsftError, OSError) as error:
        _fail(error, 1)
    except ModuleNotFoundError as error:
        _fail(f"the package '{error.name}' is not installed: pip install 'rsft[demo]'.", 2)
    except KeyboardInterrupt:
        _fail("interrupted; run again with --resume to reuse what was embedded.", 1)


def _fail(error: object, code: int) -> None:
    print(f"rsft: {error}", file=sys.stderr)
    sys.exit(code)
