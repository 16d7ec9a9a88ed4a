"""Rejection, weighted sampling and loss weights as the learning rate grows: a shift of real faces.

    python benchmarks/face_stability.py --lfw DIR [--shift mask] [--seeds 10] [--work DIR]

A pool of `shifted_faces.py`, half the steps of `evidence.py`, and all of the tuned weights. Prints the TAR on the
target and what the methods are to rejection, with 95 % intervals over seeds and evaluated identities; writes
`benchmarks/results/face_stability.json`.
"""

import argparse
import json
import os
from pathlib import Path

import torch
from evidence import RECIPE
from shifted_faces import Cases
from stability import sweep

from rsft.alternatives import LOSS_WEIGHTS, REJECTION, UNIFORM, WEIGHTED
from rsft.face.comparing import FaceTrial
from rsft.face.model import load_model
from rsft.face.planning import plan_faces

RESULTS = Path(__file__).parent / "results" / "face_stability.json"
LEARNING_RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3)
STEPS = 75


def main() -> None:
    parser = argparse.ArgumentParser(description="Stability in the learning rate, on faces.")
    data = Path(os.environ["RSFT_DATA"]) if "RSFT_DATA" in os.environ else None
    parser.add_argument("--lfw", type=Path, default=data and data / "lfw-folds1-6.tar")
    parser.add_argument("--shift", default="mask")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--work", type=Path, default=Path("evidence"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model("dlib")
    recipe = RECIPE.model_copy(update={"shares": (0.0, 1.0)})
    case = Cases(model, recipe.cut, options.lfw, None, options.work / "embedded").build(options.shift)
    plan = plan_faces(case.pool, case.target, case.people, **recipe.plan_options(), seed=0)
    trial = FaceTrial(model, case.pool, case.people, plan, {"target": case.evaluation}, recipe)
    methods = {name: trial.methods()[name] for name in (UNIFORM, WEIGHTED, LOSS_WEIGHTS, REJECTION)}
    results = sweep(
        trial.train,
        trial.measure,
        methods,
        LEARNING_RATES,
        start=trial.suffix,
        steps=STEPS,
        batch_size=recipe.batch_size,
        seeds=options.seeds,
        out=options.work / "face-stability",
    )
    RESULTS.write_text(json.dumps({"shift": options.shift, "seeds": options.seeds, "rates": results}, indent=1))


if __name__ == "__main__":
    main()
