"""The `rsft` program. Its exit code is 0 on success, 1 if the job failed and 2 for bad input."""

import os
import sys
import traceback
import warnings
from typing import TextIO

import typer

from rsft.cli import launch, show
from rsft.cli.compare import compare
from rsft.cli.data import convert, data
from rsft.cli.demo import demo
from rsft.cli.doctor import doctor
from rsft.cli.embed import embed
from rsft.cli.evaluate import evaluate
from rsft.cli.export import export, gallery
from rsft.cli.fit import fit
from rsft.cli.forget import forget
from rsft.cli.models import models
from rsft.cli.plan import plan
from rsft.cli.report import report
from rsft.cli.threshold import threshold
from rsft.cli.verbosity import is_verbose, tells
from rsft.errors import InputError, InputWarning, RsftError
from rsft.threads import use_real_cores

INTERRUPTED = 130  # exit code of typer after Ctrl-C
CONTINUED = {
    **dict.fromkeys(("fit", "embed"), "; run again with --resume to reuse what was embedded"),
    "compare": "; run again with the same --out to continue",
}

app = typer.Typer(
    help="Rejection sampling fine-tuning: adapt a pretrained face model to the population it will meet.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (demo, plan, fit, compare, evaluate, threshold, embed, export, forget, convert, report, doctor):
    app.command()(tells(command))
for name, group in (("data", data), ("models", models), ("gallery", gallery)):
    app.add_typer(group, name=name)


def run() -> None:
    """Run the program. Errors become one line and an exit code; of several processes only the first prints."""
    if launch.number():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  stays open until the process ends
    code = _run()
    launch.leave(code)
    sys.exit(code)


def _run() -> int:
    """Run the command and return the exit code."""
    warnings.showwarning = _warn
    show.log_to_stderr()
    if "--help" not in sys.argv and len(sys.argv) > 1:  # it imports PyTorch
        use_real_cores()
    try:
        app()
    except SystemExit as end:
        return _fail(_interrupted(sys.argv[1:2]), 1) if end.code == INTERRUPTED else int(end.code or 0)
    except (InputError, ValueError) as error:
        return _fail(error, 2)
    except (RsftError, OSError) as error:
        return _fail(error, 1)
    except ModuleNotFoundError as error:
        return _fail(f"the package '{error.name}' is not installed: pip install 'rsft[demo]'.", 2)
    except RuntimeError as error:
        if not launch.is_of_others(error):
            raise
        return _fail(f"another process failed: see its message ({str(error).splitlines()[0]}).", 1)
    return 0


def _interrupted(command: list[str]) -> str:
    """Return the message after an interruption, with the way to continue the command."""
    return f"interrupted{CONTINUED.get(command[0] if command else '', '')}."


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
