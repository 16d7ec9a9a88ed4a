"""The command line in this process: starting another takes longer than most commands do."""

import contextlib
import io
import logging
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

from rsft.cli.main import run

Result = subprocess.CompletedProcess[str]


def rsft(*arguments: str | Path, code: int = 0) -> Result:
    """Run a command as the entry point does, and check its exit code."""
    line = [str(argument) for argument in arguments]
    out, errors = io.StringIO(), io.StringIO()
    logger = logging.getLogger("rsft")
    handlers, level = list(logger.handlers), logger.level
    try:
        with (
            mock.patch.object(sys, "argv", ["rsft", *line]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(errors),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("default")  # as in a process of its own
            try:
                run()
            except SystemExit as end:
                returned = int(end.code or 0)
    finally:
        logger.handlers, logger.level = handlers, level
    result = Result(line, returned, out.getvalue(), errors.getvalue())
    assert returned == code, result.stderr
    assert "--verbose" in line or "Traceback" not in result.stderr
    return result


def refused(*arguments: str | Path, code: int = 2) -> str:
    """The one line that says why a command is refused."""
    (line,) = [line for line in rsft(*arguments, code=code).stderr.splitlines() if line.startswith("rsft: ")]
    return line
