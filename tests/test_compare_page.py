import json
import re
from collections.abc import Callable
from pathlib import Path

from pages import Ran

from rsft.face.adaptation.peers import PEERS
from rsft.face.compare import EQUAL_TIME, WHITENING_ALONE
from rsft.types import PRETRAINED, Interval

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "compare.md").read_text()


def test_the_example_runs_and_the_table_lists_all_methods(run_page: Callable[[str], Ran]) -> None:
    names = run_page("docs/compare.md").names
    tables = dict(re.findall(r"^\| (method|peer) \| .*?\n((?:\|.*\n)+)", PAGE, re.M))
    named = {kind: set(re.findall(r"^\| ([A-Za-z ,-]+) \| ", rows, re.M)) for kind, rows in tables.items()}
    assert named == {"method": {PRETRAINED, *names["comparison"].runs, EQUAL_TIME, WHITENING_ALONE}, "peer": set(PEERS)}
    assert "better than pretrained" in names["comparison"].verdict()


def test_the_page_states_the_results_of_the_benchmarks() -> None:
    rates = json.loads((ROOT / "benchmarks" / "results" / "stability.json").read_text())["rates"]
    for rate, other in (("0.03", "weighted sampling"), ("0.3", "loss weights"), ("0.3", "weighted sampling")):
        figures = Interval(**rates[rate]["differences"]["rejection"][other]["accuracy"])
        assert figures.signed() in " ".join(PAGE.split()), (rate, other)
    faces = json.loads((ROOT / "benchmarks" / "results" / "face_stability.json").read_text())["rates"]["0.0001"]
    for other in ("loss weights", "weighted sampling"):
        figures = Interval(**faces["differences"]["rejection"][other]["target TAR at FMR 0.01"])
        assert figures.signed() in " ".join(PAGE.split()), other
