"""The page on advice agrees with the code."""

import re
from pathlib import Path

from rsft.face.adaptation.advice import Action
from rsft.face.adaptation.alike import FMR
from rsft.face.adaptation.gate import MIN_PEOPLE
from rsft.face.adaptation.swap import MAX_USUAL_LOSS, MOST_ALIKE, MOST_USUAL, ModelFigures, Swap
from rsft.verdict import MIN_TARGET

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "advice.md").read_text()
TEXT = " ".join(PAGE.split())


def test_every_action_stands_in_the_table() -> None:
    assert {*re.findall(r"^\| (\w+) \|", PAGE, re.M)} - {"advice"} == {str(action) for action in Action}


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"at most {MOST_ALIKE} that are like the target" in TEXT
    assert f"about {MOST_USUAL} usual ones" in TEXT
    assert f"TAR at FMR {FMR:g}" in TEXT
    assert f"fewer than {MIN_PEOPLE:.0f} people" in TEXT
    assert f"fewer than {MIN_TARGET} target pictures" in TEXT
    assert MAX_USUAL_LOSS == 0.01
    assert "by more than a point" in TEXT


def test_the_page_names_options_and_keys_that_exist() -> None:
    from typer.main import get_command

    from rsft.cli.main import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    options = {
        option
        for name in ("plan", "compare", "fit")
        for parameter in commands[name].params
        for option in parameter.opts
    }
    assert set(re.findall(r"--[a-z][a-z-]+", PAGE)) - {"--json"} <= options
    keys = {*Swap().to_dict(), *ModelFigures.__dataclass_fields__, "action", "next"}
    named = PAGE[PAGE.index("`plan.json` and") : PAGE.index("In Python:")]
    assert set(re.findall(r"`([a-z_]+)`", named)) - {"advice", "models"} <= keys
    for page in re.findall(r"\]\(([a-z]+\.md)\)", PAGE):
        assert (DOCS / page).exists()
