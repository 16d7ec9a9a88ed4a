"""What `rsft fit` ships: the default recipe with two views, and how far the gate goes towards the tuned weights.

    python benchmarks/gate.py --lfw DIR [--muct DIR] [--shifts night,mask] [--seeds 1] [--work DIR]

The shifts of `evidence.py`. The gate chooses by held-out people of the pool; the people evaluated are measured at the
share it chose, and all of the way for comparison. Intervals are of the evaluated identities, over the mean of the
seeds. Writes `benchmarks/results/gate.json`, with what earlier runs kept in `--work`.
"""

import argparse
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
from evidence import COMPARED, PLANNED, build
from runs import Kept, about, read_arguments
from shifted_faces import MUCT, Case, Cases
from tables import difference

from rsft.face.adaptation.candidates import all_candidates
from rsft.face.adaptation.gate import MIN_PEOPLE, OTHERS_FMRS, TARGET_FMRS
from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.tune import tune
from rsft.face.adaptation.views import trial_of
from rsft.face.evaluation.bootstrap import interval
from rsft.face.evaluation.verification import verify
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.load import load_model

RESULTS = Path(__file__).parent / "results" / "gate.json"
RECIPE = Recipe(features="activations")
FMRS = (0.01, 0.001)
DRAWS = 500
SHIPPED, WHOLE = "shipped", "all of the way"


def fitted(model: FaceModel, case: Case, seed: int) -> dict[str, Any]:
    """What the plan and the gate say, and what is gained on the people evaluated, each with its draws of identities."""
    plan = plan_faces(case.pool, case.target, **RECIPE.plan_options(), seed=seed)
    candidates = all_candidates(case.pool, plan, RECIPE, seed)
    tuned = tune(model, case.pool, candidates, RECIPE, folds=2, seed=seed)
    result: dict[str, Any] = {"outcome": str(plan.verdict.outcome), "gate": tuned.gate.to_dict(), "gain": {}}
    for way, share in {SHIPPED: tuned.gate.share, WHOLE: 1.0}.items():
        suffixes = {"pretrained": None, "tuned": tuned.line.at(share) if share else None}
        gains = result["gain"].setdefault(way, {})
        for key, (features, pairs) in {"target": case.evaluation, "retain": case.retention}.items():
            report = verify([trial_of(suffixes, pairs, features)], fmrs=FMRS, draws=DRAWS)
            for fmr in FMRS:
                value = report.difference("tuned", "pretrained", fmr).value
                if value is not None:
                    drawn = report.draws["tuned"][fmr] - report.draws["pretrained"][fmr]
                    gains[f"{key} at FMR {fmr:g}"] = [value, *drawn.round(5).tolist()]
    return result


def summary(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each shift, with the gains' means over seeds."""
    rows = []
    for shift in dict.fromkeys(result["shift"] for result in results):
        seeds = [result for result in results if result["shift"] == shift]
        row = {"shift": shift, "outcome": seeds[0]["outcome"], "gates": [run["gate"] for run in seeds]}
        for way in (SHIPPED, WHOLE):
            of_each = [run["gain"][way] for run in seeds]
            row[way] = {name: mean_interval([gains[name] for gains in of_each]) for name in of_each[0]}
        rows.append(row)
    return rows


def mean_interval(gains: list[list[float]]) -> dict[str, Any]:
    value, *draws = np.mean(gains, axis=0)
    return interval(value, np.array(draws)).to_dict()


def table(rows: list[dict[str, Any]], fmr: float) -> str:
    """What is gained on the shift and on clean faces."""
    lines = [
        f"| TAR at FMR {fmr:g} | the plan says | the gate expects | shares | shipped, target | shipped, clean "
        "| all of the way, target | all of the way, clean |",
        "|---" * 8 + "|",
    ]
    for row in rows:
        cells = [
            difference(row[way][name]) if (name := f"{key} at FMR {fmr:g}") in row[way] else "too few impostors"
            for way in (SHIPPED, WHOLE)
            for key in ("target", "retain")
        ]
        expected = "; ".join(difference(gate["gain"]) for gate in row["gates"])
        shares = ", ".join(f"{gate['share']:g}" for gate in row["gates"])
        lines.append(f"| {row['shift']} | {row['outcome']} | {expected} | {shares} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="What `rsft fit` ships.")
    parser.add_argument("--shifts", default=",".join([*COMPARED, *PLANNED]))
    parser.add_argument("--seeds", type=int, default=1)
    options = read_arguments(parser)
    model = load_model("dlib")
    rule = {"target": TARGET_FMRS, "others": OTHERS_FMRS, "people": MIN_PEOPLE}
    settings = {"recipe": RECIPE.model_dump(mode="json"), "gate": rule, "model": model.fingerprint}
    kept = Kept(options.work / "gate.json", **settings)
    cases = Cases(model, RECIPE.cut, options.lfw, options.muct, options.work / "embedded")
    case = functools.lru_cache(1)(lambda name: build(cases, name))
    for shift in options.shifts.split(","):
        if shift in MUCT and options.muct is None:
            print(f"{shift}: left out, give --muct", flush=True)
            continue
        for seed in range(options.seeds):
            of = {"shift": shift, "seed": seed}
            kept.result(json.dumps(of), lambda of=of: of | fitted(model, case(of["shift"]), of["seed"]))
    results = summary(list(kept.results.values()))
    RESULTS.write_text(json.dumps({"about": about(**settings), "results": results}, indent=1))
    for fmr in FMRS:
        print(table(results, fmr), end="\n\n")


if __name__ == "__main__":
    main()
