"""The model card of a run: origin, data, figures and limits of the tuned network."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from rsft.face.networks.bundle import FaceModel
from rsft.plan import Plan
from rsft.report.run import PLAN_FILE
from rsft.types import PRETRAINED, TUNED, UNIFORM, Interval

CARD_FILE = "model_card.md"


def write_card(folder: Path, metrics: dict[str, Any], plan: Plan, model: FaceModel) -> None:
    """Write `model_card.md` into a run folder that already has `plan.json`. It names no people and no paths.

    Args:
        folder: The run folder.
        metrics: The contents of `metrics.json`.
        plan: The plan of the run.
        model: The model of the run.
    """
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, finalize=_plain)
    environment.filters["interval"] = lambda value: str(Interval(**value))
    environment.filters["signed"] = lambda value: Interval(**value).signed()
    environment.filters["cell"] = lambda text: " ".join(text.split()).replace("|", "\\|")
    environment.globals["percent"] = lambda share: f"{100 * share:.1f} %"
    template = resources.files("rsft.face.runs").joinpath("model_card.md").read_text(encoding="utf-8")
    text = environment.from_string(template).render(
        metrics=metrics,
        plan=plan,
        stated=json.loads((folder / PLAN_FILE).read_text(encoding="utf-8")),
        model=model,
        systems=[name for name in (PRETRAINED, UNIFORM, TUNED) if name in metrics],
        groups=[
            (system, found)
            for system, found in metrics.get("groups", {}).items()
            if found and metrics["headline_fmr"] in found["thresholds"]
        ],
        fmrs=list(metrics[TUNED]["target"]["tar_at_fmr"]),
    )
    (folder / CARD_FILE).write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    """Return text without HTML, which Markdown lets through: anybody may have named a model, a group or a reason."""
    return value.replace("&", "&amp;").replace("<", "&lt;") if isinstance(value, str) else value
