"""Error rates of groups."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from rsft.report.style import Drawing, colour_of, drawable, drawing, short
from rsft.types import PRETRAINED

SHOWN = 20  # more rows than this are read in a table


def groups_figure(systems: Mapping[str, Any], fmr: str) -> Drawing | None:
    """Draw the FNMR of every group, of each system at its own threshold for an FMR over all pairs.

    Args:
        systems: Name of a system -> its `GroupRates.to_dict`, or None.
        fmr: The FMR.

    Returns:
        The figure, or None if there is no group, or more than `SHOWN`.
    """
    known = {name: found for name, found in systems.items() if found and fmr in found["thresholds"]}
    names = list(next(iter(known.values()))["groups"]) if known else []
    if not names or len(names) > SHOWN:
        return None

    def draw(figure: Figure, narrow: bool) -> None:
        axes = figure.subplots()
        for system, found in known.items():
            off = -0.12 if system == PRETRAINED else 0.12
            for place, value in enumerate(names):
                rate = found["groups"].get(value, {"fnmr": {fmr: dict.fromkeys(("low", "value", "high"))}})["fnmr"][fmr]
                low, at, high = drawable([rate["low"], rate["value"], rate["high"]])
                axes.plot([low, high], [place + off] * 2, color=colour_of(system), linewidth=2)
                axes.plot(
                    at, place + off, "o", color=colour_of(system), label=None if place else short(system, narrow=narrow)
                )
        axes.set_yticks(range(len(names)), [short(name, narrow=narrow) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.6)
        axes.grid(axis="y", visible=False)
        figure.supxlabel(f"FNMR at the threshold for FMR {short(fmr, narrow=narrow)}", fontsize="medium")
        axes.locator_params(axis="x", nbins=4 if narrow else 8)
        figure.legend(loc="outside upper center", ncols=2)

    told = "; ".join(
        f"{value}: "
        + ", ".join(
            f"{system} {found['groups'][value]['fnmr'][fmr]['value']:.3f}"
            for system, found in known.items()
            if value in found["groups"] and found["groups"][value]["fnmr"][fmr]["value"] is not None
        )
        for value in names
    )
    return drawing(draw, "People of each group who are not recognised", told, height=0.9 + 0.36 * len(names))
