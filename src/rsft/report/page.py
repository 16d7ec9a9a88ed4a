"""Pages: a template, its data, and their twin in JSON."""

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from rsft.disk.whole import replace_file
from rsft.report.style import Drawing, colours_in_css
from rsft.types import Interval

REPORT_FILE, TWIN_FILE = "report.html", "report.json"


def write_page(folder: Path, template: str, data: Mapping[str, Any]) -> Path:
    """Write `report.html` and its twin `report.json` into a folder.

    Args:
        folder: The folder.
        template: Name of a file in `templates/`.
        data: What the template needs. Drawings and pictures are not in the twin.

    Returns:
        The path of the page.

    Raises:
        OSError: A file cannot be written.
    """
    # a link at the place of a file is replaced, not followed
    replace_file(folder / TWIN_FILE, json.dumps(_plain(data), indent=1).encode())
    replace_file(folder / REPORT_FILE, render(template, data).encode())
    return folder / REPORT_FILE


def render(template: str, data: Mapping[str, Any]) -> str:
    """Render a page as HTML. The template escapes every text; drawings escape theirs."""
    return _environment().get_template(template).render(data, colours=colours_in_css(), twin=TWIN_FILE)


def duration(seconds: float) -> str:
    """Return a duration in words.

    >>> duration(0.2), duration(75), duration(5707)
    ('0.2 s', '1 min 15 s', '1 h 35 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


@cache
def _environment() -> jinja2.Environment:
    """Return the templates with their filters."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rsft.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": duration,
        "exp": math.exp,
        "difference": lambda value: Interval(**value).signed(),
        "interval": lambda value: str(Interval(**value)),
        "negative": _negative,
        "number": lambda value, digits=3: f"{value:,.{digits}f}",
        "percent": percent,
        "sentence": lambda text: text[:1].upper() + text[1:],
        "signed": lambda value: f"{value:+.3f}",
        "thousands": lambda value: f"{value:,.0f}",
    }
    return environment


def percent(share: float) -> str:
    """Return a share as text.

    >>> percent(0.0567)
    '5.7 %'
    """
    return f"{100 * share:.1f} %"


def _negative(value: dict[str, Any]) -> dict[str, Any]:
    """Return the interval of the negative value."""
    if value["value"] is None:
        return value
    return {**value, "value": -value["value"], "low": -value["high"], "high": -value["low"]}


def _plain(value: Any) -> Any:
    """Return the data of a page as JSON values, without drawings and pictures; what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {
            str(key): _plain(inner)
            for key, inner in value.items()
            if not isinstance(inner, Drawing) and key not in ("figures", "thumbnails", "faces", "sections")
        }
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
