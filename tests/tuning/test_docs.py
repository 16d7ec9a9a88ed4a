import json
import re
import runpy
import tomllib
from collections.abc import Callable
from pathlib import Path

from pages import Ran

from rsft.face.adaptation.recipe import Recipe
from rsft.types import Interval

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "tuning.md").read_text()


def test_the_examples_keep_checkpoints_and_activations(run_page: Callable[[str], Ran]) -> None:
    folder = run_page("docs/tuning.md").folder
    assert list(folder.glob("checkpoints/step-*"))
    assert list(folder.glob("cache/*/shard-00000.npy"))


def test_the_table_of_keys_is_that_of_the_code() -> None:
    script = runpy.run_path(str(DOCS / "recipe_keys.py"))
    assert script["page"](PAGE) == PAGE, "run python docs/recipe_keys.py"
    keys = {key: (default, limits) for key, default, limits, meaning in script["recipe_keys"]() if meaning}
    assert keys.keys() == Recipe.model_fields.keys()
    assert keys["whitening"] == ("`0.25`", "a number, >= 0, < 1")


def test_the_recipe_on_the_page_is_valid() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    assert Recipe(**tomllib.loads(block)["recipe"]).trains == "lora"


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
