"""Of processes that train together, one is killed: the others notice by themselves, and end with an error in one line.

`benchmarks/soak_ranks.py` does the same at many steps, with four processes too, and resumes each run to its end.
"""

import importlib
import signal
from pathlib import Path
from typing import Any

from forked import context

soak_ranks: Any = importlib.import_module("soak_ranks")


def test_a_process_that_loses_another_while_training_ends_with_an_error(tmp_path: Path) -> None:
    victim = 0  # it also keeps the addresses of all
    people = soak_ranks.draw_people(tmp_path / "people")
    lost = soak_ranks.train(context(), people, tmp_path / "run", ranks=2, victim=victim, step=2)
    assert lost["codes"][victim] == -signal.SIGKILL
    assert lost["codes"][1 - victim] == 1
    assert lost["seconds"] < soak_ranks.BOUND
    (line,) = (line for line in lost["told"].splitlines() if soak_ranks.NOTICED in line)
    assert line.startswith(f"rsft (process {1 - victim} of 2): ")
    assert "Traceback" not in lost["told"]
    assert not (tmp_path / "run").exists()
    assert (tmp_path / "run.partial").is_dir()  # for --resume
