"""What the commands print."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from rsft.types import Interval

SYSTEMS = ("pretrained", "uniform", "tuned")
SETS = {"target": "target", "retain": "retention"}


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A listener for stages that draws one bar each, on the error stream; nothing where `quiet`."""
    console = Console(stderr=True, quiet=quiet)
    columns = (TextColumn("{task.description:28s}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def listen(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield listen


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=1))


def print_metrics(metrics: dict[str, Any], out: str) -> None:
    """The table of a run, its verdict and where the report is."""
    console = Console(highlight=False)
    fmrs = list(metrics["tuned"]["target"]["tar_at_fmr"])
    fmrs = [fmr for fmr in fmrs if metrics["pretrained"]["target"]["tar_at_fmr"][fmr]["value"] is not None] or fmrs[:1]
    table = Table(title=metrics["title"], title_justify="left", title_style="bold", box=box.SIMPLE)
    for heading in ("set", "system", *(f"TAR at FMR {fmr}" for fmr in fmrs), "EER"):
        table.add_column(heading, no_wrap=True)
    for key, name in SETS.items():
        for system in SYSTEMS:
            if key in metrics.get(system, {}):
                values = metrics[system][key]
                tars = [str(Interval(**values["tar_at_fmr"][fmr])) for fmr in fmrs]
                table.add_row(name if system == SYSTEMS[0] else "", system, *tars, f"{values['eer']:.3f}")
    console.print(table)
    console.print(f"\n[bold]{metrics['verdict']['text']}[/bold]")
    console.print(
        f"{metrics['acceptance_rate']:.1%} of the pool accepted an epoch, {metrics['images_trained']} samples trained "
        f"on, {metrics['images_decoded']} pictures decoded, {len(metrics['quarantined'])} left out, "
        f"{sum(metrics['seconds'].values()):.0f} s."
    )
    console.print(f"Report: {out}/report.html")


def print_plan(plan: dict[str, Any]) -> None:
    """A plan in a few lines."""
    console = Console(highlight=False)
    envelope, figures = plan["envelope"], plan["diagnostics"]
    console.print(f"[bold]{plan['verdict']['outcome'].capitalize()}[/bold]: {plan['verdict']['reason']}.")
    table = Table(show_header=False)
    for name, value in {
        "envelope": f"{envelope['rule']}: M = {plan['m']:.2f}",
        "acceptance rate": f"{envelope['acceptance_rate']:.1%}",
        "clipped (total variation)": f"{envelope['clipped_mass']:.1%}",
        "effective size": f"{envelope['effective_size']:.0f} of {figures['pool_items']:.0f} items",
        "identities accepted": f"{figures['identities_accepted']:.0f} of {figures['identities']:.0f} "
        f"(uniform subset: {figures['identities_uniform']:.0f})",
        "target told from pool (AUC)": f"{figures['auc']:.3f} +- {figures['auc_error']:.3f}",
        "mean ratio over the pool": f"{figures['mean_ratio']:.3f} +- {figures['mean_ratio_error']:.3f}",
    }.items():
        table.add_row(name, value)
    console.print(table)


def print_verification(result: dict[str, Any]) -> None:
    """Accuracy, TAR at each FMR and EER."""
    table = Table(show_header=False)
    if result["accuracy"]:
        table.add_row("accuracy", str(Interval(**result["accuracy"])))
    for fmr, tar in result["tar_at_fmr"].items():
        table.add_row(f"TAR at FMR {fmr}", str(Interval(**tar)))
    table.add_row("EER", f"{result['eer']:.4f}")
    table.add_row("comparisons", f"{result['pairs_genuine']} genuine, {result['pairs_impostor']} impostor")
    Console(highlight=False).print(table)
