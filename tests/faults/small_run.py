"""A run folder by hand, with every part that the report shows: a run takes longer to make."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from rsft.report.run import (
    ACCEPTED_FILE,
    CONFIG_FILE,
    ERRORS_FILE,
    HISTORY_FILE,
    METRICS_FILE,
    PLAN_FILE,
    THUMBNAILS_FOLDER,
)

NONE = {"value": None, "low": None, "high": None, "note": "insufficient data"}
SOME = {"value": 0.5, "low": 0.25, "high": 0.75}
RATES = {
    "tar_at_fmr": {"0.01": SOME, "0.001": NONE}, "eer": 0.1, "pairs_genuine": 270, "pairs_impostor": 1500,
    "people": 20, "thresholds": {"0.01": 0.5, "0.001": 0.75},
}  # fmt: skip
SETS = {"target": RATES, "retain": RATES}
PRICE = {"rule": "max", "log_m": 1.5, "acceptance_rate": 0.2, "clipped_mass": 0.1, "effective_size": 30.5}
BAND = {"fmr": [0.01, 0.1], "fnmr": [0.5, 0.25], "low": [0.25, 0.125], "high": [0.75, 0.5]}
WRONG = {"pictures": ["a/1.jpg", "b/2.jpg"], "score": 0.75, "threshold": 0.5}
NETWORK = {
    "name": "dlib", "licence": "CC0", "milliseconds": 20.0, "alike": SOME, "usual": SOME, "alike_gain": None,
    "usual_gain": None,
}  # fmt: skip
GROUP = {"people": 10, "pairs_genuine": 45, "pairs_impostor": 450, "fmr": {"0.01": SOME}, "fnmr": {"0.01": SOME}}
COMPARISON = {
    "metrics": ["target TAR at FMR 0.01", "retention TAR at FMR 0.01"],
    "values": {name: {f"{key} TAR at FMR 0.01": SOME for key in ("target", "retention")} for name in
               ("pretrained", "uniform", "rejection")},
    "differences": {"rejection": {"pretrained": {f"{key} TAR at FMR 0.01": SOME for key in ("target", "retention")}}},
    "cost": {"rejection": {"learning_rate": 0.1, "seeds": 2, "samples": 64, "distinct": 50.5, "seconds": 2.5}},
    "verdict": "rejection is better",
}  # fmt: skip
SMALLEST_JPEG = b"\xff\xd8\xff\xd9"


def metrics() -> dict[str, Any]:
    changes = {"0.01": SOME, "0.001": NONE}
    gate = {
        "share": 0.0,
        "candidate": 0.25,
        "gain": SOME,
        "loss": SOME,
        "reason": "it gained",
        "retention": [[0.5, 0.01]],
    }
    return {
        "version": "0.1.0",
        "title": "dlib, tuned to target",
        "seed": 0,
        "folds": 2,
        "headline_fmr": "0.01",
        "verdict": {
            "action": "ship",
            "outcome": "better", "reason": "On the target, TAR rises.", "risk": "A loss may be.",
            "shipped": "The model folder holds it.", "then": "Enrol again.", "text": "Ship. On the target, TAR rises.",
        },
        "pretrained": SETS,
        "uniform": SETS,
        "tuned": SETS,
        "differences": {"tuned - pretrained": {"target": changes, "retain": changes}},
        "curves": {key: {"pretrained": BAND, "tuned": BAND} for key in SETS},
        "groups": {
            "pretrained": None,
            "tuned": {
                "attribute": "age", "unknown": 0, "thresholds": {"0.01": 0.5}, "groups": {"old": GROUP, "young": GROUP},
            },
        },
        "validation": {
            "share": 0.5,
            "path": [{"share": share, "target": 0.5, "others": 0.8} for share in (0.0, 0.5, 1.0)],
            "gates": [gate],
            "text": "50% of the way is kept.",
        },
        "acceptance_rate": 0.12,
        "pool_pictures": 102,
        "images_decoded": 102,
        "images_embedded": 101,
        "images_trained": 96,
        "seconds": {"pilot": 4.5, "tune": 2.5},
        "quarantined": [["dade98e6fdedb365", "no face was found"]],
        "passed_over": {"pool": {"hidden": 3}},
        "promise": {
            "items": 50, "mean_ratio": SOME, "acceptance_rate": SOME, "clipped_mass": 0.1, "above": 2, "broken": "no",
        },
    }  # fmt: skip


def errors() -> dict[str, Any]:
    return {key: {"fmr": "0.01", "genuine": [WRONG], "impostor": [WRONG]} for key in SETS}


def plan() -> dict[str, Any]:
    covariate = {"name": "noise", "pool": 1.8, "accepted": 12.2, "target": 10.7, "before": SOME, "after": SOME}
    return {
        "verdict": {"outcome": "worth trying", "reason": "target and pool differ"},
        "envelope": PRICE,
        "m": 4.5,
        "prices": [PRICE, PRICE | {"rule": "quantile=0.9"}],
        "price_curve": {"log_m": [0.5, 1.5], "acceptance_rate": [0.5, 0.2], "clipped_mass": [0.3, 0.1]},
        "ratios": {"edges": [-1.0, 0.0, 2.0], "pool": [80, 20], "accepted": [4.0, 16.0], "without_mass": 2},
        "diagnostics": {
            "unsupported_fraction": 0.01, "pool_items": 102.0, "expected_accepted": 20.0, "identities": 20.0,
            "identities_accepted": 8.0, "identities_uniform": 12.0,
        },
        "arrival": {"before": {"auc": SOME}, "after": None, "covariates": [covariate], "unsupported": ["dark"]},
        "notes": ["the target has 60 pictures"],
        "pilot": {
            "items": 101, "looked_at": 102, "acceptance_rate": SOME, "m": SOME, "clipped_mass": SOME,
            "effective_size": SOME,
        },
        "retain_fraction": 0.5,
        "advice": {"action": "tune", "reason": "it may gain", "next": "rsft fit"},
        "models": {
            "fmr": 0.01, "compared": [NETWORK, NETWORK | {"name": "sface", "alike_gain": SOME, "usual_gain": SOME}],
            "pictures": {"alike": 30, "usual": 60}, "people": 20, "left_out": {"other": "no pictures"}, "reason": None,
            "caveat": "Before training.",
        },
    }  # fmt: skip


def write_run(folder: Path) -> Path:
    """Write the run folder and return it."""
    (folder / THUMBNAILS_FOLDER).mkdir(parents=True)
    (folder / METRICS_FILE).write_text(json.dumps(metrics()))
    (folder / ERRORS_FILE).write_text(json.dumps(errors()))
    (folder / PLAN_FILE).write_text(json.dumps(plan()))
    (folder / CONFIG_FILE).write_text(
        'pool = "data/pool"\nmodel = "dlib"\n\n[recipe]\nsteps = 4\nshares = [0.0, 1.0]\n'
    )
    (folder / HISTORY_FILE).write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n')
    columns = {"path": ["x", "y"], "log_ratio": [0.5, -1.0], "acceptance": [1.0, 0.2]}
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / ACCEPTED_FILE)
    (folder / THUMBNAILS_FOLDER / "accepted-00.jpg").write_bytes(SMALLEST_JPEG)
    return folder


def evaluation() -> dict[str, Any]:
    """The content of an `evaluation.json` of two networks."""
    changes = {"0.01": SOME, "0.001": NONE}
    groups = metrics()["groups"]["tuned"]
    one = {
        "systems": {"dlib": RATES, "run": RATES}, "curves": {"dlib": BAND, "run": BAND},
        "left_out": {"dlib": 0, "run": 2},
        "differences": {"run": {"dlib": changes}, "dlib": {"run": changes}}, "groups": {"run": groups},
    }  # fmt: skip
    return {"version": "0.1.0", "seed": 0, "models": ["dlib", "run"], "sets": {"target": one, "retain": one}}
