"""`rsft models` and `rsft models check`."""

from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from rsft.cli import show
from rsft.cli.command import HELP_OPTIONS, add
from rsft.cli.options import Json

models = typer.Typer(
    help="List the models that have a name, or check a model.",
    invoke_without_command=True,
    context_settings=HELP_OPTIONS,
)


@models.callback()
def list_all(context: typer.Context, json: Json = False) -> None:
    """List the models that --model accepts by name, and the networks whose checkpoints it accepts."""
    if context.invoked_subcommand is not None:
        return
    from rsft.face.models import list_models

    found = list_models()
    if json:
        show.print_json(found)
        return
    table = Table(box=box.SIMPLE)
    for heading in ("name", "licence", "chip", "embedding", "present"):
        table.add_column(heading)
    for model in found["models"]:
        present = "yes" if model["present"] else model["install"]
        table.add_row(model["name"], model["licence"], f"{model['size']} px", str(model["embedding_size"]), present)
    console = Console(highlight=False)
    console.print(table)
    names = ", ".join(family["name"] for family in found["architectures"])
    console.print(
        f"Also: timm:NAME, hub:ORG/NAME or hub:ORG/NAME/FILE, an .onnx file, a run folder, or a checkpoint (.pt, "
        f".safetensors, ...) of {names}."
    )


def check(
    model: Annotated[str, typer.Argument(help="Model, as for --model of `rsft fit`.")],
    json: Json = False,
) -> None:
    """Compare a model's outputs with those recorded with it, and name a wrong crop, colour order or normalisation."""
    from rsft.face.models import RUNTIME, check_model

    found = check_model(model)
    if json:
        show.print_json(found)
        return
    print(
        f"{model}: OK, as {found['reference']} (apart from rounding, {found['error']:.1g}); licence {found['licence']}"
    )
    if found["reference"] == RUNTIME:
        print(
            "  The model has no recorded outputs, so its crop and colour order are not checked, and its normalisation"
        )
        print("  only for being one of pixels in 0..255.")


add(models, check, name="models check")
