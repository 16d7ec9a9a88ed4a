"""Rejection, weighted sampling and loss weights as the learning rate grows: a shift of real faces.

    python benchmarks/face_stability.py --lfw DIR [--shift mask] [--seeds 3] [--work DIR]

A pool of `shifted_faces.py`, half the steps of `evidence.py`, and all of the tuned weights. Prints the TAR on the
target and what the methods are to rejection, with 95 % intervals over seeds and evaluated identities; writes
`benchmarks/results/face_stability.json`.
"""

import argparse
import json
from pathlib import Path

from evidence import RECIPE
from runs import about, read_arguments
from shifted_faces import Cases
from stability import sweep

from rsft.baselines import LOSS_WEIGHTS, REJECTION, WEIGHTED
from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.trial import FaceTrial
from rsft.face.networks.load import load_model
from rsft.types import UNIFORM

RESULTS = Path(__file__).parent / "results" / "face_stability.json"
LEARNING_RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3)
STEPS = 75


def main() -> None:
    parser = argparse.ArgumentParser(description="Stability in the learning rate, on faces.")
    parser.add_argument("--shift", default="mask")
    parser.add_argument("--seeds", type=int, default=3)
    options = read_arguments(parser)
    model = load_model("dlib")
    recipe = RECIPE.model_copy(update={"shares": (0.0, 1.0)})
    case = Cases(model, recipe.cut, options.lfw, None, options.work / "embedded").build(options.shift)
    plan = plan_faces(case.pool, case.target, **recipe.plan_options(), seed=0)
    trial = FaceTrial(model, case.pool, plan, {"target": case.evaluation}, recipe)
    methods = trial.methods()
    results = sweep(
        trial.train,
        trial.measure,
        {name: methods[name] for name in (UNIFORM, WEIGHTED, LOSS_WEIGHTS, REJECTION)},
        LEARNING_RATES,
        start=trial.suffix,
        steps=STEPS,
        batch_size=recipe.batch_size,
        seeds=options.seeds,
        out=options.work / "face-stability" / options.shift,
        config={"recipe": recipe.model_dump(mode="json"), "model": model.fingerprint},
    )
    made = about(shift=options.shift, seeds=options.seeds, steps=STEPS, recipe=recipe.model_dump(mode="json"))
    RESULTS.write_text(json.dumps({"about": made, "rates": results}, indent=1))


if __name__ == "__main__":
    main()
