"""Two machines that share nothing but the disk: a process that is lost comes back.

`benchmarks/many_machines.py` does the same with `plan`, `fit` and `evaluate`, and with four machines.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from rsft.face.embed_folder import embed_folder

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
many_machines: Any = importlib.import_module("many_machines")
soak_commands: Any = importlib.import_module("soak_commands")

pytestmark = pytest.mark.skipif(many_machines.missing() is not None, reason=str(many_machines.missing()))


def test_an_embedding_that_loses_a_machine_s_process_goes_on_and_is_the_same_to_the_bit(tmp_path: Path) -> None:
    people = soak_commands.draw_people(tmp_path / "people")
    embed_folder(pool=people / "pool", out=tmp_path / "embed", aligned=True)
    line = many_machines.commands(people, tmp_path / "recipe.toml")["embed"]
    with many_machines.machines(2):
        lost = many_machines.Lost(1, "part")
        run = many_machines.launch(2, tmp_path / "two", [*line, "--out", tmp_path / "out"], lost=lost)
        assert run["codes"] == [0, 0], run["told"]
    assert many_machines.found("embed", tmp_path / "out") == many_machines.found("embed", tmp_path / "embed")
    assert sum(run["read"]) > 72  # what the lost process had read was read again
    assert max(run["read"]) < 72
