"""The pages that rsft writes, in a browser. A page that joins `PAGES` is put to every check."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w
from browsing import new_context, opened
from checks import CHECKS, check_names
from hostile_names import HOSTILE
from PIL import Image
from small_run import COMPARISON, errors, evaluation, metrics, plan, write_run

from rsft.report.kinds import write_report
from rsft.report.runs_page import write_runs_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

COPIES = 4  # of a list of one entry, so that there is a place for every name


def report(folder: Path) -> Path:
    """Write the report of a run."""
    return write_report(with_picture(write_run(folder / "run")))


def planned(folder: Path) -> Path:
    """Write the page of a plan."""
    (folder / "plan.json").write_text(json.dumps(plan()))
    return write_report(folder)


def compared(folder: Path) -> Path:
    """Write the page of a comparison."""
    (folder / "comparison.json").write_text(json.dumps(COMPARISON))
    return write_report(folder)


def evaluated(folder: Path) -> Path:
    """Write the page of an evaluation."""
    (folder / "evaluation.json").write_text(json.dumps(evaluation()))
    return write_report(folder)


def several(folder: Path) -> Path:
    """Write the page of two runs."""
    return write_runs_page([write_run(folder / name) for name in ("one", "another")], folder)


def hostile_plan(folder: Path) -> Path:
    """Write the page of a plan whose texts are hostile."""
    (folder / "plan.json").write_text(json.dumps(renamed(plan(), iter(HOSTILE * 100))))
    return write_report(folder)


def hostile_report(folder: Path) -> Path:
    """Write the report of a run in whose files every text is hostile, but for what must name an entry."""
    run = with_picture(write_run(folder / "run"))
    names = iter(HOSTILE * 100)
    (run / "metrics.json").write_text(json.dumps(renamed(metrics(), names)))
    (run / "errors.json").write_text(json.dumps(renamed(errors(), names)))
    (run / "plan.json").write_text(json.dumps(renamed(plan(), names)))
    settings = {f"setting{place}": name for place, name in enumerate(HOSTILE)}
    (run / "config.toml").write_bytes(tomli_w.dumps(settings).encode())
    return write_report(run)


def renamed(value: Any, names: Any, key: str = "") -> Any:
    """Return a JSON value with the next of `names` in place of each of its texts."""
    if isinstance(value, dict):
        return {inner: renamed(one, names, inner) for inner, one in value.items()}
    if isinstance(value, list):
        return [renamed(one, names) for one in (value * COPIES if len(value) == 1 else value)]
    return (
        next(names) if isinstance(value, str) and key not in ("headline_fmr", "outcome", "rule", "version") else value
    )


def with_picture(run: Path) -> Path:
    """Put a picture that can be shown in the place of a thumbnail that cannot."""
    Image.new("RGB", (72, 72), "#777777").save(run / "thumbnails" / "accepted-00.jpg")
    return run


# name of a page -> what writes it into a folder and returns its path
PAGES: dict[str, Callable[[Path], Path]] = {
    "report": report,
    "plan": planned,
    "comparison": compared,
    "evaluation": evaluated,
    "runs": several,
}
# the same for pages whose names come from somebody else; each of `HOSTILE` stands in them
HOSTILE_PAGES: dict[str, Callable[[Path], Path]] = {"report": hostile_report, "plan": hostile_plan}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[Path], Path]], Path]:
    """A function that writes a page once and returns its path."""
    paths: dict[Callable[[Path], Path], Path] = {}

    def once(write: Callable[[Path], Path]) -> Path:
        if write not in paths:
            paths[write] = write(tmp_path_factory.mktemp("page"))
        return paths[write]

    return once


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("page", PAGES)
def test_a_page(browser: "Browser", written: Callable[..., Path], page: str, check: str) -> None:
    with new_context(browser) as context, opened(context, written(PAGES[page])) as shown:
        found = CHECKS[check](shown)
    assert not found, listed(found)


@pytest.mark.parametrize("page", HOSTILE_PAGES)
def test_hostile_names_are_text(browser: "Browser", written: Callable[..., Path], page: str) -> None:
    with new_context(browser) as context, opened(context, written(HOSTILE_PAGES[page])) as shown:
        found = check_names(shown, HOSTILE)
    assert not found, listed(found)


@pytest.mark.parametrize("page", HOSTILE_PAGES)
@pytest.mark.parametrize("check", ["console", "requests", "layout", "paper"])
def test_hostile_names_do_not_break_a_page(
    browser: "Browser", written: Callable[..., Path], page: str, check: str
) -> None:
    with new_context(browser) as context, opened(context, written(HOSTILE_PAGES[page])) as shown:
        found = CHECKS[check](shown)
    assert not found, listed(found)


def listed(found: list[str]) -> str:
    """Return findings one a line, the first fifty."""
    return "\n".join([f"{len(found)} findings", *found[:50]])
