"""`--quiet` and `--verbose`, which every command takes: how much is told on the error stream."""

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Annotated, Any

import typer

LOGGER = logging.getLogger("rsft")
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress and no messages but warnings.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show more messages, and where an error came from.")]


def tells(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options `--quiet` and `--verbose`, which set the level of the library's logger."""

    @functools.wraps(command)
    def run(*arguments: Any, quiet: bool, verbose: bool, **options: Any) -> None:
        if quiet or verbose:
            LOGGER.setLevel(logging.WARNING if quiet else logging.DEBUG)
        command(*arguments, **options)

    signature = inspect.signature(command)
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in (("quiet", Quiet), ("verbose", Verbose))
    ]
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *more])  # type: ignore[attr-defined]
    run.__annotations__ = command.__annotations__ | {"quiet": Quiet, "verbose": Verbose}
    return run


def is_quiet() -> bool:
    """Return whether only warnings are to be shown."""
    return LOGGER.level >= logging.WARNING


def is_verbose() -> bool:
    """Return whether more than usual is to be shown."""
    return logging.NOTSET < LOGGER.level <= logging.DEBUG
