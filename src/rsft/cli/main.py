"""The `rsft` program. Exit codes: 0 on success, 1 if the job failed, 2 for bad input, 130 or 143 after a signal."""

import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import TextIO

import typer

from rsft.cli import launch, show
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
from rsft.cli.plan import plan
from rsft.cli.report import report
from rsft.cli.rerun import rerun
from rsft.cli.threshold import threshold
from rsft.cli.verbosity import is_verbose, tells
from rsft.errors import InputError, InputWarning, InterruptedTrainingError, RsftError
from rsft.threads import use_real_cores

INTERRUPTED = 130  # exit code of typer after Ctrl-C

app = typer.Typer(
    help="Rejection sampling fine-tuning: adapt a pretrained face model to the population it will meet.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (demo, plan, fit, compare, evaluate, threshold, embed, export, forget, convert, report, rerun, doctor):
    app.command()(tells(command))
for name, group in (("data", data), ("models", models), ("gallery", gallery)):
    app.add_typer(group, name=name)


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
        if "--help" not in sys.argv and len(sys.argv) > 1:  # it imports PyTorch
            use_real_cores()
        app()
    except EndedError:
        return _say_interrupted(ending)
    except SystemExit as end:
        return _say_interrupted(ending) if end.code == INTERRUPTED else int(end.code or 0)
    except Exception as error:
        if isinstance(error, InterruptedTrainingError):
            return _fail(error, ending.code)
        return _say_failed(error) if ending.number is None else _say_interrupted(ending)
    return 0


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
        return _fail(f"the package '{error.name}' is not installed: pip install 'rsft[demo]'.", 2)
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
