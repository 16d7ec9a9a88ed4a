"""Each check passes a page without fault, and fails it with one fault in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import SCHEMES, WIDTHS, new_context, opened
from checks import CHECKS, check_names
from shots import shoot

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

GOOD = Path(__file__).parent / "good_page.html"
END, SVG_END, TABLE = "</main>", "</svg>", "<table>"
LISTEN = "addEventListener"
# check, what of the good page is replaced, by what, what is found
FAULTS = [
    ("console", END, "<script>console.error('spilled')</script></main>", "spilled"),
    ("console", END, "<script>console.warn('spilled')</script></main>", "spilled"),
    ("console", END, "<script>null.x</script></main>", "Cannot read properties"),
    ("console", 'dataset.sorted = "yes"', "x.y = 1", "Cannot set properties"),
    ("console", "M40 90L290 20", "M40 90LNaN 20", "attribute d"),
    ("requests", END, "<img alt='x' src='https://example.org/x.png'></main>", "https://example.org/x.png"),
    ("requests", END, "<img alt='x' src='beside.png'></main>", "beside.png"),
    ("requests", END, "<script>fetch('https://example.org/count')</script></main>", "https://example.org/count"),
    ("requests", "</style>", "h1 { background: url(https://example.org/y.png) }</style>", "https://example.org/y.png"),
    ("requests", "<title>", "<link rel=preconnect href=https://example.org><title>", "a link names https://example.org"),
    ("without scripts", END, "<script>document.write('<p>more')</script></main>", "only with scripts: more"),
    ("without scripts", END, "<p id=x>less</p><script>x.hidden = true</script></main>", "only without scripts: less"),
    ("without scripts", "<summary>", "<summary style='pointer-events: none'>", "does not unfold"),
    ("layout", "<h2>A table", "<div style='width: 500px'>x</div><h2>A table", "375 px, light: the document is"),
    ("layout", "<h2>A table", "<p style='white-space: nowrap'>" + "word " * 80 + "<h2>A table", "the document is"),
    ("layout", TABLE, "<div style='overflow: auto'><p style='width: 90rem'>x</p></div><table>", "in a box of"),
    ("layout", END, "<p style='overflow: hidden; width: 3rem; white-space: nowrap'>cut words</p></main>", "is cut off"),
    ("layout", END, "<p style='overflow: hidden; height: .6rem'>cut words</p></main>", "is cut off"),
    ("layout", END, "<p style='margin-left: -3rem'>too far left</p></main>", "begins outside"),
    ("layout", END, "<p style='margin-top: -2.2rem'>over another</p></main>", "lie over each other"),
    ("layout", 'x="260"', 'x="60"', '"start" and "end" lie over each other'),
    ("layout", 'x="260"', 'x="290"', '"end" is cut off'),
    ("layout", 'x="40" y="112"', 'x="60" y="86"', "a line runs through"),
    ("layout", "M40 90L", "M4 54L30 54L40 90L", "a line runs through"),
    ("layout", SVG_END, '<rect x="50" y="100" width="40" height="20" fill="#777"/></svg>', "is painted over"),
    ("layout", '<text x="40"', '<rect x="50" y="100" width="40" height="20" fill="#777"/><text x="40"', "lies half on"),
    ("layout", "font: 12px", "font: 6px", "has text of"),
    ("layout", SVG_END, '<circle cx="299" cy="60" r="6" fill="#777"/></svg>', "circle is cut off"),
    ("accessibility", "--ink: #111827", "--ink: #bbbbbb", "1024 px, light: color-contrast"),
    ("accessibility", "--ink: #f3f4f6", "--ink: #333333", "1024 px, dark: color-contrast"),
    ("accessibility", 'alt="a point"', "", "image-alt"),
    ("accessibility", ">sort<", "><", "button-name"),
    ("accessibility", '<html lang="en">', "<html>", "html-has-lang"),
    ("colours", "svg text { fill: var(--ink)", "svg text { fill: #000000", "dark: #000000 on #111827"),
    ("colours", "svg text { fill: var(--ink)", "svg text { fill: #999999", "light: #999999 on #ffffff"),
    ("colours", "--paper: #111827", "--paper: #eeeeee", "dark: the page stays light"),
    ("colours", "stroke: var(--line)", "stroke: #111827", "dark: figure 1"),
    ("colours", "stroke: var(--grid)", "stroke: var(--paper)", "contrast 1.0"),
    ("colours", '<path class="line"', '<circle cx="60" cy="30" r="8" fill="#e5e7eb"/><path class="line"', "circle"),
    ("structure", "<h2>A figure", "<h4>A figure", "follows h1"),
    ("structure", "h1>", "h2>", "the page has 0 h1"),
    ("structure", "h2>A table</h2", "h1>A table</h1", "the page has 2 h1"),
    ("structure", "<caption>Two numbers</caption>", "", "neither caption nor label"),
    ("structure", '<th scope="col">value', "<th>value", "th without scope"),
    ("structure", ' role="img"', "", "no role=img"),
    ("structure", ' aria-label="A line that rises"', "", "no role=img with a label"),
    ("structure", "svg { width: 100%", "svg { width: 0", "px large"),
    ("structure", "<path", "<g", "has no mark"),
    ("structure", "R0lGOD", "AAAAAA", "shows no picture"),
    ("structure", 'alt="a point"', 'alt=""', "has no alt"),
    ("structure", "#end", "#start", "leads to #start"),
    ("structure", "<details>", '<details id="end">', "id end stands more than once"),
    ("keyboard", "</style>", ":focus { outline: none }</style>", "nothing shows that"),
    ("keyboard", "<button ", "<button tabindex='3' ", "Tab reaches"),
    ("keyboard", "<button type=\"button\">sort</button>", "<i onclick='1'>sort</i><button></button>", "no keys"),
    ("keyboard", "<table>", f"<table id=t><script>t.{LISTEN}('click', () => 1)</script>", "no keys"),
    ("keyboard", "<script>", f"<script>{LISTEN}('keydown', (e) => e.target.href && e.preventDefault());", "Tab does"),
    ("keyboard", "<button ", "<button style='position: fixed; left: -99px' ", "out of sight"),
    ("paper", "@media print", "@media none", "is not printed"),
    ("paper", " print-color-adjust: exact;", "", "#ffffff on #ffffff"),
    ("paper", "<h2>A table", "<div style='width: 800px'>x</div><h2>A table", "the document is"),
    ("paper", "</style>", "svg { height: 1200px; }</style>", "a sheet"),
]  # fmt: skip
HOSTILE_FAULTS = [
    ("<bdi>Ann</bdi>", "<bdi>Ann<script>window.executed = 1</script></bdi>", "executed"),
    ("<bdi>Ann</bdi>", "Ann<img src=data:x alt=x onerror=alert(1)>", "opened a dialog"),
    ('aria-label="A line', 'onload="1" aria-label="A line', "has onload"),
    ("#end", "javascript:1", "has href"),
    ("<bdi>Ann</bdi>", "\u202eAnn", "turns the text after it"),
    ("<bdi>Ann</bdi>", "<bdi>An&lt;n</bdi>", 'does not show "Ann"'),
]


@pytest.fixture(scope="module")
def context(browser: "Browser") -> Iterator["BrowserContext"]:
    """One for all these pages, which need no memory kept apart: a new one takes as long as a test."""
    with new_context(browser) as context:
        yield context


@pytest.mark.parametrize("name", CHECKS)
def test_a_page_without_fault_passes(context: "BrowserContext", name: str) -> None:
    with opened(context, GOOD) as page:
        assert CHECKS[name](page) == []


@pytest.mark.parametrize("name", ["Ann", "\u202eAnn", "{{7*7}}"])
def test_a_name_that_is_shown_as_text_passes(context: "BrowserContext", tmp_path: Path, name: str) -> None:
    with opened(context, spoilt(tmp_path, "<bdi>Ann</bdi>", f"<bdi>{name}</bdi>")) as page:
        assert check_names(page, [name]) == []


def spoilt(folder: Path, old: str, new: str) -> Path:
    """Write the good page with one thing replaced."""
    text = GOOD.read_text(encoding="utf-8")
    assert old in text
    path = folder / "page.html"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


@pytest.mark.parametrize(("name", "old", "new", "finding"), FAULTS)
def test_a_check_finds_the_fault(
    context: "BrowserContext", tmp_path: Path, name: str, old: str, new: str, finding: str
) -> None:
    with opened(context, spoilt(tmp_path, old, new)) as page:
        found = CHECKS[name](page)
    assert any(finding in one for one in found), found


@pytest.mark.parametrize(("old", "new", "finding"), HOSTILE_FAULTS)
def test_a_name_that_is_more_than_text_is_found(
    context: "BrowserContext", tmp_path: Path, old: str, new: str, finding: str
) -> None:
    with opened(context, spoilt(tmp_path, old, new)) as page:
        found = check_names(page, ["Ann"])
    assert any(finding in one for one in found), found


def test_shots_of_every_width_and_scheme(browser: "Browser", tmp_path: Path) -> None:
    shoot(browser, GOOD, tmp_path / "shots")
    names = {path.name for path in (tmp_path / "shots").iterdir()}
    assert names == {f"good_page-{width}-{scheme}.png" for width in WIDTHS for scheme in SCHEMES} | {"good_page.pdf"}
