import os
import sys
from pathlib import Path
from random import Random

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # also for the child processes
from killed import train_and_kill, weights

RUNS = int(os.environ.get("RSFT_KILLED_RUNS", "4"))
KILLS = 2


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Return the weights of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    assert train_and_kill(folder, [], pause=0) == 0
    return weights(folder)


@pytest.mark.parametrize("run", range(RUNS))
def test_a_run_that_is_killed_ends_with_the_same_weights(
    run: int, expected: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """Each run is killed at random moments. RSFT_KILLED_RUNS sets the number of runs."""
    random = Random(run)
    assert train_and_kill(tmp_path, [random.uniform(0.05, 0.6) for _ in range(KILLS)], pause=0.03) == KILLS
    assert (tmp_path / "done").exists()
    found = weights(tmp_path)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
