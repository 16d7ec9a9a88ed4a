"""What all commands have in common: their help, how much they tell, their device, and what is checked at once."""

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from rsft.cli import launch
from rsft.cli.early import check_early
from rsft.cli.examples import epilog
from rsft.cli.panels import in_panels
from rsft.cli.verbosity import tell
from rsft.data.remote import to_path
from rsft.errors import InputError


class Device(StrEnum):
    """Where networks compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


def _print_help(context: typer.Context, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        typer.echo(context.get_help(), color=context.color)
        raise typer.Exit


Help = Annotated[
    bool, typer.Option("--help", "-h", is_eager=True, callback=_print_help, help="Show this message and exit.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress and no messages but warnings.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show more messages, and where an error came from.")]
DeviceOption = Annotated[
    Device, typer.Option("--device", case_sensitive=False, help="Where networks compute; auto takes a GPU if any.")
]
HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}  # of groups


def add(
    app: typer.Typer, command: Callable[..., None], *, name: str, computes: bool = False, divides: bool = False
) -> None:
    """Make a function a command of the program.

    Args:
        app: The program or a group of commands.
        command: Function whose parameters are the options.
        name: The words that call it after `rsft`, such as "models check".
        computes: Whether a network computes in it, so that the device can be chosen.
        divides: Whether several processes under a launcher share its work. If not, it refuses to run in several.
    """
    settings = {"help_option_names": list[str]()}  # the help is an option of its own, in a panel
    app.command(name.split()[-1], epilog=epilog(name), context_settings=settings)(
        _dressed(command, name, computes=computes, divides=divides)
    )


def _dressed(command: Callable[..., None], name: str, *, computes: bool, divides: bool) -> Callable[..., None]:
    """Give a command the options of all commands, and check what is cheap before it runs."""

    @functools.wraps(command)
    def run(*arguments: Any, quiet: bool, verbose: bool, help: bool, **options: Any) -> None:
        tell(quiet=quiet, verbose=verbose)
        if launch.processes() > 1 and not divides:
            raise InputError(f"`rsft {name}` runs in one process: start it without torchrun or accelerate launch.")
        options = {option: _placed(value) for option, value in options.items()}
        device = options.pop("device", None)
        check_early(options)
        if device is not None:
            _use(device)
        command(*arguments, **options)

    common: dict[str, tuple[Any, Any]] = {"quiet": (Quiet, False), "verbose": (Verbose, False), "help": (Help, False)}
    if computes:
        common = {"device": (DeviceOption, Device.AUTO), **common}
    signature = inspect.signature(command)
    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [one.replace(kind=keyword) for one in signature.parameters.values()]
    more = [
        inspect.Parameter(name, keyword, default=default, annotation=kind) for name, (kind, default) in common.items()
    ]
    parameters = in_panels([*own, *more])
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _placed(value: Any) -> Any:
    """Return the value of an option, with each URL as the remote path that it was before it became a `Path`."""
    if isinstance(value, list):
        return [_placed(one) for one in value]
    return to_path(value) if isinstance(value, Path) else value


def _use(device: Device) -> None:
    """Let this process compute on a device, with as many threads as it has cores."""
    from rsft.threads import use_real_cores
    from rsft.tuning.distributed import use_device

    use_real_cores()
    if device is not Device.AUTO:
        use_device(device.value)
