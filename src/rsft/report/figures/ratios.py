"""The density ratio of a pool, and the price of the envelope M."""

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from rsft.report.style import BAD, FAINT, POOL, Drawing, colour_of, drawable, drawing
from rsft.types import TUNED

ROUND = (1, 2, 5)


def ratio_figure(ratios: dict[str, Any], log_m: float) -> Drawing:
    """Draw a histogram of the ratio of the pool, its accepted part, and M.

    Args:
        ratios: As `ratio_histogram` returns it.
        log_m: Logarithm of the envelope constant M.
    """
    edges, pool, accepted = (drawable(ratios[name]) for name in ("edges", "pool", "accepted"))

    def draw(figure: Figure, narrow: bool) -> None:
        axes = figure.subplots()
        axes.stairs(pool, edges, fill=True, color=POOL, alpha=0.3, gid=FAINT)
        axes.stairs(pool, edges, color=POOL, linewidth=1.4, label="pool")
        axes.stairs(accepted, edges, fill=True, color=colour_of(TUNED), label="accepted in an epoch")
        axes.axvline(log_m, color=BAD, linewidth=1.5, label=f"M = {math.exp(log_m):.3g}")
        axes.set_yscale("symlog", linthresh=10)
        axes.set_ylim(0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:g}"))
        _ratio_axis(axes, min(edges[0], log_m), max(edges[-1], log_m), few=narrow)
        axes.set_xlabel("ratio, target / pool")
        axes.set_ylabel("items")
        figure.legend(loc="outside upper center", ncols=3, columnspacing=1, handlelength=1.2)

    above = float(pool[edges[:-1] > log_m].sum())
    told = (
        f"{pool.sum():.0f} items with ratios from {math.exp(edges[0]):.2g} to {math.exp(edges[-1]):.3g}; M is "
        f"{math.exp(log_m):.3g}, and about {above:.0f} ratios are above it; an epoch accepts {accepted.sum():.0f}."
    )
    return drawing(draw, "How like the target the pool's items are", told, height=2.9)


def price_figure(curve: dict[str, Any], envelope: dict[str, Any]) -> Drawing:
    """Draw the acceptance rate over the clipped mass as M falls, and mark the envelope of the plan.

    Args:
        curve: As `price_curve` returns it.
        envelope: The chosen envelope, as `vars` of an `Envelope`.
    """
    rate, clipped = (100 * drawable(curve[name]) for name in ("acceptance_rate", "clipped_mass"))

    def draw(figure: Figure, narrow: bool) -> None:
        axes = figure.subplots()
        axes.plot(clipped, rate, color=POOL, linewidth=2, label="other M")
        at = 100 * envelope["clipped_mass"], 100 * envelope["acceptance_rate"]
        axes.plot(*at, "o", color=BAD, markersize=8, label=f"this plan, M = {math.exp(envelope['log_m']):.3g}")
        axes.set_xlabel("target clipped (total variation), %")
        axes.set_ylabel("accepted, %")
        axes.set_ylim(0)
        figure.legend(loc="outside upper center", ncols=2)

    told = (
        f"With the largest M, {rate[-1]:.1f} % are accepted and nothing is clipped. This plan accepts "
        f"{100 * envelope['acceptance_rate']:.1f} % and clips {100 * envelope['clipped_mass']:.1f} % of the target."
    )
    return drawing(draw, "The price of M", told, height=2.7)


def _ratio_axis(axes: Any, low: float, high: float, *, few: bool) -> None:
    """Label an axis of log ratios by ratios, at round numbers."""
    ticks = [base * 10.0**power for power in range(-40, 41) for base in ROUND]
    inside = [tick for tick in ticks if low <= math.log(tick) <= high]
    step = max(1, math.ceil(len(inside) / (5 if few else 9)))
    inside = inside[::step]
    axes.set_xticks(np.log(inside) if inside else [], [f"{tick:g}" for tick in inside])
