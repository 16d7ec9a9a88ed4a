"""How much of a pool a run should accept, and for how long it should train: the gain on held-out people of the pool.

    RSFT_DATA=... python benchmarks/accepted.py [--work DIR] [--seeds 1]

On the pools of 10^4 pictures of `pool_pictures.py`, 6 % of them shifted. Every run is that of `rsft fit` with one fold,
up to its gate; none looks at evaluated people. Told are the best share's gain on held-out pairs like the target and its
loss on others, with intervals over these people, and what was read. Writes `benchmarks/results/accepted.json`.
"""

import argparse
import itertools
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

from pool_pictures import SHIFTS, Key, Pool, make_pools
from runs import Kept, about

from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.tune import tune
from rsft.face.runs.inputs import TARGET, Sources, read_inputs
from rsft.face.runs.open_pool import OpenPool
from rsft.face.runs.progress import Stages

RESULTS = Path(__file__).parent / "results" / "accepted.json"
SIZE, SHARE = 10_000, 0.06
ACCEPTED, STEPS = (1600, 800, 400, 200), (400, 200, 100, 50)


def measure(pool: Pool, accepted: int, steps: int, seed: int, folder: Path) -> dict[str, Any]:
    """Make one run up to its gate; `folder` keeps what was looked at for the next."""
    recipe, stages = Recipe(accepted=accepted, steps=steps, folds=1), Stages()
    inputs = read_inputs(Sources(pool=pool.pictures, target=pool.target, landmarks=pool.landmarks), cut=recipe.cut)
    opened = OpenPool(inputs, inputs.embed(TARGET, stages), recipe, seed, stages, folder)
    chosen = opened.choose(opened.plan())
    began = time.monotonic()
    tuned = tune(inputs.model, chosen.features, chosen.candidates, recipe, folds=opened.folds, seed=seed)
    return {
        "features": opened.kind,
        "reach": chosen.reach,
        "embedded": len(chosen.features),
        "tune_seconds": time.monotonic() - began,
        **tuned.gate.to_dict(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="How much to accept, and for how long to train.")
    parser.add_argument("--work", type=Path, default=Path("pools"))
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    pools = make_pools(options.work, [SIZE], list(SHIFTS), [SHARE])
    kept = Kept(options.work / "accepted.json", size=SIZE, share=SHARE)
    for seed, shift, accepted, steps in itertools.product(range(options.seeds), SHIFTS, ACCEPTED, STEPS):
        folder, pool = options.work / "looks" / f"{shift}-{seed}", pools[Key(SIZE, shift, SHARE)]
        run = partial(measure, pool, accepted, steps, seed, folder)
        kept.result(f"{shift}, {accepted} accepted, {steps} steps, seed {seed}", run)
    RESULTS.write_text(json.dumps({"about": about(recipe=Recipe().model_dump(mode="json")), **kept.results}, indent=1))


if __name__ == "__main__":
    main()
