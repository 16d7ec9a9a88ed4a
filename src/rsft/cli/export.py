"""`rsft export` and `rsft gallery migrate`: a tuned model leaves, and takes a gallery with it."""

from pathlib import Path
from typing import Annotated

import typer

from rsft.cli import show
from rsft.cli.options import Aligned, Json, Overwrite

gallery = typer.Typer(help="Enrolled faces.", no_args_is_help=True)


def export(
    run: Annotated[str, typer.Argument(help="Folder of a run, or as for --model.")],
    onnx: Annotated[Path | None, typer.Option(help="ONNX file to write, with NAME.json beside it.")] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Folder to make, with safetensors weights and bundle.json.")
    ] = None,
    pictures: Annotated[Path | None, typer.Option(help="Faces to compare the graph with the network on.")] = None,
    aligned: Aligned = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an --onnx file that `rsft export` made before.")
    ] = False,
    json: Json = False,
) -> None:
    """Write a model as ONNX with its preprocessing inside, compared with onnxruntime, or as a bundle."""
    from rsft.face.export import export as run_export

    result = run_export(run, onnx=onnx, bundle=bundle, pictures=pictures, aligned=aligned, overwrite=overwrite)
    if json:
        show.print_json(result)
        return
    if onnx is not None:
        print(f"{onnx}: off by {result['error']:.1g} from the network on {result['chips']} chips, by onnxruntime")
    if bundle is not None:
        print(f"{bundle}: weights and bundle, fingerprint {result['fingerprint']}")


@gallery.command()
def migrate(
    old: Annotated[Path, typer.Argument(help="Output of `rsft embed` with the model used so far.")],
    pool: Annotated[Path, typer.Option(help="The pictures it was made of.")],
    model: Annotated[str, typer.Option(help="The model used from now on, such as the folder of a run.")],
    out: Annotated[Path, typer.Option(help="Folder of the new gallery to make.")],
    probes: Annotated[Path | None, typer.Option(help="Pictures to look for in the gallery before and after.")] = None,
    old_model: Annotated[str | None, typer.Option(help="With --probes: the model used so far.")] = None,
    fmr: Annotated[str, typer.Option(help="Which threshold of the models accepts a match.")] = "0.001",
    aligned: Aligned = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Embed a gallery with another model, and say whose match that changes."""
    from rsft.face.migrate import CHANGES_FILE
    from rsft.face.migrate import migrate as run_migrate

    with show.progress(quiet=json) as listener:
        found = run_migrate(
            old,
            pool=pool,
            model=model,
            out=out,
            probes=probes,
            old_model=old_model,
            fmr=fmr,
            aligned=aligned,
            overwrite=overwrite,
            listener=listener,
        )
    if json:
        show.print_json(found)
        return
    print(f"{found['enrolled']} pictures enrolled anew, {found['left_out']} left out: {out}")
    print(
        f"Of {found['probes']} probes, {found['changed']} have another nearest picture, {found['identity_changed']} of "
        f"another identity, {found['decision_changed']} are decided otherwise at FMR {fmr}: {out / CHANGES_FILE}"
    )
    if None in found["thresholds"]:
        print(f"  A model has no threshold for FMR {fmr}: set thresholds on your own data.")
