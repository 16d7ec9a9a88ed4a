"""`rsft data check`, `rsft data index` and `rsft convert`."""

from pathlib import Path
from typing import Annotated

import typer

from rsft.cli import show
from rsft.cli.command import HELP_OPTIONS, add
from rsft.cli.options import EVAL_FORMS, FORMS, POOL_HELP, Json
from rsft.cli.progress import progress

data = typer.Typer(help="Check data before use, and make indexes.", no_args_is_help=True, context_settings=HELP_OPTIONS)


def convert(
    source: Annotated[Path, typer.Argument(help=POOL_HELP)],
    destination: Annotated[Path, typer.Argument(help=f"Where to write: {FORMS}.")],
    json: Json = False,
) -> None:
    """Write a pool in another storage form; pictures keep their bytes."""
    from rsft.data.convert import convert as run_convert

    result = run_convert(source, destination)
    if json:
        show.print_json(result)
    else:
        print(f"{result['pictures']} pictures of {result['identities']} identities: {destination}")
        if result["lost"]:
            print(f"  this form cannot store the attributes {', '.join(result['lost'])}")


def check(
    pool: Annotated[Path, typer.Argument(help=POOL_HELP)],
    against: Annotated[Path | None, typer.Option(help=f"Evaluation set to compare with: {EVAL_FORMS}.")] = None,
    against_root: Annotated[
        Path | None, typer.Option(help="Folder or .tar that the paths in --against are relative to.")
    ] = None,
    embeddings: Annotated[
        Path | None, typer.Option(help="Output of `rsft embed` for the pool, needed to find doubtful labels.")
    ] = None,
    json: Json = False,
) -> None:
    """Find damaged pictures, duplicates, overlap with an evaluation set and doubtful labels in a pool."""
    from rsft.face.check import check_pool

    with progress(quiet=json) as listener:
        found = check_pool(pool, against=against, against_root=against_root, embeddings=embeddings, listener=listener)
    show.print_json(found) if json else show.print_check(found)


def index(
    pool: Annotated[Path, typer.Argument(help="A .tar or shard-{000..012}.tar, on a disk or in a bucket.")],
    json: Json = False,
) -> None:
    """Write an index beside each .tar, so that of one in a bucket only what is needed is fetched."""
    from rsft.data.archives import expand
    from rsft.data.shard_index import index_shards

    written = [str(path) for path in index_shards(expand(pool))]
    if json:
        show.print_json({"indexes": written})
    else:
        print(f"{len(written)} index{'es' * (len(written) > 1)}: {written[0]}{' and so on' * (len(written) > 1)}")


add(data, check, name="data check")
add(data, index, name="data index")
