"""Draw `gain.svg` and `gain-narrow.svg`, the figure of the README: what each way gains on an age gap.

Run `python docs/draw_gain.py` after a change. Every number comes from `benchmarks/results`.
"""

import json
from pathlib import Path
from typing import Any

from rsft.report.figures.differences import Change, differences_figure
from rsft.report.style import Drawing, standalone
from rsft.types import PRETRAINED, TUNED, UNIFORM

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
WIDE, NARROW = (Path(__file__).with_name(f"{name}.svg") for name in ("gain", "gain-narrow"))
METRIC = "target TAR at FMR 0.01"
ADAPTATIONS = [
    f"uniform, {name}, not whitened" for name in ("MMD", "CORAL", "pseudo-labels", "normalisation statistics")
]


def read(name: str, setting: str) -> Any:
    """Return the results of a benchmark on one of its settings."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["settings"][setting]


def gains() -> dict[str, list[Change]]:
    """Return the panels of the figure: each is a list of differences to SFace untouched."""
    dealt = read("real_dealings", "age 0.05")[METRIC]["differences"]
    trained = {name: row[METRIC] for name, row in read("real_shifts", "age 5%")["figures"]["sface"].items()}
    best = max(ADAPTATIONS, key=lambda name: trained[name]["value"]["value"])

    def untrained(label: str, name: str, colour: str) -> Change:
        return Change(label, {key: dealt[name]["sface"][key] for key in ("value", "low", "high")}, colour)

    return {
        "SFace, whitened by": [
            untrained("accepted pairs", "sface, whitened", TUNED),
            untrained("all pairs alike", "sface, whitened by all alike", UNIFORM),
        ],
        "SFace and dlib, whitened by": [
            untrained("nothing", "sface+dlib", PRETRAINED),
            untrained("accepted pairs", "sface+dlib, whitened", TUNED),
            untrained("all pairs alike", "sface+dlib, whitened by all alike", UNIFORM),
        ],
        "SFace, trained by": [
            Change(label, trained[name]["less untouched sface"], colour)
            for label, name, colour in (
                ("uniform draws", "uniform, not whitened", UNIFORM),
                ("accepted draws", "rejection, not whitened", TUNED),
                ("best adaptation", best, "adaptation"),
            )
        ],
    }


def figure() -> Drawing:
    """Return the figure."""
    drawn = differences_figure(
        gains(),
        "Gain over SFace untouched, young against adult faces",
        unit="TAR at FMR 0.01, less SFace untouched (right of 0: better)",
    )
    assert drawn is not None
    return drawn


if __name__ == "__main__":
    drawn = figure()
    WIDE.write_text(standalone(drawn.wide), encoding="utf-8")
    NARROW.write_text(standalone(drawn.narrow), encoding="utf-8")
