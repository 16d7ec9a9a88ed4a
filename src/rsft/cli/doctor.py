"""The command `rsft doctor`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rsft.cli import show
from rsft.cli.options import EVAL_HELP, POOL_HELP, TARGET_HELP, Json
from rsft.cli.progress import progress


def doctor(
    pool: Annotated[Path | None, typer.Argument(help=POOL_HELP)] = None,
    target: Annotated[Path | None, typer.Argument(help=TARGET_HELP)] = None,
    evaluation: Annotated[Path | None, typer.Argument(metavar="EVAL", help=EVAL_HELP)] = None,
    json: Json = False,
) -> None:
    """Show what is installed and how to get what is missing; with data sets, also what they hold, share and cost.

    Nothing secret is shown: no path and no name of a picture or person. No network runs.
    """
    if pool is not None:
        from rsft.face.survey import survey

        with progress(quiet=json) as listener:
            surveyed = survey(pool, target, evaluation, listener=listener)
    from rsft.cli.installation import DATA_VARIABLE, examine
    from rsft.face.models import list_models

    found = examine()
    found["models"] = [
        {name: model[name] for name in ("name", "present", "install")} for model in list_models()["models"]
    ]
    if json:
        show.print_json(found | ({} if pool is None else {"data_sets": surveyed}))
        return
    console = Console(highlight=False)
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items() if version)
    devices = ", ".join(f"{device['name']} ({device['memory_gib']} GiB)" for device in found["devices"])
    data = {None: "not set", True: "a folder", False: "not a folder: correct it"}[found["data"]]
    threads = f"{found['threads']} of PyTorch{', as you chose' if found['threads_chosen'] else ''}"
    for name, told in {
        "rsft": f"{found['rsft']}, Python {found['python']}",
        "packages": packages,
        "GPU": devices or "none that PyTorch can use; the CPU is used",
        "cores": f"{found['cores']}, threads: {threads}",
        "disk": f"{found['free_gib']:,} GiB free here",
        DATA_VARIABLE: data,
    }.items():
        console.print(f"[bold]{name}[/bold]: {escape(told)}")
    table = Table(box=box.SIMPLE, pad_edge=False)
    for heading in ("model or extra", "", "to get it, in your checkout"):
        table.add_column(heading)
    for model in found["models"]:
        table.add_row(escape(model["name"]), *_state(model["present"], model["install"]))
    for name, extra in found["extras"].items():
        table.add_row(f"extra {escape(name)}", *_state(not extra["missing"], extra["install"], extra["missing"]))
    console.print(table)
    if pool is not None:
        _print_survey(surveyed, console)


def _print_survey(found: dict[str, Any], console: Console) -> None:
    """Print the result of `survey`."""
    for name, of in found["sets"].items():
        people = "" if of["identities"] is None else f" of {of['identities']:,} identities"
        console.print(f"[bold]{name}[/bold]: {of['form']}, {of['pictures']:,} pictures{people}")
        passed = ", ".join(f"{number} {reason}" for reason, number in of["passed_over"].items())
        if passed:
            console.print(f"  passed over: {escape(passed)}")
        console.print(f"  read {of['sampled']}, {of['unreadable']} cannot be read; {of['read_ms']:.1f} ms a picture")
    if found["evaluation"]:
        of = found["evaluation"]
        fmrs = ", ".join(of["fmrs"]) or "none: an FMR needs 3 / FMR impostor comparisons"
        console.print(f"  {of['genuine']:,} genuine, {of['impostor']:,} impostor comparisons; FMRs supported: {fmrs}")
    for names, of in found["leaks"].items():
        people = "" if of["identities"] is None else f"{of['identities']} identities, "
        same = f"{of['exact']} equal and {of['near']} nearly equal pictures of those read"
        console.print(f"[bold]shared by {names}[/bold]: {people}{same}")
    if found["estimate"]:
        of = found["estimate"]
        console.print(
            f"[bold]about[/bold]: plan {_minutes(of['plan_seconds'])}; fit {_minutes(of['fit_seconds'])} and "
            f"{of['fit_bytes'] / 2**20:,.0f} MiB of disk while it runs ({of['source']})."
        )
    console.print(f"[bold]Next[/bold]: {escape(found['next'])}.")


def _minutes(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _state(present: bool, install: str, missing: list[str] | None = None) -> tuple[str, str]:
    """Return whether something is there, and how to get it if not."""
    if present:
        return "installed", ""
    return "missing" + (f": {escape(', '.join(missing))}" if missing else ""), escape(install)
