"""Differences with a zero line: a loss is seen however high the rates are."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from rsft.report.style import BAD, INK, SOFT, Drawing, colour_of, drawable, drawing, short
from rsft.types import Interval


class Change(NamedTuple):
    """A difference to draw.

    Attributes:
        label: What it is a difference of.
        interval: The difference, as `Interval.to_dict` returns it.
        colour: Name of the system that gives the colour.
    """

    label: str
    interval: dict[str, Any]
    colour: str


def differences_figure(
    groups: Mapping[str, Sequence[Change]], title: str, *, unit: str, allowed: float | None = None
) -> Drawing | None:
    """Draw differences as points with intervals, a panel for each group, all on one scale with a line at zero.

    Args:
        groups: Heading of each panel -> its differences.
        title: Name of the figure.
        unit: Label of the axis.
        allowed: Allowed loss, which is marked by a dotted line; none by default.

    Returns:
        The figure, or None if there is no difference with a value.
    """
    known = {
        heading: [change for change in changes if change.interval["value"] is not None]
        for heading, changes in groups.items()
    }
    shown = {heading: changes for heading, changes in known.items() if changes}
    if not shown:
        return None
    told = "; ".join(
        f"{heading}, {change.label}: {Interval(**change.interval).signed()}"
        for heading, changes in shown.items()
        for change in changes
    )
    rows = sum(len(changes) for changes in shown.values()) + len(shown)

    def draw(figure: Figure, narrow: bool) -> None:
        ratios = [len(changes) + 0.6 for changes in shown.values()]
        panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
        for axes, (heading, changes) in zip(panels, shown.items(), strict=True):
            axes.axvline(0, color=INK, linewidth=1)
            if allowed:
                axes.axvline(-allowed, color=BAD, linewidth=1, linestyle=":")
            right = blended_transform_factory(axes.transAxes, axes.transData)
            for place, change in enumerate(changes):
                low, value, high = drawable([change.interval[key] for key in ("low", "value", "high")])
                colour = colour_of(change.colour)
                axes.plot([low, high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
                axes.plot(value, place, "o", color=colour, markersize=6)
                text = Interval(**change.interval).signed()
                if narrow:
                    text = text.split(" [", maxsplit=1)[0]
                axes.text(1.02, place, text, transform=right, va="center", color=INK)
            axes.set_yticks(range(len(changes)), [short(change.label, narrow=narrow) for change in changes])
            axes.set_ylim(len(changes) - 0.4, -0.6)
            axes.set_title(short(heading), loc="left", fontweight="bold", color=INK)
            axes.grid(axis="y", visible=False)
            axes.spines["left"].set_visible(False)
            axes.tick_params(axis="y", length=0)
        figure.supxlabel(unit.partition(" (")[0] if narrow else unit, fontsize="medium", color=SOFT)
        panels[-1].locator_params(axis="x", nbins=3 if narrow else 7)

    return drawing(draw, title, told, height=0.7 + 0.33 * rows, narrow_height=0.8 + 0.36 * rows)
