"""A finished run and its repetition, as `rsft rerun` compares them, and a comparison of several networks."""

import json
import shutil
from pathlib import Path

import pyarrow
import pyarrow.parquet
from drawn_people import tiny_model

from rsft.compare import CONFIG_FILE as COMPARED_FILE
from rsft.compare import Trained, _Store
from rsft.face.adaptation.recipe import make_recipe
from rsft.face.compare_models import MODELS_FILE, _check_of_several
from rsft.face.runs.measured import MEASURED_FILE, differ_in
from rsft.face.runs.pseudonyms import Pseudonyms
from rsft.face.runs.run_config import read_run_config
from rsft.face.runs.run_difference import differences
from rsft.face.runs.used_inputs import changed_pictures, write_used
from rsft.report.run import ACCEPTED_FILE, CONFIG_FILE, HISTORY_FILE, METRICS_FILE, PLAN_FILE

RUN, AGAIN = "run", "run.rerun"
CONFIG = 'pool = "pool"\ntarget = "target"\nevaluation = "e"\nmodel = "dlib"\nseed = 0\n\n[recipe]\nsteps = 4\n'
INTERVAL = {"value": 0.5, "low": 0.1, "high": 0.9}
SETTINGS = {"steps": 2}


def write_runs(root: Path) -> None:
    """Write a run and its repetition, as far as they are compared."""
    run = root / RUN
    run.mkdir()
    (run / CONFIG_FILE).write_text(CONFIG)
    (run / METRICS_FILE).write_text('{"verdict": {"outcome": "better"}, "seconds": {"tune": 1.5}, "eer": [0.1, null]}')
    (run / PLAN_FILE).write_text('{"m": 4.5, "notes": []}')
    (run / HISTORY_FILE).write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n')
    columns = {"path": ["x", "y"], "accepted": [True, False], "log_ratio": [0.5, -1.0], "times_trained": [2, 0]}
    pyarrow.parquet.write_table(pyarrow.table(columns), run / ACCEPTED_FILE)
    write_used(run, {"pool": {"x": "1", "y": ""}}, Pseudonyms(None))
    tiny_model().save(run / "model")
    shutil.copytree(run, root / AGAIN)


def read_runs(root: Path) -> None:
    """Compare the runs, as `rsft rerun` does when the repetition has ended."""
    config = read_run_config(root / RUN)
    make_recipe(config.recipe, f"'{root / RUN / CONFIG_FILE}'")
    changed_pictures(root / RUN, root / AGAIN)
    for named in (False, True):
        json.dumps({name: part.to_dict() for name, part in differences(root / RUN, root / AGAIN, named=named).items()})


def write_networks(root: Path) -> None:
    """Write what `rsft compare --model A --model B` leaves."""
    metrics = {"metrics": ["m"], "values": {"A": {"m": INTERVAL}, "A, tuned": {"m": INTERVAL}}}
    (root / MODELS_FILE).write_text(json.dumps(metrics))
    _check_of_several(root, ["A", "B"])
    for name in ("A", "B"):
        (root / name / "runs").mkdir(parents=True)
        (root / name / MEASURED_FILE).write_text('{"target": [2, "0123456789abcdef"]}')
        _Store(root / name, SETTINGS).write(Trained("uniform", 0.1, 0, 4, 2, 1.0, None, {"m": [0.5, 0.25]}))


def read_networks(root: Path) -> None:
    """Read it, as the same command does when it goes on."""
    _check_of_several(root, ["A", "B"])
    differ_in(root / "A", root / "B")
    for name in ("A", "B"):
        _Store(root / name, SETTINGS).read("uniform", 0.1, 0)


NETWORK_FILES = (COMPARED_FILE, MEASURED_FILE, MODELS_FILE, "uniform_0.1_0.json")
