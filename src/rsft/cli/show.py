"""What the commands print."""

import json
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
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


def log_to_stderr() -> None:
    """What the library has to say, such as a model's licence, goes to the error stream as it is."""
    logger = logging.getLogger("rsft")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.StreamHandler())


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


def print_ranking(ranking: list[dict[str, Any]]) -> None:
    """Several plans side by side, the best first; nothing for a single one."""
    if len(ranking) < 2:
        return
    table = Table(title="Plans, the best first", title_justify="left", box=box.SIMPLE)
    for heading in ("features", "method", "outcome", "accepted told from target", "effective size"):
        table.add_column(heading)
    for plan in ranking:
        after = "-" if plan["after"] is None else f"AUC {plan['after']:.3f} (pool {plan['before']:.3f})"
        size = f"{plan['envelope']['effective_size']:.0f}"
        table.add_row(plan["features"], plan["method"], plan["verdict"]["outcome"], after, size)
    Console(highlight=False).print(table)


def print_plan(plan: dict[str, Any]) -> None:
    """A plan in a few lines."""
    console = Console(highlight=False)
    envelope, figures, arrival = plan["envelope"], plan["diagnostics"], plan["arrival"]
    console.print(f"[bold]{plan['verdict']['outcome'].capitalize()}[/bold]: {plan['verdict']['reason']}.")
    rows = {
        "envelope": f"{envelope['rule']}: M = {plan['m']:.2f}",
        "acceptance rate": f"{envelope['acceptance_rate']:.1%}",
        "accepted an epoch": f"{figures['expected_accepted']:.0f} of {figures['pool_items']:.0f} items",
        "clipped (total variation)": f"{envelope['clipped_mass']:.1%}",
        "effective size": f"{envelope['effective_size']:.0f} items",
        "identities accepted": f"{figures['identities_accepted']:.0f} of {figures['identities']:.0f} "
        f"(uniform subset: {figures['identities_uniform']:.0f})",
    }
    if arrival:
        rows["target outside the pool"] = f"{figures['unsupported_fraction']:.1%} (1 % is usual)" + (
            f": {', '.join(arrival['unsupported'])}" if arrival["unsupported"] else ""
        )
        rows["mean ratio over the pool"] = f"{figures['mean_ratio']:.3f} +- {figures['mean_ratio_error']:.3f}"
        for name, key in (("pool told from target (AUC)", "before"), ("accepted told from target", "after")):
            if arrival[key]:
                rows[name] = str(Interval(**arrival[key]["auc"]))
    table = Table(show_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    if arrival and arrival["covariates"]:
        console.print(_covariate_table(arrival["covariates"]))
    console.print(_price_table(plan["prices"]))


def _covariate_table(covariates: list[dict[str, Any]]) -> Table:
    """Means, and how far they are from the target's in standard deviations of the pool."""
    table = Table(title="What shifts", title_justify="left", box=box.SIMPLE)
    for heading in ("covariate", "pool", "accepted", "target", "pool is off by", "accepted"):
        table.add_column(heading, justify="left" if heading == "covariate" else "right")
    for row in covariates:
        means = [f"{row[key]:.2f}" for key in ("pool", "accepted", "target")]
        gaps = [f"{row[key]['value']:+.2f} ± {row[key]['high'] - row[key]['value']:.2f}" for key in ("before", "after")]
        table.add_row(row["name"], *means, *gaps)
    return table


def _price_table(prices: list[dict[str, Any]]) -> Table:
    table = Table(title="Other envelopes", title_justify="left", box=box.SIMPLE)
    for heading in ("rule", "M", "accepted", "clipped", "effective size"):
        table.add_column(heading, no_wrap=True)
    for price in prices:
        values = f"{price['acceptance_rate']:.1%}", f"{price['clipped_mass']:.1%}", f"{price['effective_size']:.0f}"
        table.add_row(price["rule"], f"{math.exp(price['log_m']):.2f}", *values)
    return table


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


def print_check(found: dict[str, Any]) -> None:
    """How many of each finding, and the first of them."""
    against = found["against"] or {}
    rows = {
        "pictures that cannot be read": found["unreadable"],
        "identities with one picture or none": found["single"],
        "identities that differ in case only": found["case_collisions"],
        "groups of pictures with the same bytes": found["exact_duplicates"],
        "pairs that look nearly the same": found["near_duplicates"],
        "identities that are also evaluated": against.get("identities"),
        "pictures that are also evaluated": against.get("exact_duplicates"),
        "pairs that look nearly the same as an evaluated one": against.get("near_duplicates"),
        "doubtful labels": found["doubtful_labels"],
    }
    table = Table(title=f"{found['pictures']} pictures of {found['identities']} identities", title_justify="left")
    for heading in ("finding", "how many", "such as"):
        table.add_column(heading, justify="right" if heading == "how many" else "left")
    for name, findings in rows.items():
        if findings is not None:
            first = "" if not findings else findings[0]
            example = first if isinstance(first, str) else ", ".join(str(part) for part in first[:3])
            table.add_row(name, str(len(findings)), escape(example))
    Console(highlight=False).print(table)
    print("--json lists all of them.")
