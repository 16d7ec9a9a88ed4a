"""`rsft monitor`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rsft.cli import show
from rsft.cli.options import FORMS, Aligned, Json, Landmarks, Seed
from rsft.cli.progress import progress

if TYPE_CHECKING:
    from rsft.face.monitor import Monitored

DRIFTED, TOO_FEW = 3, 4  # exit codes


def monitor(
    run: Annotated[Path, typer.Argument(help="Folder of a finished `rsft fit`. It is only read.")],
    target: Annotated[Path, typer.Option(help=f"New pictures of the deployment: {FORMS}.")],
    reference: Annotated[
        Path | None,
        typer.Option(help="The pictures the run was tuned for. Default: what the run keeps of them."),
    ] = None,
    history: Annotated[
        Path | None, typer.Option(help="Folder with a line for each call. Default: RUN.monitor, beside the run.")
    ] = None,
    aligned: Aligned = False,
    landmarks: Landmarks = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Tell whether new pictures are still like the target of a run: exit code 0 if so, 3 if not, 4 if too few."""
    from rsft.data.apart import resolved
    from rsft.face.adaptation.drift import Drift
    from rsft.face.monitor import HISTORY_END
    from rsft.face.monitor import monitor as run_monitor

    beside = resolved(run)
    with progress(quiet=json) as listener:
        result = run_monitor(
            run,
            target=target,
            reference=reference,
            history=history or beside.with_name(beside.name + HISTORY_END),
            aligned=aligned,
            landmarks=landmarks,
            seed=seed,
            listener=listener,
        )
    show.print_json(result.to_dict() | {"notes": result.notes}) if json else _print(result)
    codes = {Drift.DRIFTED: DRIFTED, Drift.TOO_FEW: TOO_FEW}
    if result.found.outcome in codes:
        raise typer.Exit(codes[result.found.outcome])


def _print(result: "Monitored") -> None:
    """Print the outcome, its figures and the advice."""
    console, found = Console(highlight=False), result.found
    console.print(f"[bold]{found.outcome.capitalize()}[/bold]: {escape(found.reason)}.")
    console.print(f"Advice: {escape(found.advice)}.")
    for note in result.notes:
        console.print(f"Note: {escape(note)}.")
    against = "its pictures" if result.against == "reference" else "what the run keeps of it"
    rows = {
        "target": f"{found.target:.0f} different pictures; compared with {against}",
        "new pictures": f"{found.pictures}, {found.different:.0f} different; {result.quarantined} left out",
        **{f"AUC on {kind}": str(auc) for kind, auc in found.auc.items()},
    }
    if found.unsupported is not None:
        rows["unlike any of the target"] = f"{found.unsupported} ({found.unsupported_then:.3f} to expect)"
    table = Table(show_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    if not found.covariates:
        return
    table = Table(title="What has changed", title_justify="left", box=box.SIMPLE)
    for heading in ("covariate", "then", "now", "differs by"):
        table.add_column(heading, justify="left" if heading == "covariate" else "right")
    for change in found.covariates:
        gap = change.difference
        told = f"{gap.value or 0:+.2f} ± {(gap.high or 0) - (gap.value or 0):.2f}"
        table.add_row(escape(change.name), f"{change.then:.2f}", f"{change.now:.2f}", told)
    console.print(table)
