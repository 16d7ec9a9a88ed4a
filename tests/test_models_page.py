import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pages import Ran

from rsft.face.networks.load import KNOWN

PAGE = (Path(__file__).parents[1] / "docs" / "models.md").read_text()


def test_the_model_of_the_page_is_that_of_its_text(run_page: Callable[[str], Ran]) -> None:
    assert run_page("docs/models.md").names["model"].embedding_size == 64


def test_the_table_of_exporters_is_that_of_its_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    parity = importlib.import_module("onnx_parity")
    assert parity.table(json.loads(parity.RESULTS.read_text())) in PAGE


def test_the_table_lists_the_known_models_and_licences() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", PAGE, re.M))
    assert rows == {name: known.licence for name, known in KNOWN.items()}
