"""The page of a plan: what would be accepted, at what cost, and what to do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsft.report import page
from rsft.report.figures.differences import Change, differences_figure
from rsft.report.figures.ratios import price_figure, ratio_figure
from rsft.report.figures.shift import shift_figure
from rsft.report.run import PLAN_FILE, name_of, read_shaped
from rsft.report.shapes.plan import Plan
from rsft.report.style import Drawing, short

MOODS = {"swap": "good", "tune": "good", "worth trying": "good", "collect": "open", "leave": ""}


def whole(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan with all entries that a template asks for; those that a plan need not have are empty."""
    return {"pilot": None, "notes": [], "retain_fraction": 0.0, "passed_over": {}, **plan}


def plan_figures(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a plan, which the pages of a plan and of a run have.

    "scale" is what the sizes of a pilot are multiplied by to be those of its pool.
    """
    pilot, arrival = plan.get("pilot"), plan["arrival"]
    return {
        "shift": shift_figure(arrival["covariates"]) if arrival and arrival["covariates"] else None,
        "ratio": ratio_figure(plan["ratios"], plan["envelope"]["log_m"]),
        "price": price_figure(plan["price_curve"], plan["envelope"]),
        "scale": plan["diagnostics"]["pool_items"] / pilot["looked_at"] if pilot else 1.0,
    }


def write_plan_page(folder: Path) -> Path:
    """Write the page of a plan.

    Args:
        folder: Output folder of `rsft plan`, with a `plan.json`.

    Returns:
        The path of the page.

    Raises:
        InputError: The folder holds no plan of this version of rsft.
        OSError: The page cannot be written.
    """
    plan = read_shaped(folder / PLAN_FILE, Plan)
    return page.write_page(folder, "plan.html", plan_data(plan, name_of(folder)))


def plan_data(plan: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what the template of a plan needs.

    Args:
        plan: The content of `plan.json`, see `rsft.report.shapes.plan.Plan`.
        name: Name of its folder.
    """
    networks, advice = plan.get("models"), plan.get("advice")
    compared = networks["compared"] if networks else []
    sections = {"networks": "Networks at hand", "shift": "The shift", "ratio": "What would be accepted, and M"}
    return {
        "plan": whole(plan),
        "kind": "plan",
        "version": None,
        "name": name,
        "title": "What to do with this network, pool and target",
        "advice": advice,
        "networks": networks,
        "compared": compared,
        "mood": MOODS.get(advice["action"] if advice else plan["verdict"]["outcome"], ""),
        "glance": _glance(plan),
        "sections": [(key, words) for key, words in sections.items() if key != "networks" or networks],
        "figures": {**plan_figures(plan), "networks": _networks(networks) if networks and compared else None},
    }


def _networks(networks: Mapping[str, Any]) -> Drawing | None:
    """Draw the other networks less that of the plan."""
    first, *others = networks["compared"]
    kinds = {"Pictures like the target": "alike_gain", "Usual pictures": "usual_gain"}
    groups = {
        heading: [
            Change(one["name"], one[key], "other") for one in others if one[key] and one[key]["value"] is not None
        ]
        for heading, key in kinds.items()
    }
    unit = f"TAR at FMR {networks['fmr']:g}, minus {short(first['name'], narrow=True)} (right of 0: better)"
    return differences_figure(groups, f"Other networks in place of {first['name']}", unit=unit)


def _glance(plan: Mapping[str, Any]) -> dict[str, str]:
    """Return the answers of the first screen: name -> value."""
    diagnostics, envelope = plan["diagnostics"], plan["envelope"]
    shown = {
        "items in the pool": f"{diagnostics['pool_items']:,.0f}",
        "accepted in an epoch": f"{diagnostics['expected_accepted']:,.0f}",
        "acceptance rate": page.percent(envelope["acceptance_rate"]),
        "target clipped": page.percent(envelope["clipped_mass"]),
    }
    arrival = plan["arrival"]
    if arrival and arrival["after"] and arrival["after"]["auc"]["value"] is not None:
        shown["accepted against target, AUC"] = f"{arrival['after']['auc']['value']:.2f}"
    return shown
