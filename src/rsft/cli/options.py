"""Options that several commands share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

FORMS = "a folder, .tar, .rec, .lance, shard-{000..012}.tar, or a manifest (.csv, .parquet)"
POOL_HELP = f"Labelled pictures: {FORMS}; or a URL of one, as s3://bucket/list.csv."
TARGET_HELP = f"Unlabelled pictures of the deployment: {FORMS}."
MODEL_HELP = (
    "Name from `rsft models`, run folder, .onnx file, checkpoint, timm:NAME, hub:ORG/NAME or hub:ORG/NAME/FILE."
)
EVAL_FORMS = "pairs (a table a,b,same[,fold], or LFW's pairs.txt), a .bin set, or labelled pictures as for --pool"
EVAL_HELP = f"Evaluation set: {EVAL_FORMS}."

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
Model = Annotated[str, typer.Option(help=MODEL_HELP)]
Aligned = Annotated[bool, typer.Option(help="The pictures are aligned chips; no face is searched for.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed for all random choices.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an --out, or an interrupted attempt at it, if rsft wrote it.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")]
EvalRoot = Annotated[
    Path | None,
    typer.Option(help="Folder or .tar that the paths in --eval are relative to. Default: that of the table."),
]
Landmarks = Annotated[
    Path | None,
    typer.Option(help="CSV path,x1,y1,...,x5,y5. No face is searched for in the sets that it names."),
]
Groups = Annotated[
    str | None, typer.Option(help="Attribute. Also report FMR and FNMR of its groups, at one threshold for all.")
]
Attributes = Annotated[Path | None, typer.Option(help="CSV for --groups: path,<attributes...>. Default: the manifest.")]
Config = Annotated[Path | None, typer.Option(help="TOML file with a table `recipe`, such as the config.toml of a run.")]
Pool = Annotated[Path, typer.Option(help=POOL_HELP)]
Target = Annotated[Path, typer.Option(help=TARGET_HELP)]
Evaluation = Annotated[Path, typer.Option("--eval", help=EVAL_HELP + " It should be like the target.")]
Retain = Annotated[Path | None, typer.Option(help="Second evaluation set, which must not get worse.")]
RetainRoot = Annotated[Path | None, typer.Option(help="Like --eval-root, for --retain.")]
AllowOverlap = Annotated[bool, typer.Option("--allow-overlap", help="Allow evaluated identities in the pool.")]
DropOverlap = Annotated[bool, typer.Option("--drop-overlap", help="Remove evaluated identities from the pool.")]


def read_recipe(config: Path | None, given: Mapping[str, Any] | None = None):  # type: ignore[no-untyped-def]
    """Read the recipe from a file; options of the command line in `given` replace its settings."""
    from rsft.face.adaptation.recipe import make_recipe
    from rsft.face.runs import recipe_file

    recipe = recipe_file.read_recipe(config) if config is not None else make_recipe({})
    changed = {name: value for name, value in (given or {}).items() if value is not None}
    return make_recipe(recipe.model_dump() | changed, as_options=True) if changed else recipe
