"""The `rsft` program. Exit codes: 0 on success, 1 if the job failed, 2 for bad input, 130 or 143 after a signal."""

import os
import sys
import traceback
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from rsft.cli import launch, show, usage
from rsft.cli.command import HELP_OPTIONS, add
from rsft.cli.compare import compare
from rsft.cli.data import convert, data
from rsft.cli.demo import demo
from rsft.cli.doctor import doctor
from rsft.cli.embed import embed
from rsft.cli.ending import EndedError, Ending, end_now, ending_on_signals, in_words
from rsft.cli.evaluate import evaluate
from rsft.cli.export import export, gallery
from rsft.cli.fit import fit
from rsft.cli.forget import forget
from rsft.cli.models import models
from rsft.cli.monitor import monitor
from rsft.cli.plan import plan
from rsft.cli.report import report
from rsft.cli.rerun import rerun
from rsft.cli.scored import scored
from rsft.cli.threshold import threshold
from rsft.cli.verbosity import is_verbose
from rsft.errors import InputError, InputWarning, InterruptedTrainingError, RsftError, how_to_install

INTERRUPTED = 130  # exit code of typer after Ctrl-C

app = typer.Typer(
    help="Rejection sampling fine-tuning: adapt a pretrained face model to the population it will meet.",
    epilog="`rsft doctor` shows what is installed, `rsft demo --quick` tries it, `rsft COMMAND -h` has examples.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=HELP_OPTIONS,
)
COMPUTING: tuple[Callable[..., None], ...] = (demo, plan, fit, compare, evaluate, threshold, embed, rerun, monitor)
DIVIDING: tuple[Callable[..., None], ...] = (plan, fit, evaluate, embed, rerun)  # among processes of a launcher
OTHERS: tuple[Callable[..., None], ...] = (export, forget, convert, scored, report, doctor)
for command in (*COMPUTING, *OTHERS):
    add(app, command, name=command.__name__, computes=command in COMPUTING, divides=command in DIVIDING)
for name, group in (("data", data), ("models", models), ("gallery", gallery)):
    app.add_typer(group, name=name)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"rsft {metadata.version('rsft')}")
        raise typer.Exit


@app.callback()
def _of_all(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def run() -> None:
    """Run the program. Errors become one line and an exit code; of several processes only the first prints."""
    if launch.number():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  stays open until the process ends
    with ending_on_signals(_say_interrupted) as ending:
        code = _run(ending)
    launch.leave(code)
    if ending.number is not None:
        end_now(code)  # no thread is waited for
    sys.exit(code)


def _run(ending: Ending) -> int:
    """Run the command and return the exit code."""
    warnings.showwarning = _warn
    show.log_to_stderr()
    try:
        code = int(app(standalone_mode=False) or 0)
        return _say_interrupted(ending) if code == INTERRUPTED else code
    except EndedError:
        return _say_interrupted(ending)
    except SystemExit as end:  # by shell completion
        return int(end.code or 0)
    except Exception as error:
        if hasattr(error, "format_message"):
            return _say_misused(error)
        if isinstance(error, InterruptedTrainingError):
            return _fail(error, ending.code)
        return _say_failed(error) if ending.number is None else _say_interrupted(ending)


def _say_misused(error: Any) -> int:
    """Print what is wrong with the command line and return the exit code; print the help if there is nothing on it."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return 2
    return _fail(usage.in_words(error, sys.argv[1:]), 2)


def _say_failed(error: Exception) -> int:
    """Print an error and return the exit code; raise it if it is a defect of rsft."""
    if isinstance(error, InputError | ValueError):
        return _fail(error, 2)
    if isinstance(error, OSError):
        from rsft.disk.room import FULL, full_disk

        return _fail(full_disk(Path(error.filename or ".")) if error.errno in FULL else error, 1)
    if isinstance(error, RsftError):
        return _fail(error, 1)
    if isinstance(error, ModuleNotFoundError):
        return _fail(f"the package '{error.name}' is not installed: {how_to_install('demo')}.", 2)
    if isinstance(error, RuntimeError) and launch.is_of_others(error):
        return _fail(f"another process failed: see its message ({str(error).splitlines()[0]}).", 1)
    raise error


def _say_interrupted(ending: Ending) -> int:
    """Print that a signal ended the command, and return the exit code."""
    return _fail(in_words(ending, sys.argv[1:]), ending.code)


def _fail(error: object, code: int) -> int:
    """Print an error in one line and return the exit code."""
    if is_verbose() and isinstance(error, BaseException):
        traceback.print_exception(error)
    print(f"rsft{launch.name()}: {error}", file=sys.stderr)
    return code


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning in one line; only warnings of other libraries get their place in the code."""
    where = "" if issubclass(category, InputWarning) else f"{filename}:{lineno}: {category.__name__}: "
    print(f"rsft: warning: {where}{message}", file=sys.stderr)
