"""The docs site is built without a warning, fetches nothing, and its notebooks run."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from documents import ROOT

import rsft

WHOLE = ("mkdocs", "material", "mkdocstrings", "nbclient", "nbformat", "ipykernel")
SOURCE = re.compile(r"<(?:script|img|iframe|source|audio|video)\b[^>]*?\bsrc=[\"']?([^\"'\s>]+)")
SHEET = re.compile(r"<link\b(?![^>]*rel=[\"']?(?:canonical|next|prev))[^>]*?\bhref=[\"']?([^\"'\s>]+)")
IN_SHEET = re.compile(r"(?:url\(|@import)\s*[\"']?([^\"')\s;]+)")


def needs_the_extra() -> None:
    for package in WHOLE:
        pytest.importorskip(package, reason=f'the extra "docs" is not installed: {package} is missing')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built without running the notebooks."""
    needs_the_extra()
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    quick = {**os.environ, "RSFT_DOCS_QUICK": "1", "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env=quick, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def fetched(text: str, sheet: bool = False) -> list[str]:
    """Return what a page or a style sheet loads from elsewhere."""
    found = IN_SHEET.findall(text) if sheet else [*SOURCE.findall(text), *SHEET.findall(text)]
    return [place for place in found if re.match(r"(?:https?:)?//", place)]


def test_no_page_of_the_site_fetches_anything(site: Path) -> None:
    pages, sheets = list(site.rglob("*.html")), list(site.rglob("*.css"))
    assert len(pages) > 40
    assert sheets
    assert [(page.name, fetched(page.read_text())) for page in pages if fetched(page.read_text())] == []
    assert [
        (sheet.name, fetched(sheet.read_text(), True)) for sheet in sheets if fetched(sheet.read_text(), True)
    ] == []
    assert fetched('<script src="https://a/b.js">') == ["https://a/b.js"]
    assert fetched("<link rel=stylesheet href=//a/b.css>") == ["//a/b.css"]
    assert fetched("@import 'http://a'", True) == ["http://a"]


def test_every_table_of_the_site_is_one(site: Path) -> None:
    """A table that is broken, as by a comment within it, becomes a paragraph of bars."""
    assert [page.name for page in site.rglob("*.html") if re.search(r"<p>\s*\|", page.read_text())] == []


def test_the_site_has_what_it_needs(site: Path) -> None:
    core = (site / "api" / "core.html").read_text()
    assert "Estimate the density ratio, choose the envelope" in core
    assert (site / "repository" / "SECURITY.html").exists()
    assert 'href="repository/SECURITY.html"' in (site / "commands.html").read_text()
    assert (site / "repository" / "benchmarks" / "pool_size.py").exists()
    assert not list(site.rglob("*.ipynb"))
    readme = (site / "repository" / "index.html").read_text()
    shown = re.findall(r'src(?:set)?="?([^" >]+\.svg)', readme)
    assert len(shown) == 2
    assert all((site / "repository" / path).exists() for path in shown)
    assert not (site / "site_hook.py").exists()


def test_every_public_name_has_its_place_in_the_api() -> None:
    pages = "\n".join(path.read_text() for path in (ROOT / "docs" / "api").glob("*.md"))
    assert set(rsft.__all__) - {name.rpartition(".")[2] for name in re.findall(r"^::: (\S+)$", pages, re.M)} == set()


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "docs" / "tutorials").glob("*.ipynb")))
def test_the_notebook_runs_and_is_kept_without_outputs(name: str) -> None:
    needs_the_extra()
    import nbformat

    hook: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "site_hook.py"))
    path = ROOT / "docs" / "tutorials" / f"{name}.ipynb"
    kept = nbformat.read(path, as_version=4)
    code = [cell for cell in kept.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    page = hook["as_markdown"](hook["run"](path), path.name)
    assert page.count("```python") == len(code)
    told = {"idea": "image/", "faces": "tuned: 0.", "digits": "better than uniform"}
    assert told[name] in page
