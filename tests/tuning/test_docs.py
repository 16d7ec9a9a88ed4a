import json
import re
from collections.abc import Callable
from pathlib import Path

from pages import Ran

from rsft.types import Interval

PAGE = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text()


def test_the_examples_keep_checkpoints_and_activations(run_page: Callable[[str], Ran]) -> None:
    folder = run_page("docs/tuning.md").folder
    assert list(folder.glob("checkpoints/step-*"))
    assert list(folder.glob("cache/*/shard-00000.npy"))


def test_the_table_of_stages_matches_the_benchmarks() -> None:
    results = Path(__file__).parents[2] / "benchmarks" / "results"
    costs = json.loads((results / "cuts.json").read_text())["cuts"]
    changes = {row["change"]: row for row in json.loads((results / "ablation.json").read_text())["results"]}
    for stages in (8, 12):
        gain = Interval(**changes[f"cut {stages} stages"]["target less rejection"]).signed()
        step, kilobytes = costs[f"-{stages}"]["step"], costs[f"-{stages}"]["kilobytes"]
        assert re.search(
            rf"^\| -{stages} \| \**{re.escape(gain)}\** \| {step:.1f} \| {kilobytes:.0f} kB \|$", PAGE, re.M
        )
