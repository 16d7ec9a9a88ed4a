"""The browser of the tests in this folder."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from browsing import find_chromium, launched

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")  # not longer: while it runs, no test of other folders can run a loop of its own
def browser() -> Iterator["Browser"]:
    """A Chromium, or the reason why there is none."""
    pytest.importorskip("playwright", reason="Playwright is not installed: it is part of the extra 'dev'")
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed: it is part of 'dev'")
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium on the PATH: install Debian's chromium, or name one in RSFT_CHROMIUM")
    with launched(path) as browser:
        yield browser
