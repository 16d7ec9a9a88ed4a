"""What several commands take."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

FORMS = "a folder, .tar, .rec, shard-{000..012}.tar, or a manifest (.csv, .parquet)"
POOL_HELP = f"Labelled pictures: {FORMS}."
TARGET_HELP = f"Unlabelled pictures of the deployment: {FORMS}."
MODEL_HELP = "A name of `rsft models`, a run's folder, an .onnx file, a checkpoint, timm:NAME or hub:ORG/NAME/FILE."
EVAL_HELP = "A pairs CSV (a,b,same[,fold]), a .bin set, or labelled pictures as for --pool."

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
Model = Annotated[str, typer.Option(help=MODEL_HELP)]
Aligned = Annotated[bool, typer.Option(help="The pictures are aligned chips already: no face is looked for.")]
Seed = Annotated[int, typer.Option(min=0, help="Of everything random.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an --out, or an interrupted attempt at it, that rsft wrote.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Reuse what an interrupted run has embedded.")]
EvalRoot = Annotated[Path | None, typer.Option(help="Folder or .tar that the paths in --eval are relative to.")]
Landmarks = Annotated[
    Path | None,
    typer.Option(help="CSV path,x1,...,y5: no face is looked for in sets it names."),
]
Groups = Annotated[
    str | None, typer.Option(help="An attribute: also FMR and FNMR of its groups at one threshold for all.")
]
Attributes = Annotated[
    Path | None, typer.Option(help="For --groups: a CSV, path,<attributes...>; the manifest by default.")
]
Config = Annotated[Path | None, typer.Option(help="TOML file with a [recipe] table, such as a run's config.toml.")]
Pool = Annotated[Path, typer.Option(help=POOL_HELP)]
Target = Annotated[Path, typer.Option(help=TARGET_HELP)]
Evaluation = Annotated[Path, typer.Option("--eval", help=EVAL_HELP + " Like the target.")]
Retain = Annotated[Path | None, typer.Option(help="Like --eval, of what must not get worse.")]
RetainRoot = Annotated[Path | None, typer.Option(help="Like --eval-root, for --retain.")]
AllowOverlap = Annotated[bool, typer.Option("--allow-overlap", help="Evaluate identities of the pool.")]
DropOverlap = Annotated[bool, typer.Option("--drop-overlap", help="Leave evaluated identities out of the pool.")]


def read_recipe(config: Path | None, given: Mapping[str, Any] | None = None):  # type: ignore[no-untyped-def]
    """Of the file, with what was given on the command line in place of what it says."""
    from rsft.face.adaptation.recipe import make_recipe
    from rsft.face.runs import recipe_file

    recipe = recipe_file.read_recipe(config) if config is not None else make_recipe({})
    changed = {name: value for name, value in (given or {}).items() if value is not None}
    return make_recipe(recipe.model_dump() | changed) if changed else recipe
