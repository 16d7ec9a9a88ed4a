"""The detection error trade-off (DET): FNMR over FMR."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from rsft.report.style import FAINT, Drawing, colour_of, drawable, drawing, short


def det_figure(
    curves: Mapping[str, Mapping[str, Any]], title: str = "DET", colours: Mapping[str, str] | None = None
) -> Drawing:
    """Draw the false non-match rate (FNMR) of every system over the FMR, where both are above 0, on log scales.

    Args:
        curves: Name of a system -> its curve: "fmr" and "fnmr", lists of equal length, and perhaps "low" and "high",
            the ends of the interval of the FNMR.
        title: Name of the figure.
        colours: Name of a system -> its colour, by default `colour_of`.
    """
    chosen = {name: (colours or {}).get(name, colour_of(name)) for name in curves}

    def draw(figure: Figure, narrow: bool) -> None:
        axes, points = figure.subplots(), list[float]()
        for name, curve in curves.items():
            fmr, fnmr = drawable(curve["fmr"]), drawable(curve["fnmr"])
            shown = (fmr > 0) & (fnmr > 0)
            points += fnmr[shown].tolist()
            axes.plot(fmr[shown], fnmr[shown], color=chosen[name], linewidth=1.8, label=short(name, narrow=narrow))
            if "low" in curve:
                low, high = (drawable(curve[end])[shown] for end in ("low", "high"))
                lowest = np.maximum(low, fnmr[shown] / 100)  # a log scale has no 0
                axes.fill_between(fmr[shown], lowest, high, color=chosen[name], alpha=0.16, linewidth=0, gid=FAINT)
        if points:  # a log scale needs one
            axes.set(xscale="log", yscale="log")
            axes.set_ylim(min(points) / 2)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("FMR: strangers taken for the same person")
        axes.set_ylabel("FNMR: people not recognised")
        figure.legend(loc="outside upper center", ncols=2 if narrow else 4)

    told = " ".join(_in_words(name, curve) for name, curve in curves.items())
    return drawing(draw, title, told, height=3.6, narrow_height=3.3)


def _in_words(name: str, curve: Mapping[str, Any]) -> str:
    """Return the ends of a curve as a sentence."""
    if not curve["fmr"]:
        return f"{name}: no point."
    ends = (f"FNMR {curve['fnmr'][end]:.3f} at FMR {curve['fmr'][end]:.2g}" for end in (0, -1))
    return f"{name}: {' and '.join(ends)}."
