"""The output of the commands on several networks: networks side by side, and the advice of a plan."""

from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rsft.types import Interval

MAX_NAME = 12  # characters of a network's name in a line
TARS = {"like the target": "alike", "usual": "usual"}  # heading -> key


def print_models(found: dict[str, Any]) -> None:
    """Print the networks of a plan side by side, or why none was compared."""
    console = Console(highlight=False)
    if found["compared"]:
        of = found["pictures"]
        table = Table(
            title=f"Networks on {of['alike']} pictures like the target and {of['usual']} usual ones of "
            f"{found['people']} people\nTAR at FMR {found['fmr']:g}; below it the difference to "
            f"{escape(found['compared'][0]['name'])}",
            title_justify="left",
            box=box.SIMPLE,
            pad_edge=False,
            collapse_padding=True,
        )
        longest = max(len(model["name"]) for model in found["compared"])
        table.add_column("network", overflow="fold", min_width=min(longest, MAX_NAME))
        for heading in (*TARS, "ms"):
            table.add_column(heading, justify="right" if heading == "ms" else "left", no_wrap=True)
        table.add_column("licence")
        for model in found["compared"]:
            alike, usual = (_with_gain(model[kind], model[f"{kind}_gain"]) for kind in TARS.values())
            table.add_row(escape(model["name"]), alike, usual, f"{model['milliseconds']:.0f}", escape(model["licence"]))
        console.print(table)
        console.print(found["caveat"])
    else:
        console.print(f"Other networks: {escape(found['reason'])}.")
    for name, reason in found["left_out"].items():
        console.print(f"{escape(name)} was not compared: {escape(reason)}.")


def print_advice(advice: dict[str, Any]) -> None:
    """Print the advice of a plan."""
    console = Console(highlight=False)
    console.print(f"[bold]Advice: {advice['action']}[/bold]. {escape(advice['reason'])}.")
    console.print(f"Next: {escape(advice['next'])}.")


def print_evaluated(found: dict[str, Any]) -> None:
    """Print the result of `evaluate_models`: the rates of each network on each set, and their paired differences."""
    console = Console(highlight=False)
    for key, of in found.items():
        models, first = of["models"], next(iter(of["models"]))
        fmrs = [fmr for fmr, tar in models[first]["tar_at_fmr"].items() if tar["value"] is not None]
        pairs = f"{models[first]['pairs_genuine']:,} genuine and {models[first]['pairs_impostor']:,} impostor pairs"
        console.print(f"[bold]{key}[/bold]: the same {of['pictures']:,} pictures for all, {pairs}")
        for name, left_out in of["left_out"].items():
            if left_out:
                console.print(f"{escape(name)} could not use {left_out} pictures.")
        if not fmrs:
            console.print("These are too few for any FMR: an FMR needs 3 / FMR impostor pairs.")
        for fmr in fmrs:
            table = Table(title=f"TAR at FMR {fmr}", title_justify="left", box=box.SIMPLE, pad_edge=False)
            for heading, whole in (("network", False), ("TAR", True), (f"minus {first}", True)):
                table.add_column(escape(heading), overflow="fold", no_wrap=whole)
            for name, rates in models.items():
                less = "" if name == first else Interval(**of["differences"][name][first][fmr]).signed()
                table.add_row(escape(name), str(Interval(**rates["tar_at_fmr"][fmr])), less)
            console.print(table)
        eers = ", ".join(f"{escape(name)} {rates['eer']:.4f}" for name, rates in models.items())
        console.print(f"EER: {eers}. Intervals are 95 %, of one bootstrap over people for all networks.")


def _with_gain(value: dict[str, Any], gain: dict[str, Any] | None) -> str:
    """Return a TAR as text, and below it its difference to the first network."""
    told = str(Interval(**value))
    return told if gain is None else f"{told}\n{Interval(**gain).signed()}"


def print_compared(result: dict[str, Any]) -> None:
    """Print every network untouched and tuned, and the difference of each from the best untouched."""
    console = Console(highlight=False)
    best = result["best_untouched"]
    for metric in result["metrics"]:
        table = Table(title=metric, title_justify="left", title_style="bold", box=box.SIMPLE)
        for heading in ("network", "value", f"minus {best} untouched"):
            table.add_column(escape(heading), no_wrap=heading == "value")
        for system, values in result["values"].items():
            less = "" if system == best else Interval(**result["differences"][system][best][metric]).signed()
            table.add_row(escape(system), str(Interval(**values[metric])), escape(less))
        console.print(table)
    console.print(f"[bold]{escape(result['verdict'])}[/bold]")
