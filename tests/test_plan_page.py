import re
from collections.abc import Callable
from pathlib import Path

from pages import Ran

import rsft
from rsft.envelope import PRICED
from rsft.ratio import AUTO, METHODS
from rsft.verdict import Outcome

PAGE = (Path(__file__).parents[1] / "docs" / "plan.md").read_text()


def test_the_last_example_of_the_page_is_exact(run_page: Callable[[str], Ran]) -> None:
    assert run_page("docs/plan.md").names["draws"].violations == 0


def test_the_page_lists_every_method_and_every_outcome() -> None:
    methods, outcomes = (set(re.findall(form, PAGE, re.M)) for form in (r"^\| `([\w-]+)` \|", r"^\| ([a-z ]+) \|"))
    assert methods == {*METHODS, AUTO}
    assert {str(outcome) for outcome in Outcome} <= outcomes
    assert {rule.split("=")[0] for rule in PRICED} <= set(re.findall(r"`(\w+)[=`]", PAGE))
    options = {"max_items", "log_prob", "log_ratio", "remap_classes", "retain_fraction"}
    options |= {"shared_items", "target_groups"}
    for name in set(re.findall(r"`([a-z]+_[a-z]+)`", PAGE)) - options:
        assert hasattr(rsft, name), name
