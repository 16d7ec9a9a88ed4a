"""How soon each way to draw batches is as good as uniform tuning gets: samples and seconds, all stages counted.

    python benchmarks/reach.py --lfw DIR [--seeds 3] [--work DIR]

The low-resolution shift of `shifted_faces.py`. Every method trains as in `evidence.py`, at one learning rate, and is
validated every few steps, at all of the tuned weights, on people of the pool that are not trained on. Counted are the
steps and processor seconds until the best validation score of uniform tuning is reached, with all stages: the others
embed the whole pool and plan first, uniform tuning passes through the frozen stages only what it trains on. Writes
`benchmarks/results/reach.json`.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from evidence import RECIPE
from runs import about, read_arguments
from shifted_faces import Cases
from torch import nn

from rsft.baselines import LOSS_WEIGHTS, REJECTION, WEIGHTED
from rsft.compare import Batches
from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.trial import FaceTrial
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.load import load_model
from rsft.types import UNIFORM

RESULTS = Path(__file__).parent / "results" / "reach.json"
METHODS = (UNIFORM, WEIGHTED, LOSS_WEIGHTS, REJECTION)
EVERY = 15  # steps between validations
LEARNING_RATE = 1e-5


def seconds_of_a_picture(model: FaceModel) -> float:
    """Of one view through the whole network."""
    pictures = torch.zeros(RECIPE.batch_size, 3, model.size, model.size).contiguous(memory_format=torch.channels_last)
    began = time.process_time()
    with torch.inference_mode():
        for _ in range(4):
            model.network(pictures)
    return (time.process_time() - began) / (4 * len(pictures))


def curve(trial: FaceTrial, method: str, seed: int) -> list[dict[str, float]]:
    """Validation score, steps and seconds of training along one training."""
    batches = Batches(trial.methods()[method], RECIPE.steps or 0, RECIPE.batch_size, seed)
    points: list[dict[str, float]] = []
    spent = 0.0
    began = time.process_time()

    def look(model: nn.Module) -> float:
        nonlocal spent, began
        spent += time.process_time() - began
        score = trial.validate(model)
        points.append({"steps": EVERY * len(points), "seconds": spent, "score": score})
        began = time.process_time()
        return score

    trial.train(batches, LEARNING_RATE, seed, validate=look, validate_every=EVERY)
    return points


def main() -> None:
    parser = argparse.ArgumentParser(description="How soon uniform's best is reached.")
    parser.add_argument("--seeds", type=int, default=3)
    options = read_arguments(parser)
    model = load_model("dlib")
    case = Cases(model, RECIPE.cut, options.lfw, None, options.work / "embedded").build("low-resolution")
    began = time.process_time()
    plan = plan_faces(case.pool, case.target, **RECIPE.plan_options(), seed=0)
    planned = time.process_time() - began
    trial = FaceTrial(model, case.pool, plan, {}, RECIPE)
    curves = {m: [curve(trial, m, seed) for seed in range(options.seeds)] for m in METHODS}
    of_picture = seconds_of_a_picture(model)
    before = {
        m: 0.0 if m == UNIFORM else planned + 2 * (len(case.pool) + len(case.target)) * of_picture for m in METHODS
    }
    made = about(learning_rate=LEARNING_RATE, recipe=RECIPE.model_dump(mode="json"))
    found: dict[str, Any] = {"about": made, "before": before, "curves": curves, "reached": {}}
    for method in METHODS:
        reached = []
        for seed in range(options.seeds):
            best = max(point["score"] for point in curves[UNIFORM][seed])
            point = next((point for point in curves[method][seed] if point["score"] >= best), None)
            samples = point["steps"] * RECIPE.batch_size if point else 0
            frozen = samples * of_picture if method == UNIFORM else before[method]
            reached.append(point and {"samples": samples, "seconds": point["seconds"] + frozen})
        found["reached"][method] = reached
        told = ["not reached" if p is None else f"{p['samples']:.0f} samples, {p['seconds']:.0f} s" for p in reached]
        print(f"{method}: {', '.join(told)}; before the first step {before[method]:.0f} s", flush=True)
    RESULTS.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
