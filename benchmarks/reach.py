"""How soon rejection is as good as uniform tuning gets: samples and seconds, all stages counted.

    RSFT_DATA=... python benchmarks/reach.py [--models dlib sface] [--seeds 3] [--work DIR]

On the pool of 10^4 pictures of `pool_pictures.py` with 6 % at low resolution. Both ways read the pool as `rsft fit`
does, and are validated every few steps, at all of the tuned weights, on the same held-out people of the pool. A run of
t steps costs

- rejection: the target's embedding, the pilot, the looks, the prototypes, and the views that t steps draw;
- uniform tuning: the looks at what t steps draw, and these views;

and the training, in seconds of wall time. Told is what the first t costs that reaches the best validation score of
uniform tuning. Validation itself is not counted. Writes `benchmarks/results/reach.json`.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pool_pictures import Key, Pool, make_pools
from runs import about
from torch import nn

from rsft.baselines import REJECTION
from rsft.face.adaptation.candidates import draws_of
from rsft.face.adaptation.held_out import Validation
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.training import classes_of, train_stages, whitened_stages
from rsft.face.adaptation.views import AcceptedViews
from rsft.face.networks.bundle import FaceModel
from rsft.face.runs.inputs import TARGET, Sources, read_inputs
from rsft.face.runs.open_pool import Chosen, OpenPool
from rsft.face.runs.progress import Stages
from rsft.tuning.stopping import Stopping
from rsft.types import UNIFORM

RESULTS = Path(__file__).parent / "results" / "reach.json"
KEY = Key(10_000, "low-resolution", 0.06)
EVERY = 10  # steps between validations


class Run(NamedTuple):
    """A pool that was read, and the seconds of the stages of reading it."""

    model: FaceModel
    chosen: Chosen
    recipe: Recipe
    seconds: dict[str, float]
    looked_at: int


def read(pool: Pool, model: str, way: str, seed: int) -> Run:
    """Read the pool for one way."""
    recipe = Recipe(folds=1)
    if way == UNIFORM:
        samples = recipe.steps * recipe.batch_size
        recipe = recipe.model_copy(update={"retain_fraction": 1.0, "accepted": samples})
    stages = Stages()
    sources = Sources(pool=pool.pictures, target=pool.target, landmarks=pool.landmarks, model=model)
    inputs = read_inputs(sources, cut=recipe.cut)
    opened = OpenPool(inputs, inputs.embed(TARGET, stages), recipe, seed, stages, None)
    chosen = opened.choose(opened.plan())
    return Run(inputs.model, chosen, recipe, stages.seconds, opened.looked_at)


def curve(run: Run, validation: Validation, way: str, seed: int) -> list[dict[str, float]]:
    """Validation score, steps and seconds of all stages along one training."""
    features, candidates = run.chosen.features, run.chosen.candidates
    rows = np.flatnonzero(candidates.fold != 0)
    classes, views = classes_of(features, rows), run.recipe.views
    draw = draws_of(candidates.subset(rows), classes, views, run.recipe, seed=seed)
    batches = AcceptedViews(features.activations, rows, classes, features.ids, draw, run.recipe.batch_size)  # type: ignore[arg-type]
    sequence, epoch = [], 0
    while sum(map(len, sequence)) < run.recipe.steps * run.recipe.batch_size:
        sequence.append(draw(epoch))
        epoch += 1
    order = np.concatenate(sequence)
    kept = features.activations.kept  # type: ignore[union-attr]
    of_view = run.seconds["embed pool"] / kept.sum()
    prototypes = int((candidates.acceptance.numpy() == 0).sum())
    fixed = sum(run.seconds[stage] for stage in ("embed target", "pilot", "look at pictures")) + prototypes * of_view
    of_look = run.seconds["look at pictures"] / run.looked_at
    points: list[dict[str, float]] = []
    spent, began = 0.0, time.monotonic()

    def look(suffix: nn.Module) -> float:
        nonlocal spent, began
        spent += time.monotonic() - began
        drawn = order[: EVERY * len(points) * run.recipe.batch_size]
        before = fixed if way == REJECTION else len(np.unique(drawn // views)) * of_look
        seconds = before + len(np.unique(drawn)) * of_view + spent
        points.append({"steps": EVERY * len(points), "seconds": seconds, "score": validation.of_network(suffix)})
        began = time.monotonic()
        return points[-1]["score"]

    suffix, prototypes, _ = whitened_stages(run.model, features, rows, run.recipe)
    train_stages(
        suffix,
        prototypes,
        batches,
        run.recipe,
        steps=run.recipe.steps,
        stop=Stopping(steps=run.recipe.steps),
        seed=seed,
        validate=look,
        validate_every=EVERY,
    )
    return points


def main() -> None:
    parser = argparse.ArgumentParser(description="How soon uniform's best is reached.")
    parser.add_argument("--models", nargs="+", default=["dlib", "sface"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("pools"))
    options = parser.parse_args()
    pool = make_pools(options.work, [KEY.size], [KEY.shift], [KEY.share])[KEY]
    found: dict[str, Any] = {"about": about(recipe=Recipe(folds=1).model_dump(mode="json")), "runs": []}
    for model in options.models:
        for seed in range(options.seeds):
            runs = {way: read(pool, model, way, seed) for way in (REJECTION, UNIFORM)}
            chosen = runs[REJECTION].chosen
            judged = np.flatnonzero((chosen.candidates.fold == 0) & chosen.candidates.judged)
            validation = Validation(chosen.features, judged, chosen.candidates.likeness)
            curves = {way: curve(run, validation, way, seed) for way, run in runs.items()}
            best = max(point["score"] for point in curves[UNIFORM])
            reached = {
                way: next((point for point in points if point["score"] >= best), None) for way, points in curves.items()
            }
            stages = {way: run.seconds for way, run in runs.items()}
            told = {"model": model, "seed": seed, "stages": stages, "curves": curves, "reached": reached}
            ahead, behind = reached[REJECTION], reached[UNIFORM]
            ratio = ahead["seconds"] / behind["seconds"] if ahead and behind else None
            found["runs"].append(told | {"seconds_ratio": ratio})
            print(model, seed, reached, ratio, flush=True)
            RESULTS.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
