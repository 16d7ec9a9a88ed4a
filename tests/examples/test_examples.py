import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_textbook_loop_runs_and_gains() -> None:
    result = runpy.run_path(str(EXAMPLES / "textbook_loop.py"))["main"]()
    assert 0 < result["acceptance_rate"] < 1
    assert result["tuned"] > result["pretrained"]
