"""The page about GPUs: its links lead somewhere, and the commands name what there is."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "gpu.md").read_text()


def test_links_and_paths_of_the_page_lead_to_files() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (DOCS / link).exists(), link
    for path in re.findall(r"^\$ (?:pytest|python) (\S+)", PAGE, re.M):
        assert (DOCS.parent / path).exists(), path
