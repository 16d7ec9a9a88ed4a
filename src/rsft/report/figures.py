"""The figures of the page, as inline SVG."""

import io
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

COLOURS = {"pretrained": "#6b7280", "uniform": "#d97706", "tuned": "#0f766e"}
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "axes.axisbelow": True,
    "svg.hashsalt": "rsft",  # the same run gives the same bytes
    "svg.fonttype": "none",
}


def tar_figure(systems: dict[str, dict[str, Any]], sets: dict[str, str], fmr: str) -> str:
    """TAR at one FMR of every system on every set, with intervals."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place, (name, metrics) in enumerate(systems.items()):
            for column, key in enumerate(sets):
                tar = metrics[key]["tar_at_fmr"][fmr]
                if tar["value"] is None:
                    continue
                x = column + 0.16 * (place - (len(systems) - 1) / 2)
                spread = [[tar["value"] - tar["low"]], [tar["high"] - tar["value"]]]
                label = name if column == 0 else None
                axes.errorbar(x, tar["value"], spread, fmt="o", color=_colour(name), capsize=4, label=label)
                axes.annotate(f"{tar['value']:.3f}", (x, tar["value"]), (7, 0), textcoords="offset points", va="center")
        axes.set_xticks(range(len(sets)), list(sets.values()))
        axes.set_xlim(-0.5, len(sets) - 0.5)
        axes.set_ylabel(f"TAR at FMR {fmr}")
        axes.grid(axis="x", visible=False)
        axes.legend(frameon=False, loc="best")

    return draw_svg(draw, (6.4, 3.4))


def det_figure(curves: dict[str, dict[str, list[float]]]) -> str:
    """FNMR over FMR of every system, from one false match on."""

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


def ratio_figure(items: dict[str, list[Any]], log_m: float) -> str:
    """Where the pool lies in log ratio, what of it is accepted, and the envelope."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        log_ratio, acceptance = np.array(items["log_ratio"]), np.array(items["acceptance"])
        finite = np.isfinite(log_ratio)
        bins = np.linspace(log_ratio[finite].min(), max(log_ratio[finite].max(), log_m), 60).tolist()
        axes.hist(log_ratio[finite], bins, color="#cbd5e1", label="pool")
        axes.hist(
            log_ratio[finite], bins, weights=acceptance[finite], color=COLOURS["tuned"], label="accepted an epoch"
        )
        axes.axvline(log_m, color="#b91c1c", linewidth=1.2)
        axes.annotate("log M", (log_m, 1), (4, -4), xycoords=("data", "axes fraction"), textcoords="offset points",
                      color="#b91c1c", va="top")  # fmt: skip
        axes.set_yscale("symlog", linthresh=10)
        axes.set_xlabel("log target - log pool")
        axes.set_ylabel("items")
        axes.legend(frameon=False, loc="upper left")

    return draw_svg(draw, (6.4, 3.0))


def path_figure(path: list[dict[str, float]], chosen: float) -> str:
    """Validation scores along the line from the pretrained to the tuned weights."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        shares = [point["share"] for point in path]
        axes.plot(shares, [point["target"] for point in path], "o-", color=COLOURS["tuned"], label="target-like pairs")
        axes.plot(shares, [point["others"] for point in path], "o-", color=COLOURS["pretrained"], label="other pairs")
        axes.axvline(chosen, color="#b91c1c", linewidth=1.2)
        axes.annotate("kept", (chosen, 0), (4, 6), xycoords=("data", "axes fraction"), textcoords="offset points",
                      color="#b91c1c")  # fmt: skip
        axes.set_xlabel("share of the tuned weights (0: pretrained)")
        axes.set_ylabel("validation TAR, mean over FMRs")
        axes.legend(frameon=False)

    return draw_svg(draw, (6.4, 3.0))


def loss_figure(history: list[dict[str, float]]) -> str:
    """The training loss, with its running mean."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        loss = np.array([record["loss"] for record in history if "loss" in record])
        window = max(1, len(loss) // 20)
        mean = np.convolve(loss, np.ones(window) / window, mode="valid")
        axes.plot(np.arange(1, len(loss) + 1), loss, color="#cbd5e1", linewidth=0.8)
        axes.plot(np.arange(window, len(loss) + 1), mean, color=COLOURS["tuned"])
        axes.set_xlabel("step")
        axes.set_ylabel("loss")

    return draw_svg(draw, (6.4, 2.4))


def _colour(name: str) -> str:
    return COLOURS.get(name, "#7c3aed")


def draw_svg(draw: Any, size: tuple[float, float]) -> str:
    """What `draw` draws on a figure of so many inches, as SVG; the same input gives the same bytes."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
