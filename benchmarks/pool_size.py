"""What a run costs, and what it gains, on pools of 10^4 to 10^6 photographs.

    RSFT_DATA=... python benchmarks/pool_size.py [--work DIR] [--sizes 10000 100000 1000000] [--whole 100000]

The pools are those of `pool_pictures.py`, with known landmarks for all pictures. Each run is a process of its own, so
that its peak memory is known:

- "rejection": what `rsft fit` does: pilot, walk, embedding of what is accepted, one training and the gate.
- "uniform": the same with all pictures accepted, and as many of them as the training has samples.
- "whole pool, rejection" and "whole pool, weighted sampling" embed every picture first, in all of the recipe's views,
  plan on all of them, and train by rejection or by weighted sampling. They share the embedding, whose seconds count
  for each.

Seconds are wall time. The evaluation is not counted. Networks are compared at the end of their training (share 1) on
people whom no pool holds, with intervals of paired differences over these people. Writes
`benchmarks/results/pool_size.json`; finished runs in --work are not made again.
"""

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pool_pictures import SHARES, SHIFTS, SIZES, Key, Pool, is_shifted, make_pools
from runs import about
from torch import nn

from rsft.baselines import REJECTION, WEIGHTED
from rsft.compare import Batches
from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.trial import FaceTrial
from rsft.face.adaptation.tune import tune
from rsft.face.adaptation.views import trial_of
from rsft.face.evaluation.protocol import usable
from rsft.face.evaluation.verification import verify
from rsft.face.networks.load import load_model
from rsft.face.runs.inputs import POOL, TARGET, Sources, read_inputs
from rsft.face.runs.open_pool import OpenPool
from rsft.face.runs.progress import Stages
from rsft.types import PRETRAINED, UNIFORM

RESULTS = Path(__file__).parent / "results" / "pool_size.json"
RECIPE = Recipe(folds=1)
FMRS = (0.01, 0.001)
WHOLE = f"whole pool, {REJECTION}", f"whole pool, {WEIGHTED}"


def run_open(pool: Pool, folder: Path, *, uniform: bool, seed: int) -> dict[str, Any]:
    """Make a run that reads its pool as it needs it, and keep its network in `folder`."""
    recipe = RECIPE
    if uniform:
        samples = recipe.steps * recipe.batch_size
        recipe = recipe.model_copy(update={"retain_fraction": 1.0, "accepted": samples})
    stages = Stages()
    with stages.stage("list"):
        inputs = read_inputs(_sources(pool), cut=recipe.cut)
    target = inputs.embed(TARGET, stages)
    opened = OpenPool(inputs, target, recipe, seed, stages, folder / "cache")
    plan = opened.plan()
    chosen = opened.choose(plan)
    with stages.stage("tune"):
        tuned = tune(inputs.model, chosen.features, chosen.candidates, recipe, folds=opened.folds, seed=seed)
    torch.save(tuned.line.at(1.0).state_dict(), folder / "suffix.pt")
    accepted = np.array(chosen.features.ids)[chosen.accepted(recipe, seed)]
    looked_at = opened.looked_at
    if uniform:  # it needs neither the pilot nor the looks beyond what it trains on
        del stages.seconds["pilot"]
    return {
        "pictures": len(inputs.sets[POOL]),
        "features": opened.told(),
        "seconds": stages.seconds,
        "looked_at": looked_at,
        "embedded": opened.embedded,
        "trained": tuned.samples,
        "accepted": len(accepted),
        "shifted_among_accepted": float(np.mean([is_shifted(item) for item in accepted.tolist()])),
        "bytes_kept": sum(path.stat().st_size for path in (folder / "cache").rglob("*") if path.is_file()),
        "promise": chosen.promise and chosen.promise.to_dict(),
        "verdict": str(plan.verdict),
        "gate": tuned.gate.to_dict(),
    }


def run_whole(pool: Pool, folder: Path, *, seed: int) -> dict[str, Any]:
    """Embed a whole pool, train by rejection and by weighted sampling, and keep both networks in `folder`."""
    recipe, stages = RECIPE, Stages()
    with stages.stage("list"):
        inputs = read_inputs(_sources(pool), cut=recipe.cut)
    target = inputs.embed(TARGET, stages)
    features = inputs.embed(POOL, stages, views=recipe.views, folder=folder / "cache")
    with stages.stage("plan"):
        options = recipe.plan_options() | {"features": "activations"}
        plan = plan_faces(features, target, **options, seed=seed)
    trial = FaceTrial(inputs.model, features, plan, {}, recipe, seed=seed)
    for name, method in zip(WHOLE, (REJECTION, WEIGHTED), strict=True):
        with stages.stage(f"tune, {name}"):
            batches = Batches(trial.methods()[method], recipe.steps, recipe.batch_size, seed)
            suffix = trial.train(batches, recipe.learning_rate, seed)
        torch.save(suffix.state_dict(), folder / f"{name}.pt")
    return {
        "pictures": len(features),
        "seconds": stages.seconds,
        "looked_at": len(features),
        "embedded": len(features),
        "trained": recipe.steps * recipe.batch_size,
        "bytes_kept": sum(path.stat().st_size for path in (folder / "cache").rglob("*") if path.is_file()),
        "verdict": str(plan.verdict),
    }


