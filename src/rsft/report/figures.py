"""The figures of the report page, as inline SVG."""

import io
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from rsft.types import PRETRAINED, TUNED, UNIFORM

COLOURS = {PRETRAINED: "#6b7280", UNIFORM: "#d97706", TUNED: "#0f766e"}
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "axes.axisbelow": True,
    "svg.hashsalt": "rsft",  # makes the output reproducible byte by byte
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name is a name, also with two dollar signs
}
NOT_XML = {code: "\ufffd" for code in range(32) if chr(code) not in "\t\n\r"}
LARGEST = 1e6  # of what is drawn; a ratio, loss or score beyond it is no longer one


def tar_figure(systems: dict[str, dict[str, Any]], sets: dict[str, str], fmr: str) -> str:
    """Draw the true accept rate (TAR) of every system on every set at one false match rate (FMR), with intervals.

    Args:
        systems: Name of a system -> its metrics, as `metrics.json` holds them.
        sets: Key of an evaluation set in the metrics -> its label in the figure.
        fmr: The FMR, a key of "tar_at_fmr".

    Returns:
        The figure as SVG.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place, (name, metrics) in enumerate(systems.items()):
            for column, key in enumerate(sets):
                tar = metrics[key]["tar_at_fmr"][fmr]
                if tar["value"] is None:
                    continue
                x = column + 0.16 * (place - (len(systems) - 1) / 2)
                label = name if column == 0 else None
                axes.plot([x, x], _drawable([tar["low"], tar["high"]]), marker="_", markersize=8, color=_colour(name))
                axes.plot(x, _drawable([tar["value"]]), "o", color=_colour(name), label=label)
                axes.annotate(f"{tar['value']:.3f}", (x, tar["value"]), (7, 0), textcoords="offset points", va="center")
        axes.set_xticks(range(len(sets)), list(sets.values()))
        axes.set_xlim(-0.5, len(sets) - 0.5)
        axes.set_ylabel(f"TAR at FMR {fmr}")
        axes.grid(axis="x", visible=False)
        axes.legend(frameon=False, loc="best")

    return draw_svg(draw, (6.4, 3.4))


def det_figure(curves: dict[str, dict[str, list[float]]]) -> str:
    """Draw the false non-match rate (FNMR) of every system over the FMR, where both are above 0, on log scales.

    Args:
        curves: Name of a system -> its curve: "fmr" and "fnmr", lists of equal length.

    Returns:
        The figure as SVG.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, curve in curves.items():
            fmr, fnmr = np.array(curve["fmr"]), np.array(curve["fnmr"])
            shown = (fmr > 0) & (fnmr > 0)
            axes.plot(fmr[shown], fnmr[shown], color=_colour(name), label=name)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("FMR")
        axes.set_ylabel("FNMR")
        axes.legend(frameon=False, loc="best")

    return draw_svg(draw, (6.4, 4.2))


def ratio_figure(items: dict[str, np.ndarray], log_m: float) -> str:
    """Draw a histogram of the log density ratio of the pool, its accepted part, and the envelope.

    Args:
        items: Columns of `accepted.parquet`: "log_ratio" and "acceptance", (N,) float64.
        log_m: Logarithm of the envelope constant M.

    Returns:
        The figure as SVG.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        log_ratio, acceptance = _drawable(items["log_ratio"]), _drawable(items["acceptance"])
        finite = np.isfinite(log_ratio) & np.isfinite(acceptance)
        ends = [*log_ratio[finite], log_m]
        bins = np.linspace(min(ends), max(ends), 60).tolist()
        axes.hist(log_ratio[finite], bins, color="#cbd5e1", label="pool")
        axes.hist(log_ratio[finite], bins, weights=acceptance[finite], color=COLOURS[TUNED], label="accepted per epoch")
        axes.axvline(log_m, color="#b91c1c", linewidth=1.2)
        axes.annotate("log M", (log_m, 1), (4, -4), xycoords=("data", "axes fraction"), textcoords="offset points",
                      color="#b91c1c", va="top")  # fmt: skip
        axes.set_yscale("symlog", linthresh=10)
        axes.set_xlabel("log target - log pool")
        axes.set_ylabel("items")
        axes.legend(frameon=False, loc="upper left")

    return draw_svg(draw, (6.4, 3.0))


def path_figure(path: list[dict[str, float]], chosen: float) -> str:
    """Draw the validation scores along the line from the pretrained to the tuned weights.

    Args:
        path: Points of the line: "share" of the tuned weights in [0, 1], and the scores "target" and "others".
        chosen: The share that is kept.

    Returns:
        The figure as SVG.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        shares = [point["share"] for point in path]
        axes.plot(
            shares,
            _drawable([point["target"] for point in path]),
            "o-",
            color=COLOURS[TUNED],
            label="target-like pairs",
        )
        axes.plot(
            shares, _drawable([point["others"] for point in path]), "o-", color=COLOURS[PRETRAINED], label="other pairs"
        )
        axes.axvline(chosen, color="#b91c1c", linewidth=1.2)
        axes.annotate("kept", (chosen, 0), (4, 6), xycoords=("data", "axes fraction"), textcoords="offset points",
                      color="#b91c1c")  # fmt: skip
        axes.set_xlabel("share of the tuned weights (0: pretrained)")
        axes.set_ylabel("validation TAR, mean over FMRs")
        axes.legend(frameon=False)

    return draw_svg(draw, (6.4, 3.0))


def loss_figure(history: list[dict[str, float]]) -> str:
    """Draw the training loss of each step, with its running mean.

    Args:
        history: Records of the training; records without a "loss" are ignored.

    Returns:
        The figure as SVG.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        loss = _drawable([record["loss"] for record in history if "loss" in record])
        window = max(1, len(loss) // 20)
        mean = np.convolve(loss, np.ones(window) / window, mode="valid") if len(loss) else loss
        axes.plot(np.arange(1, len(loss) + 1), loss, color="#cbd5e1", linewidth=0.8)
        axes.plot(np.arange(window, len(loss) + 1), mean, color=COLOURS[TUNED])
        axes.set_xlabel("step")
        axes.set_ylabel("loss")

    return draw_svg(draw, (6.4, 2.4))


def _drawable(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return numbers as an array (n,) float64, NaN in place of what no axis can hold."""
    numbers = np.array(values, float)
    return np.where(np.abs(numbers) <= LARGEST, numbers, np.nan)


def _colour(name: str) -> str:
    """Return the colour of a system."""
    return COLOURS.get(name, "#7c3aed")


def draw_svg(draw: Any, size: tuple[float, float]) -> str:
    """Draw a figure and return it as SVG; the same input gives the same bytes.

    Args:
        draw: Function that receives a matplotlib `Figure` and draws on it.
        size: Width and height of the figure, in inches.
    """
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Glyph"
        )  # matplotlib's font lacks a letter; the text is drawn by the reader's
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue().translate(NOT_XML)
    return text[text.index("<svg") :]
