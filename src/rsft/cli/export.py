"""`rsft export` and `rsft gallery migrate`."""

from pathlib import Path
from typing import Annotated

import typer

from rsft.cli import show
from rsft.cli.command import HELP_OPTIONS, add
from rsft.cli.options import Aligned, Json, Overwrite
from rsft.cli.progress import progress

gallery = typer.Typer(
    help="Work with galleries of enrolled faces.", no_args_is_help=True, context_settings=HELP_OPTIONS
)


def export(
    run: Annotated[str, typer.Argument(help="Run folder, or a model as for --model of `rsft fit`.")],
    onnx: Annotated[Path | None, typer.Option(help="ONNX file to write, with NAME.json beside it.")] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Folder to create, with safetensors weights and bundle.json.")
    ] = None,
    hub_folder: Annotated[
        Path | None, typer.Option(help="Folder to create, as the Hugging Face hub takes it: `hf upload ORG/NAME DIR`.")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="For --hub-folder: ORG/NAME on the hub of the pretrained model.")
    ] = None,
    pictures: Annotated[Path | None, typer.Option(help="Faces to compare the ONNX graph and the network on.")] = None,
    aligned: Aligned = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an --onnx file that `rsft export` wrote.")
    ] = False,
    json: Json = False,
) -> None:
    """Write a model as ONNX, checked with onnxruntime, as a safetensors bundle, or for the Hugging Face hub."""
    from rsft.face.export import export as run_export

    result = run_export(
        run,
        onnx=onnx,
        bundle=bundle,
        hub_folder=hub_folder,
        base_model=base_model,
        pictures=pictures,
        aligned=aligned,
        overwrite=overwrite,
    )
    if json:
        show.print_json(result)
        return
    if onnx is not None:
        rounding = f"apart from rounding, {result['error']:.1g}"
        print(f"{onnx}: OK, as the network on {result['chips']} chips in onnxruntime ({rounding})")
    if bundle is not None:
        print(f"{bundle}: weights and bundle, fingerprint {result['fingerprint']}")
    if hub_folder is not None:
        print(f"{hub_folder}: for the hub; complete the README.md, then `hf upload ORG/NAME {hub_folder}`")


def migrate(
    old: Annotated[Path, typer.Argument(help="Output of `rsft embed` by the old model: the gallery.")],
    pool: Annotated[Path, typer.Option(help="The pictures of the gallery.")],
    model: Annotated[str, typer.Option(help="The new model, such as a run folder.")],
    out: Annotated[Path, typer.Option(help="Folder to create for the new gallery.")],
    probes: Annotated[Path | None, typer.Option(help="Pictures to search for in the old and the new gallery.")] = None,
    old_model: Annotated[
        str | None, typer.Option(help="The old model. Needed for --probes and for its decisions.")
    ] = None,
    fmr: Annotated[str, typer.Option(help="FMR whose threshold in each model accepts a match.")] = "0.001",
    aligned: Aligned = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Embed a gallery with another model, and report the matches that change."""
    from rsft.face.migrate import CHANGES_FILE
    from rsft.face.migrate import migrate as run_migrate

    with progress(quiet=json) as listener:
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
    print(f"{found['enrolled']} pictures enrolled again, {found['left_out']} left out: {out}")
    print(
        f"Of {found['probes']} probes, {found['changed']} have another nearest picture and {found['identity_changed']} "
        f"another identity: {out / CHANGES_FILE}"
    )
    if found["decision_changed"] is not None:
        print(f"  At FMR {fmr}, {found['decision_changed']} are decided otherwise.")
        return
    old, new = found["thresholds"]
    lacking = [f"the old model ({old_model or 'give it as --old-model'})"] * (old is None)
    lacking += [f"the new model ({model})"] * (new is None)
    print(f"  No decision was compared: there is no threshold at FMR {fmr} of {' and of '.join(lacking)}.")
    print(f"  Set one on your own data: rsft threshold --model MODEL --eval EVAL --fmr {fmr} --write")


add(gallery, migrate, name="gallery migrate", computes=True)
