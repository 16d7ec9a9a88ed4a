"""The figure of a comparison."""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from rsft.errors import InputError
from rsft.report.figures import COLOURS, draw_svg

FIGURE_FILE = "comparison.svg"
RESULT_FILE = "comparison.json"
OTHERS = "#6b7280"


def write_figure(folder: Path) -> Path:
    """Draw `comparison.svg` from the `comparison.json` in a folder.

    Raises:
        InputError: there is none.
    """
    path = folder / RESULT_FILE
    if not path.is_file():
        raise InputError(f"'{folder}' holds no {RESULT_FILE}: run `rsft compare --out {folder}` to its end.")
    figure = folder / FIGURE_FILE
    figure.write_text(comparison_figure(json.loads(path.read_text())))
    return figure


def comparison_figure(result: dict[str, Any]) -> str:
    """Every method's value on every metric, with intervals, as SVG."""
    methods = list(result["values"])

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(result["metrics"]), squeeze=False)[0]
        for axes, metric in zip(panels, result["metrics"], strict=True):
            for place, method in enumerate(methods):
                figures = result["values"][method][metric]
                colour = COLOURS["tuned"] if method == "rejection" else COLOURS.get(method, OTHERS)
                if figures["low"] is not None:
                    axes.plot([figures["low"], figures["high"]], [place, place], color=colour, linewidth=2)
                axes.plot(figures["value"], place, "o", color=colour)
                label = f"{figures['value']:.3f}"
                axes.annotate(label, (figures["value"], place), (0, 6), textcoords="offset points", ha="center")
            axes.axvline(result["values"][methods[0]][metric]["value"], color=OTHERS, linewidth=0.8, linestyle=":")
            axes.set_title(metric, loc="left", fontsize=10)
            axes.set_yticks(range(len(methods)), methods if axes is panels[0] else [""] * len(methods))
            axes.set_ylim(len(methods) - 0.5, -0.7)
            axes.grid(axis="y", visible=False)
            axes.locator_params(axis="x", nbins=4)

    return draw_svg(draw, (2.2 + 2.6 * len(result["metrics"]), 0.6 + 0.42 * len(methods)))
