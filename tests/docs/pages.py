"""The fixture that runs the Python blocks of a page, once for all tests."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from documents import blocks_of


@dataclass(frozen=True)
class Ran:
    """What a page left behind: the names that its blocks have defined, and the folder in which they ran."""

    names: dict[str, Any]
    folder: Path


@pytest.fixture(scope="session")
def run_page(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ran]:
    """Return a function that runs the Python blocks of a page as one script, in an empty folder."""

    @cache
    def run(page: str) -> Ran:
        folder, here = tmp_path_factory.mktemp("page"), Path.cwd()
        names: dict[str, Any] = {"__name__": "__main__"}
        AcceleratorState._reset_state(reset_partial_state=True)  # accelerate keeps one precision per process
        os.chdir(folder)
        try:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                for block in blocks_of(page):
                    if block.kind == "python" and block.mark is None:
                        exec(compile(block.code, str(block), "exec"), names)
        finally:
            os.chdir(here)
            AcceleratorState._reset_state(reset_partial_state=True)
        return Ran(names, folder)

    return run
