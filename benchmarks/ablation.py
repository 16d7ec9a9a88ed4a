"""What in a recipe helps: one thing changed at a time, measured on people of the pool who are not trained on.

    python benchmarks/ablation.py --lfw DIR [--shifts low-resolution,mask] [--shifted 0.06] [--seeds 1] [--work DIR]

The pools of `shifted_faces.py`. Their held-out people are seen with the shift drawn on every picture, and without it,
so that more pairs tell than a user's validation has; nobody of the evaluation is looked at. Each training is measured
at three shares of the line from the pretrained to the tuned weights. Writes `benchmarks/results/ablation.json`, with
what earlier runs kept in `--work`.
"""

import argparse
import functools
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from evidence import RECIPE
from runs import Kept, about, read_arguments
from shifted_faces import SHARE, Case, Cases

from rsft.alternatives import LOSS_WEIGHTS, ORACLE, REJECTION, UNIFORM, WEIGHTED
from rsft.compare import Batches
from rsft.face.bundle import FaceModel
from rsft.face.comparing import FaceTrial
from rsft.face.model import load_model
from rsft.face.planning import plan_faces
from rsft.tuning.freezing import interpolate

RESULTS = Path(__file__).parent / "results" / "ablation.json"
SHARES = (0.5, 0.75, 1.0)
LEARNING_RATE = 1e-5
PLAIN = RECIPE.model_copy(update={"shares": (0.0, 1.0)})
# what is changed: settings of the recipe, the learning rate, the steps, or the method
CHANGES: dict[str, dict[str, Any]] = {
    "rejection": {},
    "three times the rate": {"learning_rate": 3e-5},
    "half the steps": {"steps": 75},
    "a quarter retained": {"retain_fraction": 0.25},
    "three quarters retained": {"retain_fraction": 0.75},
    "margin .1": {"margin_rad": 0.1},
    "scale 16": {"scale": 16.0},
    "learnt prototypes": {"learnt_prototypes": True},
    "identities accepted whole": {"accept_by": "identity"},
    "ratio in the embedding": {"features": "embedding"},
    "ratio in the covariates": {"features": "covariates"},
    "exact M": {"envelope": "max"},
    "a tenth clipped": {"envelope": "max_tv=0.1"},
    "a fifth clipped": {"envelope": "max_tv=0.2"},
    "distillation": {"distillation": 20.0},
    "pull to the start": {"pull_to_start": 1.0},
    "affine only": {"trains": "affine"},
    "adapters": {"trains": "lora"},
    UNIFORM: {"method": UNIFORM},
    WEIGHTED: {"method": WEIGHTED},
    LOSS_WEIGHTS: {"method": LOSS_WEIGHTS},
    ORACLE: {"method": ORACLE},
}


def trained(model: FaceModel, cases: Cases, case: Case, change: dict[str, Any], seed: int) -> dict[str, Any]:
    """Target and retention TAR of one training, less those of the pretrained network, at each share."""
    settings = {"learning_rate": LEARNING_RATE, "method": REJECTION} | change
    method = settings.pop("method")
    recipe = PLAIN.model_copy(update=settings)
    plan = plan_faces(case.pool, case.target, case.people, **recipe.plan_options(), seed=0)
    rows = FaceTrial(model, case.pool, case.people, plan, {}, recipe).rows
    trial = FaceTrial(model, case.pool, case.people, plan, cases.held_out(case.name, case, rows), recipe)
    batches = Batches(trial.methods(case.shifted)[method], recipe.steps or 0, recipe.batch_size, seed)
    suffix = trial.train(batches, recipe.learning_rate, seed)
    before, start = trial.measure(trial.suffix), trial.suffix.state_dict()
    end = {name: tensor.clone() for name, tensor in suffix.state_dict().items()}
    result = {}
    for share in SHARES:
        suffix.load_state_dict(interpolate(start, end, share))
        result[f"{share:g}"] = {m: float(values[0] - before[m][0]) for m, values in trial.measure(suffix).items()}
    return result


def table(results: list[dict[str, Any]]) -> str:
    """Gain and loss at FMR .001, in points, by the pool's shifted share, the change and the share of the way."""
    lines = ["| shifted | | " + " | ".join(f"{share:g}" for share in SHARES) + " |", "|---" * (2 + len(SHARES)) + "|"]
    by_change: dict[tuple[float, str], list[dict[str, Any]]] = {}
    for result in results:
        by_change.setdefault((result["shifted"], result["change"]), []).append(result["gain"])
    for (shifted, change), gains in by_change.items():
        cells = []
        for share in SHARES:
            gain, loss = (
                100 * np.mean([of_run[f"{share:g}"][f"{key} TAR at FMR 0.001"] for of_run in gains])
                for key in ("target", "retain")
            )
            cells.append(f"{gain:+.1f} / {loss:+.1f}")
        lines.append(f"| {shifted:.0%} | {change} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="What in a recipe helps.")
    parser.add_argument("--shifts", default="low-resolution,mask")
    parser.add_argument("--shifted", type=float, default=SHARE, help="share of the pool that carries the shift")
    parser.add_argument("--changes", default=",".join(CHANGES))
    parser.add_argument("--seeds", type=int, default=1)
    options = read_arguments(parser)
    model = load_model("dlib")
    cases = Cases(model, RECIPE.cut, options.lfw, None, options.work / "embedded")
    settings = {"learning_rate": LEARNING_RATE, "recipe": PLAIN.model_dump(mode="json"), "model": model.fingerprint}
    kept = Kept(options.work / "ablation.json", **settings)
    for shift in options.shifts.split(","):
        case = cases.build(shift, options.shifted)
        for change, seed in itertools.product(options.changes.split(","), range(options.seeds)):
            of = {"shift": shift, "shifted": options.shifted, "change": change, "seed": seed}
            make = functools.partial(trained, model, cases, case, CHANGES[change], seed)
            kept.result(json.dumps(of), lambda: of | {"gain": make()})  # noqa: B023
    results = list(kept.results.values())
    RESULTS.write_text(json.dumps({"about": about(**settings), "results": results}, indent=1))
    print(table(results))


if __name__ == "__main__":
    main()