def _sources(pool: Pool) -> Sources:
    return Sources(pool=pool.pictures, target=pool.target, landmarks=pool.landmarks)


def in_a_process(work: Path, key: Key, way: str, seed: int) -> dict[str, Any]:
    """Make a run in a process of its own, unless it is made; add its peak memory."""
    folder = work / "runs" / f"{key.size}-{key.shift}-{key.share}-{way}-{seed}"
    told = folder / "result.json"
    if not told.exists():
        folder.mkdir(parents=True, exist_ok=True)
        words = [str(key.size), key.shift, str(key.share), way, str(seed)]
        subprocess.run([sys.executable, __file__, "--work", str(work), "--one", *words], check=True)
    result: dict[str, Any] = json.loads(told.read_text())
    print(key, way, seed, {name: round(seconds) for name, seconds in result["seconds"].items()}, flush=True)
    return result


def one(work: Path, size: str, shift: str, share: str, way: str, seed: str) -> None:
    """Make one run, in this process."""
    key = Key(int(size), shift, float(share))
    folder = work / "runs" / f"{key.size}-{key.shift}-{key.share}-{way}-{seed}"
    pool = make_pools(work, [key.size], [key.shift], [key.share])[key]
    made = (
        run_whole(pool, folder, seed=int(seed))
        if way == "whole"
        else run_open(pool, folder, uniform=way == UNIFORM, seed=int(seed))
    )
    made["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (folder / "result.json").write_text(json.dumps(made))


def evaluate(work: Path, pool: Pool, networks: dict[str, Path]) -> dict[str, Any]:
    """Return TAR of each network on the evaluated pictures, and the differences from rejection, with intervals."""
    sources = Sources(model="dlib", evaluation=pool.evaluation, retain=pool.retention, landmarks=pool.landmarks)
    inputs = read_inputs(sources, cut=RECIPE.cut)
    features = inputs.embed_evaluated(Stages(), work / "evaluated")
    suffixes: dict[str, nn.Module | None] = {PRETRAINED: None}
    for name, path in networks.items():
        suffix = load_model("dlib").split(RECIPE.cut)[1]
        suffix.load_state_dict(torch.load(path))
        suffixes[name] = suffix
    found: dict[str, Any] = {}
    for key, evaluated in features.items():
        report = verify([trial_of(suffixes, usable(inputs.protocols[key], evaluated), evaluated)], fmrs=FMRS)
        found[key] = {
            "tar": {
                name: {f: tar.to_dict() for f, tar in report.systems[name].tar_at_fmr.items()} for name in suffixes
            },
            "rejection_less": {
                name: {f: report.difference(REJECTION, name, f).to_dict() for f in FMRS}
                for name in suffixes
                if name != REJECTION
            },
        }
    return found


def cases(sizes: list[int], shifts: list[str], whole: list[int]) -> Iterator[tuple[Key, list[str]]]:
    """Yield each pool with the ways to run on it: uniform tuning up to 10^5, the whole pool where asked for."""
    for size in sizes:
        for shift in shifts:
            for share in SHARES:
                ways = [REJECTION]
                if share == max(SHARES) and size <= 100_000:
                    ways.append(UNIFORM)
                if share == max(SHARES) and size in whole and shift == "night":
                    ways.append("whole")
                yield Key(size, shift, share), ways


def main() -> None:
    parser = argparse.ArgumentParser(description="What a run costs on pools of 10^4 to 10^6 photographs.")
    parser.add_argument("--work", type=Path, default=Path("pools"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[*SIZES, 1_000_000])
    parser.add_argument("--shifts", nargs="+", default=list(SHIFTS))
    parser.add_argument("--whole", type=int, nargs="*", default=list(SIZES), help="Sizes whose whole pool is embedded.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.work, *options.one)
        return
    pools = make_pools(options.work, options.sizes, options.shifts, list(SHARES), options.seed)
    found: dict[str, Any] = {"about": about(recipe=RECIPE.model_dump(mode="json")), "runs": [], "evaluated": []}
    for key, ways in cases(options.sizes, options.shifts, options.whole):
        networks: dict[str, Path] = {}
        for way in ways:
            result = in_a_process(options.work, key, way, options.seed)
            found["runs"].append({**key._asdict(), "way": way, "seed": options.seed, **result})
            folder = options.work / "runs" / f"{key.size}-{key.shift}-{key.share}-{way}-{options.seed}"
            files = {name: folder / f"{name}.pt" for name in WHOLE} if way == "whole" else {way: folder / "suffix.pt"}
            networks |= files
        measured = evaluate(options.work, pools[key], networks)
        found["evaluated"].append({**key._asdict(), "seed": options.seed, **measured})
        RESULTS.write_text(json.dumps(found, indent=1))
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
