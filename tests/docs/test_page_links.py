"""Every relative link of the README and the docs leads to a file, and to a section that it has."""

import re
from functools import cache
from pathlib import Path

import pytest
from documents import PAGES, ROOT

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^( *)```.*?^\1```$|`[^`\n]+`", re.M | re.S)


@cache
def sections_of(path: Path) -> set[str]:
    """Return the names by which links reach the sections of a page."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*?)(?: \{ *#([\w-]+) *\})?$", text, re.M)
    return {name or re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading, name in headings}


@pytest.mark.parametrize("page", [*PAGES, "SECURITY.md", "CHANGELOG.md"])
def test_relative_links_lead_somewhere(page: str) -> None:
    for link in LINK.findall(CODE.sub("", (ROOT / page).read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, section = link.partition("#")
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), link
        assert not section or path.suffix != ".md" or section in sections_of(path), link
