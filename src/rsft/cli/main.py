"""`rsft`: the commands. Exit code 0: done; 1: the job failed; 2: bad input."""

import os
import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer

from rsft.cli import launch, matrix, show
from rsft.cli.compare import compare
from rsft.cli.export import export, gallery
from rsft.cli.forget import forget
from rsft.cli.models import models
from rsft.cli.options import (
    EVAL_HELP,
    FORMS,
    POOL_HELP,
    TARGET_HELP,
    Aligned,
    AllowOverlap,
    Config,
    DropOverlap,
    EvalRoot,
    Evaluation,
    Json,
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
from rsft.cli.threshold import threshold
from rsft.errors import InputError, RsftError, WithdrawnDataWarning

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
app.command()(compare)
app.command()(export)
app.command()(threshold)
app.command()(forget)


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
        options = {name: value for name, value in given.items() if name != "features"}
        matrix.run_plan(places | rows | options, of_pictures=no_rows, json=json)
        return
    matrix.refuse_pictures({"--labels": labels, "--epochs": epochs})
    from rsft.face.commands import plan_attributes, plan_folders

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
    pool: Pool,
    target: Target,
    evaluation: Evaluation,
    out: Annotated[Path, typer.Option(help="Run folder to make.")],
    model: Model = "dlib",
    eval_root: EvalRoot = None,
    retain: Retain = None,
    retain_root: RetainRoot = None,
    config: Config = None,
    aligned: Aligned = False,
    allow_overlap: AllowOverlap = False,
    drop_overlap: DropOverlap = False,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    resume: Resume = False,
    show_faces: Annotated[
        bool, typer.Option("--show-faces", help="Put pictures into the report, and names into the run folder.")
    ] = False,
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
            recipe=read_recipe(config),
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
    groups: Annotated[
        str | None, typer.Option(help="An attribute: also FMR and FNMR of its groups at one threshold for all.")
    ] = None,
    attributes: Annotated[
        Path | None, typer.Option(help="For --groups: a CSV, path,<attributes...>; the manifest by default.")
    ] = None,
    det: Annotated[Path | None, typer.Option(help="Where to draw FNMR over FMR, as .svg.")] = None,
    aligned: Aligned = False,
    landmarks: Annotated[Path | None, typer.Option(help="A CSV, path,x1,y1,...,x5,y5: no face is looked for.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Verify pairs: accuracy, TAR at fixed FMRs and EER, with 95 % intervals; identification and groups on demand."""
    from rsft.face.evaluating import evaluate_folders

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


@app.command()
def embed(
    pool: Annotated[Path, typer.Option(help=f"Pictures: {FORMS}.")],
    out: Annotated[Path, typer.Option(help="Folder to make, with embeddings.npy and embedding.json.")],
    model: Model = "dlib",
    aligned: Aligned = False,
    landmarks: Annotated[Path | None, typer.Option(help="A CSV, path,x1,y1,...,x5,y5: no face is looked for.")] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    show_faces: Annotated[bool, typer.Option("--show-faces", help="Name the pictures that were left out.")] = False,
    json: Json = False,
) -> None:
    """Embed pictures once, for `rsft plan` or for use elsewhere."""
    from rsft.face.commands import embed_folder
    from rsft.face.privacy import new_pseudonyms

    with show.progress(quiet=json) as listener:
        features = embed_folder(
            pool=pool,
            out=out,
            model=model,
            aligned=aligned,
            landmarks=landmarks,
            overwrite=overwrite,
            resume=resume,
            listener=listener,
        )
    pseudonym = new_pseudonyms(show=show_faces)
    left_out = [[pseudonym(item), reason] for item, reason in features.quarantined]
    if json:
        show.print_json({"items": len(features), "quarantined": left_out, "out": str(out)})
    else:
        print(f"{len(features)} pictures embedded, {len(left_out)} left out: {out}")
        for name, reason in left_out[:10]:
            print(f"  {name}: {reason}")
        if left_out and not show_faces:
            print("  Names are hashed: embedding.json has them, or --show-faces.")


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


def run() -> None:
    """The entry point: errors become one line and an exit code; of several processes the first prints."""
    if launch.number():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  until the process ends
    code = _run()
    launch.leave(code)
    sys.exit(code)


def _run() -> int:
    warnings.showwarning = _warn
    show.log_to_stderr()
    try:
        app()
    except SystemExit as end:
        return int(end.code or 0)
    except (InputError, ValueError) as error:
        return _fail(error, 2)
    except (RsftError, OSError) as error:
        return _fail(error, 1)
    except ModuleNotFoundError as error:
        return _fail(f"the package '{error.name}' is not installed: pip install 'rsft[demo]'.", 2)
    except KeyboardInterrupt:
        return _fail("interrupted; run again with --resume to reuse what was embedded.", 1)
    except RuntimeError as error:
        if not launch.is_of_others(error):
            raise
        return _fail(f"another process ended, see what it says ({str(error).splitlines()[0]}).", 1)
    return 0


def _fail(error: object, code: int) -> int:
    print(f"rsft{launch.name()}: {error}", file=sys.stderr)
    return code


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Ours are for the user, and need no line of code; others are for whoever looks into them."""
    where = "" if issubclass(category, WithdrawnDataWarning) else f"{filename}:{lineno}: {category.__name__}: "
    print(f"rsft: warning: {where}{message}", file=sys.stderr)
