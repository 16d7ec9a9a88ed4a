"""The commands in processes of their own: exit codes, signals, and where each text goes."""

import subprocess
import sys
from pathlib import Path

import pytest


def run(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_a_command_that_succeeds_returns_0_and_prints_to_standard_output() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "rsft", "models", "--json"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0
    assert '"dlib"' in result.stdout
    assert result.stderr == ""


def test_bad_input_returns_2_with_one_line_on_standard_error(tmp_path: Path) -> None:
    result = run("from rsft.cli.main import run; run()", "report", tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("rsft: ")


@pytest.mark.parametrize(
    ("command", "module", "advice"),
    [
        ("embed", "embed_folder", "run again with --resume to reuse what was embedded"),
        ("plan", "runs.inputs", "rsft: interrupted."),
    ],
)
def test_an_interrupted_command_returns_130_with_one_line(
    command: str, module: str, advice: str, faces: Path, tmp_path: Path
) -> None:
    """The signal arrives while a model is loaded; a shell's background job would ignore it."""
    code = (
        f"import signal; from rsft.cli.main import run; import rsft.face.{module} as module; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "module.load_model = lambda model: signal.raise_signal(signal.SIGINT); run()"
    )
    more = ("--out", tmp_path / "out") if command == "embed" else ("--target", faces / "target")
    result = run(code, command, "--pool", faces / "pool", *more)
    assert result.returncode == 130
    assert result.stderr.splitlines()[-1].startswith("rsft: interrupted")
    assert advice in result.stderr
    assert "Traceback" not in result.stderr
