"""Every estimator, envelope rule and recipe key has its card, in one form."""

import re

import pytest
from documents import ROOT

import rsft
from rsft.envelope import RULES
from rsft.face.adaptation.recipe import Recipe
from rsft.ratio import AUTO, METHODS

HEADINGS = ["How", "Default, and why", "When it fails", "Results"]
# public functions of rsft.ratio; `retain_pool` is on the card of `retain_fraction`
OF_RATIO = {name for name in rsft.__all__ if getattr(rsft, name).__module__.startswith("rsft.ratio")}
STATED = {name for name in OF_RATIO if name.islower()} - {"fit_ratio", "retain_pool"}
PAGES = {page: (ROOT / "docs" / "cards" / f"{page}.md").read_text() for page in ("ratios", "envelopes", "recipe")}
CARDS = {page: dict(re.findall(r"^## ([^\n]+)\n+(.*?)(?=^## |\Z)", text, re.M | re.S)) for page, text in PAGES.items()}
ROW = re.compile(r"^\| `(\w+)` \| `(.+)` \|$", re.M)


def test_every_way_to_a_ratio_and_every_rule_has_its_card() -> None:
    assert set(CARDS["ratios"]) == {*METHODS, AUTO, *STATED}
    assert set(CARDS["envelopes"]) == set(RULES)


def test_every_key_of_a_recipe_stands_on_one_card_with_its_default() -> None:
    rows = [row for card in CARDS["recipe"].values() for row in ROW.findall(card)]
    assert len(rows) == len(dict(rows))
    defaults = {key: field.default for key, field in Recipe.model_fields.items()}
    assert {key: value.replace('"', "'") for key, value in rows} == {
        key: repr(value) for key, value in defaults.items()
    }


@pytest.mark.parametrize(("page", "card"), [(page, card) for page, cards in CARDS.items() for card in cards])
def test_a_card_has_the_headings_of_all_in_their_order(page: str, card: str) -> None:
    text = CARDS[page][card]
    assert re.findall(r"^\*\*(.+?)\.\*\* \S", text, re.M) == HEADINGS
    assert page != "recipe" or text.startswith("| key | default |\n|---|---|\n| `")
