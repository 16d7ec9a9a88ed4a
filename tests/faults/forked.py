"""Processes that are forked from one that has imported rsft, since each import takes seconds."""

import multiprocessing
import os
import sys
import time
import types
from multiprocessing.context import ForkServerContext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
PRELOADED = ["rsft.cli.main", "rsft.face.fit", "joblib", "forked", "soak_kill", "soak_ranks"]


def context() -> ForkServerContext:
    """Return the context whose processes start without threads that a fork would lose."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(PRELOADED)
    return found


def hold(out: Path, ready: Path) -> None:
    """Write an output until this process is killed; `ready` appears when it has begun."""
    from rsft.run_folder import writing

    with writing(out) as folder:
        (folder / "first.txt").write_text("first")
        ready.touch()
        time.sleep(60)


def run_command(line: list[str], module: str, function: str, work: str, ready: Path, errors: Path) -> None:
    """Run a command whose work is some code; its error stream goes to a file."""
    from rsft.cli import ending, main

    def do(**options: object) -> None:
        ready.touch()
        exec(work, {"options": options})

    with open(errors, "w") as file:
        os.dup2(file.fileno(), 2)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    sys.modules[f"rsft.face.{module}"] = types.SimpleNamespace(**{function: do})  # type: ignore[assignment]
    sys.argv, ending.GRACE_SECONDS = ["rsft", *line], 1.0
    main.run()


def wait_for(ready: Path) -> None:
    """Wait until a file appears."""
    for _ in range(3000):
        if ready.exists():
            return
        time.sleep(0.02)
    raise TimeoutError(f"{ready} did not appear")
