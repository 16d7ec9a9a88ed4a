"""Chromium without a window and without a network, and a page of it for each check."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the tests are also read where Playwright is not installed
    from playwright.sync_api import Browser, BrowserContext, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
IN_A_CONTAINER = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
WIDTHS = (375, 1024, 1600)  # a telephone, a small and a large screen, in CSS pixels
SCHEMES = ("light", "dark")
HEIGHT = 900


def find_chromium() -> str | None:
    """Return the path of a Chromium: `RSFT_CHROMIUM`, or the first on the PATH."""
    return os.environ.get("RSFT_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def launched(path: str) -> Iterator["Browser"]:
    """Start a browser and end it. Within, the thread has a running event loop: `asyncio.run` fails."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=IN_A_CONTAINER)
        try:
            yield browser
        finally:
            browser.close()


def new_context(browser: "Browser", **options: Any) -> "BrowserContext":
    """Return what a new user of the browser has: no cookie, setting or script is left of an earlier page."""
    context = browser.new_context(viewport={"width": WIDTHS[1], "height": HEIGHT}, offline=True, **options)
    context.set_default_timeout(10_000)
    return context


@contextmanager
def opened(context: "BrowserContext", file: Path) -> Iterator["Page"]:
    """Open an HTML file."""
    page = context.new_page()
    try:
        page.goto(file.resolve().as_uri())
        yield page
    finally:
        page.close()


def run_script(page: "Page", name: str, argument: Any = None) -> Any:
    """Call the function `name` of `<name>.js` in a page; it may use what `shared.js` has."""
    shared, own = ((Path(__file__).parent / f"{file}.js").read_text(encoding="utf-8") for file in ("shared", name))
    return page.evaluate(f"(argument) => {{ {shared}\n{own}\nreturn {name}(argument); }}", argument)


def open_details(page: "Page") -> None:
    """Unfold all that is folded away, so that a check sees it."""
    page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
