"""SIGTERM and Ctrl-C end a command with one line, in bounded time, with the exit code that shells expect."""

import os
import signal
import time
from pathlib import Path

import pytest
from forked import context, run_command, wait_for

from rsft.cli.ending import Ending, in_words

WORKERS = """
import joblib, os, time
def train(folder):
    (folder / f"worker-{os.getpid()}").touch()
    time.sleep(50)
folder = options["out"].parent
list(joblib.Parallel(n_jobs=2, return_as="generator_unordered")(joblib.delayed(train)(folder) for _ in range(2)))
"""


def end(
    line: list[str], module: str, function: str, work: str, number: int, folder: Path, *, begun: str = "ready"
) -> tuple[int | None, str, float]:
    """Run a command and send it a signal, once it has begun: a file of this pattern is there.

    Returns:
        Its exit code, its error stream and the seconds that it took to end.
    """
    ready, errors = folder / "ready", folder / "errors.txt"
    process = context().Process(target=run_command, args=(line, module, function, work, ready, errors))
    process.start()
    wait_for(ready)
    deadline = time.monotonic() + 60
    while not list(folder.glob(begun)) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    before = time.monotonic()
    os.kill(process.pid or 0, number)
    process.join(60)
    return process.exitcode, errors.read_text(), time.monotonic() - before


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("number", "work", "code", "word"),
    [
        (signal.SIGTERM, "import time; time.sleep(60)", 143, "interrupted by SIGTERM; run again with --resume"),
        # in C, where Python sees no signal
        (signal.SIGTERM, "hashlib.pbkdf2_hmac('sha256', b'x', b'x', 10**8)", 143, "interrupted by SIGTERM"),
    ],
)
def test_a_command_ends_wherever_it_is(number: int, work: str, code: int, word: str, tmp_path: Path) -> None:
    line = ["embed", "--pool", str(tmp_path), "--out", str(tmp_path.with_name(f"{tmp_path.name}-out"))]
    returned, errors, seconds = end(line, "embed_folder", "embed_folder", f"import hashlib; {work}", number, tmp_path)
    assert returned == code, errors
    (told,) = [text for text in errors.splitlines() if text.strip()]
    assert told.startswith(f"rsft: {word}")
    assert seconds < 10


def test_the_processes_of_a_comparison_end_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    given = [word for option in ("--pool", "--target", "--eval") for word in (option, str(folder))]
    line = ["compare", *given, "--out", str(tmp_path / "out")]
    returned, errors, seconds = end(
        line, "compare", "compare_faces", WORKERS, signal.SIGTERM, tmp_path, begun="worker-*"
    )
    assert returned == 143, errors
    assert "what was trained is kept: run again with the same --out to continue" in errors
    assert "Traceback" not in errors
    assert seconds < 10
    workers = [int(path.name.removeprefix("worker-")) for path in tmp_path.glob("worker-*")]
    assert workers
    assert not [worker for worker in workers if is_alive(worker)]


def test_the_line_says_what_is_kept(tmp_path: Path) -> None:
    ending, out = Ending(), tmp_path / "out"
    assert (ending.code, in_words(ending, ["models"])) == (130, "interrupted.")
    assert in_words(ending, ["plan", "--pool", "x"]) == "interrupted."
    ending.number = signal.SIGTERM
    told = "run again with --resume to reuse what was embedded."
    assert in_words(ending, ["fit", f"--out={out}"]) == f"interrupted by SIGTERM; {told}"
    assert "nothing was written" in in_words(ending, ["convert", "a", str(out)])
    os.mkdir(tmp_path / "out.partial")
    kept = f"what was finished is kept in '{out}.partial'; {told}"
    assert in_words(ending, ["fit", "--out", str(out)]) == f"interrupted by SIGTERM; {kept}"
    assert "is whole: run again" in in_words(ending, ["convert", "a", str(out)])
    assert "with --overwrite to discard" in in_words(ending, ["plan", "--out", str(out)])
