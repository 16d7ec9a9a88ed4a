"""`rsft scored`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rsft.cli import show
from rsft.cli.options import Json
from rsft.cli.progress import progress
from rsft.errors import InputError

if TYPE_CHECKING:
    from rsft.scale import Summary


def scored(
    table: Annotated[
        Path, typer.Argument(help="Folder of Parquet files that a scorer wrote on Ray or Spark, or a file.")
    ],
    epoch: Annotated[
        int | None, typer.Option(min=0, help="Epoch whose accepted items are listed; needs --out.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="With --epoch: new .csv or .parquet file for the list.")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="With --epoch: column of the table to list beside the id, such as path. Repeatable."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of the plan, to compare the decisions with. Default: 0, if they prove it."),
    ] = None,
    items: Annotated[
        int | None,
        typer.Option(min=1, help="Number of items of the pool, to see whether the last ones are missing."),
    ] = None,
    json: Json = False,
) -> None:
    """Tell what a scored table says, or write the items that an epoch accepts to a list for any trainer."""
    if (epoch is None) != (out is None) or (column and out is None):
        raise InputError("--epoch and --out go together, and --column goes with them: name the epoch and the list.")
    from rsft.scale import read_scored, summarise, write_accepted
    from rsft.scale.accepted_list import check_list

    if out is not None:
        check_list(out, [table])
    with progress(quiet=json) as listener:
        found = read_scored(table, items=items, listener=listener)
        if epoch is None or out is None:
            summary = summarise(found, seed=seed or 0, listener=listener)
        else:
            count = write_accepted(found, epoch, out, columns=column or (), seed=seed, listener=listener)
    if out is None:
        show.print_json(summary.to_dict()) if json else _print(summary, seed or 0)
    elif json:
        show.print_json({"epoch": epoch, "accepted": count, "items": found.items, "out": str(out)})
    else:
        print(f"{out}: {count:,} of {found.items:,} items, those that epoch {epoch} accepts")


def _print(found: "Summary", seed: int) -> None:
    """Print a summary."""
    items, last = found.items, found.epochs - 1
    ids = "names" if found.named else f"0 to {items - 1}"
    empty = f", and {found.empty_partitions} without rows" if found.empty_partitions else ""
    rows = {
        "items": f"{items:,}; ids: {ids}",
        "partitions": f"{found.partitions:,}{empty}",
        "plan": found.plan,
        "seed": _seed_in_words(found, seed),
        "log M": "no item has a probability between 0 and 1, which would tell it",
        "target clipped": "not known without M",
        "without a ratio": f"{found.without_ratio:,} ({found.without_ratio / items:.2%})",
        **{f"  {name}": f"{count:,}" for name, count in sorted(found.outcomes.items())},
        "expected in an epoch": f"{found.expected:,.1f} ({found.expected / items:.2%})",
        "certain in every epoch": f"{found.certain:,}",
        f"in any of epochs 0 to {last}": f"{found.ever_accepted:,} ({found.ever_accepted / items:.2%})",
    }
    if found.log_m is not None:
        rows["log M"] = f"{found.log_m:.4f}, M = {math.exp(found.log_m):.4g}"
    if found.clipped_mass is not None:
        rows["target clipped"] = f"{found.clipped_mass:.2%}"
    table = Table(show_header=False)
    for name, value in rows.items():
        table.add_row(escape(name), escape(value))
    console = Console(highlight=False)
    console.print(table)
    told = ", ".join(f"{count:,}" for count in found.accepted)
    console.print(f"Accepted in epochs 0 to {last}: {told}")


def _seed_in_words(found: "Summary", seed: int) -> str:
    if found.seed is not None:
        return f"{seed}, as all decisions are those of this seed"
    if found.seed_agrees:
        return f"perhaps {seed}: too few decisions to tell"
    return f"not {seed}: compare with another by --seed"
