import importlib
import json
import re
from pathlib import Path

import pytest

from rsft.face.networks.load import KNOWN

PAGE = (Path(__file__).parents[1] / "docs" / "models.md").read_text()


def test_the_examples_of_the_page_run() -> None:
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(block, names)
    assert names["model"].embedding_size == 64  # type: ignore[attr-defined]


def test_the_table_of_exporters_is_that_of_its_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    parity = importlib.import_module("onnx_parity")
    assert parity.table(json.loads(parity.RESULTS.read_text())) in PAGE


def test_the_table_lists_the_known_models_and_licences() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", PAGE, re.M))
    assert rows == {name: known.licence for name, known in KNOWN.items()}
