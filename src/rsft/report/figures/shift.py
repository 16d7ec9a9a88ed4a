"""The shift: how far pool and accepted items are from the target, covariate by covariate."""

from typing import Any

from matplotlib.figure import Figure

from rsft.report.style import INK, POOL, Drawing, colour_of, drawable, drawing, short
from rsft.types import TUNED

ENDS = ("low", "value", "high")


def shift_figure(covariates: list[dict[str, Any]]) -> Drawing:
    """Draw the distance of the mean of each covariate from the target's, of the pool and of what is accepted.

    Args:
        covariates: The covariates of `Arrival.to_dict`; "before" and "after" are target less pool, and target less
            accepted, in standard deviations of the pool.
    """

    def draw(figure: Figure, narrow: bool) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=INK, linewidth=1)
        for place, row in enumerate(covariates):
            before, after = (-drawable([row[key][end] for end in ENDS]) for key in ("before", "after"))
            axes.plot([before[1], after[1]], [place, place], color=POOL, linewidth=0.8, linestyle=":")
            for values, colour, marker, off in ((before, POOL, "s", -0.13), (after, colour_of(TUNED), "o", 0.13)):
                axes.plot([values[0], values[2]], [place + off] * 2, color=colour, linewidth=2)
                label = None if place else ("pool" if marker == "s" else "accepted")
                axes.plot(values[1], place + off, marker, color=colour, label=label, linestyle="none")
        axes.set_yticks(
            range(len(covariates)), [short(row["name"].replace("_", " "), narrow=narrow) for row in covariates]
        )
        axes.set_ylim(len(covariates) - 0.5, -0.6)
        axes.grid(axis="y", visible=False)
        unit = "sd of the pool" if narrow else "standard deviations of the pool"
        figure.supxlabel(f"distance from the target, in {unit}", fontsize="medium")
        axes.locator_params(axis="x", nbins=5 if narrow else 9)
        figure.legend(loc="outside upper center", ncols=2)

    told = "; ".join(
        f"{row['name']}: pool {-row['before']['value']:+.2f}, accepted {-row['after']['value']:+.2f}"
        for row in covariates
        if row["before"]["value"] is not None and row["after"]["value"] is not None
    )
    title = "Distance from the target before and after acceptance"
    return drawing(draw, title, told, height=0.95 + 0.33 * len(covariates))
