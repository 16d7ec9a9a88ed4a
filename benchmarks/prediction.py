"""Does a plan predict what a training will bring? Shifts, shares of the pool and target sizes drawn at random.

    python benchmarks/prediction.py --lfw DIR [--pools 18] [--work DIR]

The pools of `shifted_faces.py`; a quarter of them have no shift, or a shift of which the pool has nothing. For each, a
plan is made, and rejection and uniform tuning are trained once with the same samples. Told are the rank correlations of
what the plan says with the gain: the AUC, how far accepted batches differ from uniform ones (total variation), and
the same where the verdict is "worth trying" and 0 elsewhere; and how often "worth trying" was right: right is a gain
over uniform tuning, or over the pretrained network, whose 95 % interval over the evaluated identities is above zero.
Writes `benchmarks/results/prediction.json`.
"""

import argparse
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
from runs import Kept, about, read_arguments
from scipy.stats import spearmanr
from shifted_faces import DRAWN, Cases

from rsft.baselines import REJECTION
from rsft.compare import Batches
from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.trial import FaceTrial
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.load import load_model
from rsft.types import PRETRAINED, UNIFORM
from rsft.verdict import Outcome

RESULTS = Path(__file__).parent / "results" / "prediction.json"
METRIC = "target TAR at FMR 0.01"
RECIPE = Recipe(features="activations", batch_size=64, shares=(0.0, 0.75))
LEARNING_RATE = 1e-5
STEPS = 75
SHARES, TARGETS = (0.01, 0.5), (50, 2000)  # log-uniform between
WITHOUT_EVERY = 4  # of the pools, one is without shift or without support
DRAWS = 2000


def settings_of(number: int) -> dict[str, Any]:
    """The case, share and target size of one pool."""
    generator = np.random.default_rng([7, number])
    share, target = (float(np.exp(generator.uniform(*np.log(ends)))) for ends in (SHARES, TARGETS))
    name = str(generator.choice(list(DRAWN)))
    if number % WITHOUT_EVERY == WITHOUT_EVERY - 1:
        name = ("none", "no-support")[number // WITHOUT_EVERY % 2]
    return {"name": name, "share": share, "target": round(target)}


def measure(model: FaceModel, options: argparse.Namespace, settings: dict[str, Any]) -> dict[str, Any]:
    """What the plan says, and what the trainings bring."""
    cases = Cases(model, RECIPE.cut, options.lfw, None, options.work / "embedded", settings["target"])
    case = cases.build(settings["name"], settings["share"])
    plan = plan_faces(case.pool, case.target, **RECIPE.plan_options(), seed=0)
    acceptance = plan.acceptance.numpy()
    trial = FaceTrial(model, case.pool, plan, {"target": case.evaluation}, RECIPE)
    measured = {PRETRAINED: trial.measure(trial.suffix)[METRIC]}
    for name in (UNIFORM, REJECTION):
        batches = Batches(trial.methods()[name], STEPS, RECIPE.batch_size, seed=0)
        measured[name] = trial.measure(trial.train(batches, LEARNING_RATE, 0))[METRIC]
    gains = {}
    for other in (PRETRAINED, UNIFORM):
        drawn = measured[REJECTION] - measured[other]
        gains[other] = [float(drawn[0]), *np.quantile(drawn[1:], [0.025, 0.975]).tolist()]
    return settings | {
        "outcome": str(plan.verdict.outcome),
        "auc": plan.diagnostics["auc"],
        "differs": float(np.abs(acceptance / acceptance.mean() - 1).mean() / 2),
        "gain": gains,
    }


def told(pools: list[dict[str, Any]]) -> dict[str, Any]:
    """Rank correlations with 95 % intervals over pools, and precision and recall of the verdict."""
    result: dict[str, Any] = {"pools": len(pools)}
    generator = np.random.default_rng(0)
    worth = np.array([pool["outcome"] == Outcome.WORTH_TRYING for pool in pools])
    for other in (PRETRAINED, UNIFORM):
        gain = np.array([pool["gain"][other] for pool in pools])
        right = gain[:, 1] > 0
        result[other] = {
            "gained": int(right.sum()),
            "worth trying": int(worth.sum()),
            "precision": float(right[worth].mean()),
            "recall": float(worth[right].mean()),
        }
        differs = np.array([pool["differs"] for pool in pools])
        figures = {"auc": np.array([pool["auc"] for pool in pools]), "differs": differs, "advised": worth * differs}
        for figure, said in figures.items():
            rows = generator.integers(len(pools), size=(DRAWS, len(pools)))
            drawn = [spearmanr(said[row], gain[row, 0]).statistic for row in rows]
            low, high = np.nanquantile(drawn, [0.025, 0.975])
            result[other][figure] = [float(spearmanr(said, gain[:, 0]).statistic), float(low), float(high)]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="Does a plan predict what a training will bring?")
    parser.add_argument("--pools", type=int, default=18)
    options = read_arguments(parser)
    model = load_model("dlib")
    settings = {"learning_rate": LEARNING_RATE, "steps": STEPS, "recipe": RECIPE.model_dump(mode="json")}
    kept = Kept(options.work / "prediction.json", **settings, model=model.fingerprint)
    pools = []
    for number in range(options.pools):
        pool = settings_of(number)
        pools.append(kept.result(json.dumps(pool), functools.partial(measure, model, options, pool)))
    summary = told(pools)
    RESULTS.write_text(json.dumps({"about": about(**settings), "summary": summary, "of_each": pools}, indent=1))
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
