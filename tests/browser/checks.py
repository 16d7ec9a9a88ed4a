"""What holds of every page that rsft writes. Each check takes an open page and returns its findings, as sentences."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from browsing import HEIGHT, SCHEMES, WIDTHS, new_context, open_details, opened, run_script

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page

Check = Callable[["Page"], list[str]]
PAPER = (718, 1047)  # A4 within margins of 10 mm, in CSS pixels
MOST_STOPS = 500  # of the Tab key
USE = """() => {
  const event = (kind) => new MouseEvent(kind, {bubbles: true, cancelable: true});
  const hover = ["mouseover", "mouseenter", "mousemove", "mouseout", "mouseleave"];
  for (const one of document.querySelectorAll("button, [role=button], th")) one.dispatchEvent(event("click"));
  for (const one of document.querySelectorAll("svg, svg *")) {
    for (const kind of hover) one.dispatchEvent(event(kind));
  }
  for (const one of document.querySelectorAll("input, select")) {
    if (one.type === "checkbox") one.click();
    else if (one.matches("input")) one.value = "a";
    for (const kind of ["input", "change"]) one.dispatchEvent(new Event(kind, {bubbles: true}));
  }
}"""
HEAR_CLICKS = """(() => {
  window.rsftClicked = [];
  const add = EventTarget.prototype.addEventListener;
  EventTarget.prototype.addEventListener = function (kind, ...rest) {
    if (kind === "click" && this instanceof Element && this !== document.body) window.rsftClicked.push(this);
    return add.call(this, kind, ...rest);
  };
})()"""
SHOW_PICTURES = """() => Promise.all([...document.images].map((one) => {
  one.loading = "eager";
  return one.decode().catch(() => null);
}))"""
WORDS = """() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const one = node.parentElement, extra = one.closest("button, select, label, output, noscript, script, style");
    if (node.data.trim() && !extra && one.checkVisibility({visibilityProperty: true})) found.push(node.data.trim());
  }
  return found;
}"""
LOST_ON_PAPER = """(height) => [
  ...[...document.querySelectorAll("details:not([open])")].filter((one) =>
    [...one.children].some((child) => child.tagName !== "SUMMARY" && !child.checkVisibility()))
    .map((one) => `what is folded under "${one.firstElementChild.textContent.trim().slice(0, 40)}" is not printed`),
  ...[...document.querySelectorAll("svg, img")].filter((one) => one.getBoundingClientRect().height > height)
    .map((one) => `a figure is ${Math.round(one.getBoundingClientRect().height)} px high, a sheet ${height} px`),
]"""


def check_console(page: "Page") -> list[str]:
    """No error and no warning, when the page is opened and when its controls are used."""
    found: list[str] = []

    def note(message: "ConsoleMessage") -> None:
        if message.type in ("error", "warning"):
            found.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: found.append(str(error)))
    page.reload()
    open_details(page)
    page.evaluate(USE)
    page.evaluate("() => new Promise(requestAnimationFrame)")
    return found


def check_requests(page: "Page") -> list[str]:
    """Nothing is asked for but the page itself."""
    asked: list[str] = []
    itself = page.url.split("#")[0]

    def note(url: str) -> None:
        if not url.startswith(("data:", "blob:", "about:")) and url.split("#")[0] != itself:
            asked.append(f"the page asks for {url[:100]}")

    page.on("request", lambda request: note(request.url))
    page.on("websocket", lambda socket: note(socket.url))
    page.reload()
    open_details(page)
    page.evaluate(USE)
    page.evaluate("() => document.querySelectorAll('[loading=lazy]').forEach((one) => { one.loading = 'eager'; })")
    page.wait_for_load_state("networkidle") if asked else page.evaluate("() => new Promise(requestAnimationFrame)")
    hints = page.evaluate(
        "() => [...document.querySelectorAll('link[href]')].filter((one) => !one.href.startsWith('data:'))"
        ".map((one) => `a link names ${one.href.slice(0, 100)}`)"
    )
    return [*asked, *hints]


def check_without_scripts(page: "Page") -> list[str]:
    """With JavaScript off, the same words are seen, and all that is folded away can be unfolded with a click."""
    from playwright.sync_api import Error

    browser, file = page.context.browser, Path(page.evaluate("() => decodeURIComponent(location.pathname)"))
    assert browser is not None
    found = []
    with new_context(browser, java_script_enabled=False) as context, opened(context, file) as plain:
        for summary in plain.locator("summary").all():
            details = summary.locator("..")
            if details.get_attribute("open") is None:
                with suppress(Error):  # something lies over it
                    summary.click(timeout=1000)
                if details.get_attribute("open") is None:
                    found.append(f"a click does not unfold {summary.inner_text()}")
        open_details(page)
        with_scripts, without = (Counter(one.evaluate(WORDS)) for one in (page, plain))
    found += [f"only with scripts: {words[:60]}" for words in with_scripts - without]
    return found + [f"only without scripts: {words[:60]}" for words in without - with_scripts]


def check_layout(page: "Page") -> list[str]:
    """At every width and in both schemes, nothing overflows, is cut off, or lies over something else."""
    open_details(page)
    found = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # a literal for mypy
            found += [f"{width} px, {scheme}: {one}" for one in run_script(page, "layout")]
    return found


def check_accessibility(page: "Page") -> list[str]:
    """The rules of axe-core find nothing serious, in both schemes and on a narrow screen; contrast is among them."""
    from axe_playwright_python.sync_playwright import Axe

    open_details(page)
    found = []
    for width, scheme in ((1024, "light"), (1024, "dark"), (375, "light")):
        page.set_viewport_size({"width": width, "height": HEIGHT})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # as above
        results = Axe().run(page, options={"resultTypes": ["violations"], "preload": False})
        for violation in results.response["violations"]:
            if violation["impact"] in ("serious", "critical"):
                found += [f"{width} px, {scheme}: {violation['id']}: {_told(node)}" for node in violation["nodes"]]
    return found


def _told(node: dict[str, Any]) -> str:
    """Return where a rule of axe is broken and, of a contrast, how."""
    data = [one["data"] for one in node["any"] if isinstance(one["data"], dict) and "contrastRatio" in one["data"]]
    contrast = [f" ({one['fgColor']} on {one['bgColor']}: {one['contrastRatio']})" for one in data]
    return node["html"][:100].replace("\n", " ") + "".join(contrast)


def check_colours(page: "Page") -> list[str]:
    """Texts, lines and marks of figures, which axe does not judge, stand out in both schemes."""
    open_details(page)
    found = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # as above
        found += [f"{scheme}: {one}" for one in run_script(page, "colours", scheme)]
    return found


def check_structure(page: "Page") -> list[str]:
    """Headings are in order, tables and figures have names, and every figure and picture is drawn."""
    open_details(page)
    page.evaluate(SHOW_PICTURES)
    found: list[str] = run_script(page, "structure")
    return found


def check_keyboard(page: "Page") -> list[str]:
    """The Tab key reaches all that can be used, in order, and it is seen where one is."""
    page.add_init_script(HEAR_CLICKS)
    page.reload()
    open_details(page)
    run_script(page, "keyboard", None)
    visited: list[dict[str, Any]] = []
    while len(visited) < MOST_STOPS:
        page.keyboard.press("Tab")
        stop = _stop(page)
        if stop is None:
            break
        visited.append(stop)
    found: list[str] = run_script(page, "keyboard", visited)
    return found


def _stop(page: "Page") -> dict[str, Any] | None:
    """Return what has the focus, None at the end of the page."""
    stop: dict[str, Any] | None = run_script(page, "keyboard", "here")
    return stop


def check_paper(page: "Page") -> list[str]:
    """Printed, nothing overflows, is cut or lost, and texts are dark: printers leave backgrounds out."""
    page.emulate_media(media="print", color_scheme="light")  # a browser prints in the light scheme
    page.set_viewport_size({"width": PAPER[0], "height": PAPER[1]})
    lost = page.evaluate(LOST_ON_PAPER, PAPER[1])
    found: list[str] = [*lost, *run_script(page, "layout"), *run_script(page, "colours", "paper")]
    return found


CHECKS: dict[str, Check] = {
    "console": check_console,
    "requests": check_requests,
    "without scripts": check_without_scripts,
    "layout": check_layout,
    "accessibility": check_accessibility,
    "colours": check_colours,
    "structure": check_structure,
    "keyboard": check_keyboard,
    "paper": check_paper,
}


def check_names(page: "Page", shown: Sequence[str] = ()) -> list[str]:
    """No name from outside is executed or becomes an element, and each of `shown` is read as it is.

    Names that are to be tried set `window.executed` where they are executed.
    """
    found: list[str] = []

    def refuse(dialog: Any) -> None:
        found.append(f"a name opened a dialog: {dialog.message}")
        dialog.dismiss()

    page.on("dialog", refuse)
    page.reload()
    open_details(page)
    page.evaluate(USE)
    told: list[str] = run_script(page, "names", list(shown))
    return found + told
