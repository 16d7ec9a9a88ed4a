"""What the walk-throughs show is what their commands printed."""

import json
import re

import pytest
from documents import ROOT, blocks_of, commands_of

WALKS = json.loads((ROOT / "benchmarks" / "results" / "walks.json").read_text())


@pytest.mark.parametrize("name", sorted(WALKS))
def test_every_line_shown_was_printed_in_this_order(name: str) -> None:
    printed, commands, shown = WALKS[name]["printed"], [], 0
    for block in blocks_of(f"docs/walks/{name}.md"):
        if block.kind == "console":
            commands += [" ".join(words) for words in commands_of(block.code)]
        elif block.kind == "text":
            left = iter(printed[commands[-1]])
            lines = [line for line in block.code.splitlines() if line.strip() not in ("", "...")]
            assert [line for line in lines if line not in left] == [], str(block)
            shown += len(lines)
    assert commands == list(printed)
    assert shown > 10


@pytest.mark.parametrize("name", sorted(WALKS))
def test_the_lists_have_as_many_rows_as_the_page_says(name: str) -> None:
    page, lists = (ROOT / "docs" / "walks" / f"{name}.md").read_text(), WALKS[name]["lists"]
    rows = dict(re.findall(r"^\| `([\w.]+)` \|.*\| ([\d,]+)[^|]*\|$", page, re.M))
    assert {key: int(value.replace(",", "")) for key, value in rows.items()} == {
        key: value for key, value in lists.items() if key.endswith(".csv")
    }
    assert f"{lists['people evaluated']} further people" in page
