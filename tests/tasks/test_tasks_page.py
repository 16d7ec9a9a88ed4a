import json
import re
from collections.abc import Callable
from pathlib import Path

from pages import Ran

import rsft
from rsft.types import Interval

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tasks.md").read_text()


def test_the_shares_of_the_page_are_reached(run_page: Callable[[str], Ran]) -> None:
    names = run_page("docs/tasks.md").names
    assert isinstance(names["ratio"], rsft.MembershipRatio)
    assert names["ratio"].shortfall < 0.01


def test_the_template_of_a_task_is_short() -> None:
    (template,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "class Depth" in block]
    assert 15 < len(template.strip().splitlines()) < 30


def test_the_page_links_every_example() -> None:
    named = set(re.findall(r"\(\.\./examples/(\w+)\.py\)", PAGE))
    there = {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert named == there - {"compared", "scenes", "textbook_loop"}


def test_the_tables_hold_the_results_of_the_benchmark() -> None:
    found = json.loads((ROOT / "benchmarks" / "results" / "examples.json").read_text())
    rows = re.findall(r"^\| (\w+), (\w+) \| [-+*]", PAGE, re.M)
    assert {name for name, _ in rows} == set(found)
    for name, metric in rows:
        for other in ("pretrained", "uniform", "weighted sampling", "loss weights"):
            figures = found[name]["comparison"]["differences"]["rejection"][other][metric]
            assert Interval(**figures).signed() in PAGE, (name, metric, other)
