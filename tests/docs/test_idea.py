"""The figures that explain the idea are those that the script draws, and read well on light and dark pages."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from documents import ROOT


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "draw_idea.py"))


def test_the_figures_are_those_of_the_script(script: dict[str, Any]) -> None:
    folder: Path = script["FOLDER"]
    assert {path.stem for path in folder.glob("*.svg")} == set(script["FIGURES"])
    for name in script["FIGURES"]:
        assert script["draw"](name) == (folder / f"{name}.svg").read_text(), f"{name}: run python docs/draw_idea.py"


def test_no_colour_of_a_figure_is_fixed_but_white(script: dict[str, Any]) -> None:
    for path in script["FOLDER"].glob("*.svg"):
        head, _, drawn = path.read_text().partition("</style>")
        assert "prefers-color-scheme: dark" in head
        fixed = re.sub(r"var\(--\w+, #\w{6}\)", "", drawn)
        assert set(re.findall(r"#[0-9a-fA-F]{6}\b", fixed)) <= {"#ffffff"}, path.name


def test_the_page_shows_every_figure_with_words_for_those_who_do_not_see_it(script: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "idea.md").read_text()
    shown = re.findall(r"!\[(.+)\]\(idea/([\w-]+)\.svg\)", page)
    assert [name for _, name in shown] == list(script["FIGURES"])
    assert all(len(words) > 30 for words, _ in shown)
