"""What rejection gains as the pool, the shift's share of it and the number of steps grow.

    python benchmarks/budget.py --lfw DIR [--shift mask] [--work DIR]

A pool of `shifted_faces.py`, whole and with one copy of each picture in place of four. Rejection and uniform tuning are
trained once each, at one learning rate, with the same samples; intervals are of the evaluated identities alone. Beside
the gains stands how often, in the mean, the views that carry the shift were trained on. Writes
`benchmarks/results/budget.json` and prints the table.
"""

import argparse
import functools
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from runs import Kept, about, read_arguments
from shifted_faces import COPIES, Case, Cases
from tables import difference

from rsft.baselines import REJECTION
from rsft.compare import Batches
from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.trial import FaceTrial
from rsft.face.evaluation.bootstrap import interval
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.load import load_model
from rsft.types import PRETRAINED, UNIFORM

RESULTS = Path(__file__).parent / "results" / "budget.json"
METRIC = "target TAR at FMR 0.001"
RECIPE = Recipe(features="activations", batch_size=64, shares=(0.0, 0.75))
LEARNING_RATE = 1e-5
SHARES = (0.02, 0.06, 0.2)
COPIES_IN_POOL = (1, COPIES)
STEPS = (75, 300)


def with_copies(case: Case, copies: int) -> Case:
    """The case with the first so many copies of each of the pool's pictures."""
    rows = np.flatnonzero([int(item.rpartition("#")[2]) < copies for item in case.pool.ids])
    return replace(case, pool=case.pool.subset(rows), people=case.people[rows], shifted=case.shifted[rows])


def measure(model: FaceModel, cases: Cases, shift: str, share: float, copies: int) -> list[dict[str, Any]]:
    """For each number of steps, what rejection gains over no and over uniform tuning."""
    case = with_copies(cases.build(shift, share), copies)
    plan = plan_faces(case.pool, case.target, **RECIPE.plan_options(), seed=0)
    trial = FaceTrial(model, case.pool, plan, {"target": case.evaluation}, RECIPE)
    carries, methods, found = np.repeat(case.shifted[trial.rows], trial.views), trial.methods(), []
    before = trial.measure(trial.suffix)[METRIC]
    for steps in STEPS:
        result: dict[str, Any] = {"steps": steps, "views": len(carries), "share": float(carries.mean())}
        measured = {PRETRAINED: before}
        for name in (UNIFORM, REJECTION):
            batches = Batches(methods[name], steps, RECIPE.batch_size, seed=0)
            measured[name] = trial.measure(trial.train(batches, LEARNING_RATE, 0))[METRIC]
            result[f"{name}, times"] = float(carries[np.concatenate(batches.seen)].sum() / carries.sum())
        for other in (PRETRAINED, UNIFORM):
            value, *drawn = measured[REJECTION] - measured[other]
            result[other] = interval(value, drawn).to_dict()
        found.append(result)
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Rejection less the others, target TAR at FMR .001."""
    lines = [
        "| views | share shifted | steps | a shifted view seen by uniform | by rejection | - pretrained | - uniform |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        times = " | ".join(f"{row[f'{name}, times']:.1f}" for name in (UNIFORM, REJECTION))
        gains = " | ".join(difference(row[other]) for other in (PRETRAINED, UNIFORM))
        lines.append(f"| {row['views']:,} | {row['share']:.1%} | {row['steps']} | {times} | {gains} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Gain by pool, share and budget.")
    parser.add_argument("--shift", default="mask")
    options = read_arguments(parser)
    model = load_model("dlib")
    cases = Cases(model, RECIPE.cut, options.lfw, None, options.work / "embedded")
    settings = {"learning_rate": LEARNING_RATE, "recipe": RECIPE.model_dump(mode="json"), "model": model.fingerprint}
    kept = Kept(options.work / "budget.json", **settings)
    rows: list[dict[str, Any]] = []
    for share, copies in itertools.product(SHARES, COPIES_IN_POOL):
        make = functools.partial(measure, model, cases, options.shift, share, copies)
        rows += kept.result(f"{options.shift}, {share:g} shifted, {copies} of each picture", make)
    RESULTS.write_text(json.dumps({"about": about(shift=options.shift, **settings), "rows": rows}, indent=1))
    print(table(rows))


if __name__ == "__main__":
    main()
