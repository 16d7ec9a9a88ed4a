"""Pictures of HTML files at every width, light and dark, and as PDF: `python tests/browser/shots.py PAGE... FOLDER`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from browsing import HEIGHT, SCHEMES, WIDTHS, find_chromium, launched, new_context, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def shoot(browser: "Browser", file: Path, folder: Path) -> None:
    """Write `<name>-<width>-<scheme>.png` of the whole page, and `<name>.pdf`; files of these names are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    with new_context(browser) as context, opened(context, file) as page:
        page.pdf(path=folder / f"{file.stem}.pdf", format="A4")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": HEIGHT})
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # a literal for mypy
                page.screenshot(path=folder / f"{file.stem}-{width}-{scheme}.png", full_page=True)


def main(files: list[str], folder: str) -> None:
    path = find_chromium()
    if path is None:
        raise SystemExit("no Chromium on the PATH: install Debian's chromium, or name one in RSFT_CHROMIUM")
    with launched(path) as browser:
        for file in files:
            shoot(browser, Path(file), Path(folder))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    main(sys.argv[1:-1], sys.argv[-1])
