"""The figure of a comparison as a file of its own: every method on every metric."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from rsft.data.reading import read_json
from rsft.disk.whole import replace_file
from rsft.errors import InputError
from rsft.report.shapes.comparison import Comparison
from rsft.report.style import COLOURS, draw_svg, standalone
from rsft.types import PRETRAINED, TUNED

OTHERS = COLOURS[PRETRAINED]


def write_figure(folder: Path, result: str) -> Path:
    """Draw `comparison.svg` from the `comparison.json` in a folder, or `models.svg` from `models.json`.

    Args:
        folder: Output folder of `rsft compare`.
        result: Name of the file with the results.

    Returns:
        The path of the figure.

    Raises:
        InputError: The folder holds no such file, or one of another shape.
        OSError: The figure cannot be written.
    """
    path = folder / result
    if not path.is_file():
        raise InputError(f"'{folder}' holds no {result}: let `rsft compare --out {folder}` finish.")
    found: Comparison = read_json(path, Comparison, "the result of `rsft compare`")
    figure = path.with_suffix(".svg")
    replace_file(figure, comparison_figure(found.model_dump(exclude_unset=True)).encode())
    return figure


def comparison_figure(result: dict[str, Any]) -> str:
    """Draw the value of every method on every metric, with its interval.

    Args:
        result: The content of a `comparison.json` or `models.json`: "metrics", a list of names, and "values", a
            dictionary method or system -> metric -> interval ("value", "low", "high").

    Returns:
        The figure as SVG, with one panel per metric.
    """
    methods = list(result["values"])

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(result["metrics"]), squeeze=False)[0]
        for axes, metric in zip(panels, result["metrics"], strict=True):
            for place, method in enumerate(methods):
                figures = result["values"][method][metric]
                colour = COLOURS[TUNED] if method == "rejection" else COLOURS.get(method, OTHERS)
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

    return standalone(draw_svg(draw, (2.2 + 2.6 * len(result["metrics"]), 0.6 + 0.42 * len(methods))))
