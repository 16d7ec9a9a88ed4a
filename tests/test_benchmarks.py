"""Every benchmark can be imported. The tests do not run them, as this takes data and hours."""

import importlib
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
PEERS = ("densratio", "skada")  # optional packages of the extra `bench`


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_each_benchmark_can_be_imported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in PEERS:
            raise
        pytest.skip(f"needs {error.name}")


@pytest.mark.parametrize("name", ["real_shifts", "real_dealings", "verdicts"])
def test_the_page_of_a_benchmark_is_that_of_its_results(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    benchmark = importlib.import_module(name)
    assert benchmark.PAGE.read_text() == benchmark.page(json.loads(benchmark.RESULTS.read_text()))


def test_the_page_on_robustness_is_that_of_its_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    robustness = importlib.import_module("robustness")
    kill, fuzz = (json.loads((FOLDER / "results" / f"soak_{name}.json").read_text()) for name in ("kill", "fuzz"))
    assert robustness.PAGE.read_text() == robustness.page(kill, fuzz)
