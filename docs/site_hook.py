"""Besides what mkdocs does: run the notebooks, and take in the files outside docs/ that pages link to.

A notebook `tutorials/NAME.ipynb` becomes the page `tutorials/NAME.md`, with what its cells gave when they were run for
this site; where RSFT_DOCS_QUICK is set, without. A link to a file of the repository outside docs/ leads to a copy of
that file in the site; one that is Markdown becomes a page.
"""

import base64
import os
import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
SHOWN = re.compile(r'(\bsrc(?:set)?=")([^":#]+)(")')  # a picture in HTML
OUTSIDE = "repository"  # folder of the site with what lies outside docs/
MAX_SECONDS = 300  # of a cell, on a busy machine


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put a page in the place of each notebook, and add the files outside docs/ that pages link to."""
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            files.remove(file)
            path = Path(file.abs_src_path or "")
            notebook = nbformat.read(path, as_version=4) if "RSFT_DOCS_QUICK" in os.environ else run(path)
            content = as_markdown(notebook, path.name)
            files.append(File.generated(config, file.src_uri.replace(".ipynb", ".md"), content=content))
    texts = [(file.src_uri, file.content_string) for file in files.documentation_pages()]
    while texts:  # pages from outside may link to further files
        uri, text = texts.pop()
        for _, target, _ in LINK.findall(text):
            path = _outside(uri, target)
            if path and not files.get_file_from_path(f"{OUTSIDE}/{path}"):
                told = f"{OUTSIDE}/{path}"
                content = (ROOT / path).read_text(encoding="utf-8")
                files.append(File.generated(config, told, content=content, inclusion=InclusionLevel.NOT_IN_NAV))
                if path.endswith(".md"):
                    texts.append((told, content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to notebooks and to files outside docs/ into links to what the site has for them."""
    for pattern in (LINK, SHOWN):
        markdown = pattern.sub(lambda match: match[1] + _in_site(page.file.src_uri, match[2]) + match[3], markdown)
    return markdown


def _outside(uri: str, target: str) -> str | None:
    """Return the path in the repository of what a page links to, if that is a file outside docs/."""
    path = _in_repository(uri, target)
    return path if not path.startswith("docs/") and (ROOT / path).is_file() else None


def _in_repository(uri: str, target: str) -> str:
    """Return the path in the repository of what a page of the site links to."""
    source = uri.removeprefix(f"{OUTSIDE}/") if uri.startswith(f"{OUTSIDE}/") else f"docs/{uri}"
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))


def _in_site(uri: str, target: str) -> str:
    """Return a link of a page as the site has it."""
    path = _in_repository(uri, target)
    if path.startswith("docs/"):
        place = path.removeprefix("docs/").replace(".ipynb", ".md")
    elif (ROOT / path).is_file():
        place = f"{OUTSIDE}/{path}"
    else:
        return target
    return posixpath.relpath(place, posixpath.dirname(uri) or ".")


def run(path: Path) -> nbformat.NotebookNode:
    """Run a notebook from the folder it lies in, and return it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=MAX_SECONDS, resources={"metadata": {"path": str(path.parent)}})
    try:
        return client.execute()
    except CellExecutionError as error:
        raise PluginError(f"{path.name} does not run: {error}") from error


def as_markdown(notebook: nbformat.NotebookNode, name: str) -> str:
    """Return a notebook that was run as a page."""
    parts = []
    for cell in notebook.cells:
        parts.append(cell.source if cell.cell_type == "markdown" else _fenced("python", cell.source))
        parts += [_output(output) for output in cell.get("outputs", [])]
    parts.append(f"*This page is the notebook `docs/tutorials/{name}`, run when the site was built.*")
    return "\n\n".join(part for part in parts if part) + "\n"


def _output(output: Any) -> str:
    """Return one output of a cell as Markdown."""
    if output.output_type == "stream":
        return _fenced("text", output.text.rstrip()) if output.name == "stdout" else ""
    data = output.get("data", {})
    shown: dict[str, Callable[[str], str]] = {
        "image/svg+xml": lambda svg: _picture("svg+xml", base64.b64encode(svg.encode()).decode()),
        "image/png": lambda png: _picture("png", png.replace("\n", "")),
        "text/plain": lambda text: _fenced("text", text),
    }
    return next((show(data[kind]) for kind, show in shown.items() if kind in data), "")


def _picture(kind: str, content: str) -> str:
    return f'<img alt="The figure that the cell above draws" src="data:image/{kind};base64,{content}">'


def _fenced(kind: str, text: str) -> str:
    return f"```{kind}\n{text}\n```"
