"""The command `rsft doctor`."""

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rsft.cli import show
from rsft.cli.options import Json


def doctor(json: Json = False) -> None:
    """Show what is installed, what the machine has, and how to get what is missing; nothing secret, no path."""
    from rsft.cli.installation import DATA_VARIABLE, examine
    from rsft.face.models import list_models

    found = examine()
    found["models"] = [
        {name: model[name] for name in ("name", "present", "install")} for model in list_models()["models"]
    ]
    if json:
        show.print_json(found)
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


def _state(present: bool, install: str, missing: list[str] | None = None) -> tuple[str, str]:
    """Return whether something is there, and how to get it if not."""
    if present:
        return "installed", ""
    return "missing" + (f": {escape(', '.join(missing))}" if missing else ""), escape(install)
