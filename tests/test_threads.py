import os
import subprocess
import sys

import pytest

from rsft import threads
from rsft.threads import MOST_READERS, cores, readers

CODE = "import os, rsft, torch; print(os.environ['OMP_WAIT_POLICY'])"
NUMBER = "import torch; from rsft.threads import use_real_cores; torch.set_num_threads({0}); use_real_cores(); {1}"


def printed(code: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    line = [sys.executable, "-c", code]
    return subprocess.run(line, env=inherited | environment, capture_output=True, text=True, check=True).stdout.strip()


def test_threads_sleep_while_they_wait_unless_the_user_chooses() -> None:
    assert printed(CODE) == "PASSIVE"
    assert printed(CODE, OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"


def test_openmp_has_read_the_policy() -> None:
    """OpenMP's own report, which it writes when it is loaded: the variable was set before that."""
    code = "import rsft, torch; torch.ones(9, 9) @ torch.ones(9, 9)"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    line = [sys.executable, "-c", code]
    report = subprocess.run(
        line, env=environment | {"OMP_DISPLAY_ENV": "true"}, capture_output=True, text=True, check=True
    ).stderr
    if "OMP_WAIT_POLICY" not in report:
        pytest.skip("this OpenMP does not report its settings")
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in report.replace("[host] ", "")


def test_there_are_as_many_threads_as_cores_that_may_be_used() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
    assert printed(NUMBER.format(7, "print(torch.get_num_threads())")) == str(cores())
    assert printed(NUMBER.format(3, "print(torch.get_num_threads())"), OMP_NUM_THREADS="1") == "3"


@pytest.mark.parametrize("count", [1, 3, 64])
def test_there_are_no_more_readers_than_cores_and_than_pay(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: count)
    assert readers() == min(count, MOST_READERS)
