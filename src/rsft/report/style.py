"""The look of every figure: drawn twice, for wide and for narrow screens, in colours that follow the page."""

import html
import io
import re
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from rsft.report.direction import closed
from rsft.types import PRETRAINED, TUNED, UNIFORM

# name -> colour on a light page and on a dark one; each has a contrast of 3 or more to its page, and text of 4.5
PALETTE = {
    "ink": ("#1f2937", "#e5e7eb"),
    "soft": ("#4b5563", "#9ca3af"),
    "grid": ("#e5e8ec", "#374152"),
    "pool": ("#7c8aa0", "#8593a8"),
    PRETRAINED: ("#6b7281", "#a3abb8"),
    UNIFORM: ("#b45309", "#fbb024"),
    TUNED: ("#0f766e", "#2dd4be"),
    "other": ("#7c3aed", "#a78bfa"),
    "bad": ("#b91c1c", "#f87171"),
}
INK, SOFT, GRID, POOL, OTHER, BAD = (PALETTE[name][0] for name in ("ink", "soft", "grid", "pool", "other", "bad"))
COLOURS = {name: PALETTE[name][0] for name in (PRETRAINED, UNIFORM, TUNED)}
WIDE, NARROW = 7.4, 3.5  # inches
WIDE_LABEL, NARROW_LABEL = 32, 18  # letters
TEXT_SIZE, NARROW_SIZE = 9.5, 8.8  # points
FAINT = "faint"  # id of a mark that need not stand out, such as a grid line; it becomes its class
STYLE: Any = {
    "font.family": "sans-serif",
    "axes.titlesize": "medium",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "rsft",  # makes the output reproducible byte by byte
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name is a name, also with two dollar signs
}
NOT_XML = {code: "\ufffd" for code in range(32) if chr(code) not in "\t\n\r"}
LARGEST = 1e6  # of what is drawn; a ratio, loss or score beyond it is no longer one

# Draws on a figure; the second argument says whether it is the narrow one.
Draw = Callable[[Figure, bool], None]
_VARIABLES = {light: f"var(--{name}, {light})" for name, (light, _) in PALETTE.items()}


@dataclass(frozen=True)
class Drawing:
    """A figure for a page.

    Attributes:
        title: Its name, which a screen reader tells first.
        told: What it shows, in a sentence or two with the figures that matter, for those who do not see it.
        wide: SVG for wide screens.
        narrow: SVG for narrow screens.
    """

    title: str
    told: str
    wide: str
    narrow: str

    def __html__(self) -> str:
        """Return the markup for both widths. The ids of different drawings differ."""
        parts = []
        for name, svg in (("wide", self.wide), ("narrow", self.narrow)):
            label = f"f{zlib.crc32(f'{self.title}{svg}'.encode()):08x}"
            told = f"<title>{html.escape(self.title)}</title><desc>{html.escape(self.told)}</desc>"
            opened = svg.replace("<svg", f'<svg class="{name}" role="img" aria-label="{html.escape(self.title)}. '
                                 f'{html.escape(self.told)}"', 1)  # fmt: skip
            head, _, rest = opened.partition(">")
            parts.append(_with_ids(f"{head}>{told}{rest}", label))
        return "".join(parts)


def drawing(draw: Draw, title: str, told: str, *, height: float, narrow_height: float | None = None) -> Drawing:
    """Draw a figure for both widths.

    Args:
        draw: Function of a matplotlib `Figure` and of whether it is the narrow one.
        title: Its name.
        told: What it shows.
        height: Height of the wide one, in inches.
        narrow_height: Height of the narrow one, by default the same.
    """
    wide = draw_svg(lambda figure: draw(figure, False), (WIDE, height))
    narrow = draw_svg(lambda figure: draw(figure, True), (NARROW, narrow_height or height), text=NARROW_SIZE)
    return Drawing(title, told, wide, narrow)


def draw_svg(draw: Callable[[Figure], None], size: tuple[float, float], text: float = TEXT_SIZE) -> str:
    """Draw a figure and return it as SVG; the same input gives the same bytes.

    The colours of `PALETTE` become variables, so that a page can set others in the dark; alone it has the light ones.

    Args:
        draw: Function that receives a matplotlib `Figure` and draws on it.
        size: Width and height of the figure, in inches.
        text: Size of its text, in points.
    """
    with mpl.rc_context({**STYLE, "font.size": text}), warnings.catch_warnings():
        # matplotlib's font lacks a letter; the text is drawn by the reader's
        warnings.filterwarnings("ignore", "Glyph")
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        for axes in figure.axes:
            for line in (*axes.get_xgridlines(), *axes.get_ygridlines()):
                line.set_gid(FAINT)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    svg = buffer.getvalue().translate(NOT_XML)
    svg = re.sub("|".join(_VARIABLES), lambda found: _VARIABLES[found[0]], svg[svg.index("<svg") :])
    svg = svg.replace(f'id="{FAINT}"', f'class="{FAINT}"')
    for number, clip in enumerate(re.findall(r'<clipPath id="(\w+)"', svg)):
        # matplotlib names a clip by its floating-point place, whose last digit varies from run to run
        svg = svg.replace(clip, f"clip{number}")
    return re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)


def standalone(svg: str) -> str:
    """Return an SVG of `draw_svg` as a file of its own, whose colours follow a light or a dark page around it."""
    css = colours_in_css()
    style = f"svg {{ {css['light']} }} @media (prefers-color-scheme: dark) {{ svg {{ {css['dark']} }} }}"
    head, _, rest = svg.partition(">")
    return f"{head}><style>{style}</style>{rest}"


def drawable(values: Sequence[float | None] | np.ndarray) -> np.ndarray:
    """Return numbers as an array (n,) float64, NaN in place of what no axis can hold."""
    numbers = np.array([np.nan if value is None else value for value in values], float)
    return np.where(np.abs(numbers) <= LARGEST, numbers, np.nan)


def short(text: str, *, narrow: bool = False) -> str:
    """Return a label that a figure has room for; the page around it has the whole.

    >>> short("a"), short("a" * 40, narrow=True)
    ('a', 'aaaaaaaaaaaaaaaaa…')
    """
    room = NARROW_LABEL if narrow else WIDE_LABEL
    if len(text) <= room:
        return text
    return f"{closed(text[: room - 1])}…"


def colour_of(name: str) -> str:
    """Return the colour of a system."""
    return COLOURS.get(name, OTHER)


def colours_in_css() -> dict[str, str]:
    """Return the variables of a page: "light" and "dark" -> declarations."""
    return {
        scheme: " ".join(f"--{name}: {both[place]};" for name, both in PALETTE.items())
        for place, scheme in enumerate(("light", "dark"))
    }


def _with_ids(svg: str, label: str) -> str:
    """Put a label before every id of an SVG and before every use of one."""
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{label}-", svg)
