"""Does it help on shifts that nobody drew? Both networks, left as they are, whitened and tuned, against what is free.

    python benchmarks/real_shifts.py [--models dlib,sface] [--shifts age,masks,cctv,cctv-drawn] [--seeds 2] [--work DIR]

The pools of `real_pools.py`, read from the folder that `RSFT_DATA` names. Every method gets the same samples and seeds,
and its learning rate from the same choice by a quarter of the pool's people, who are never trained on; nobody evaluated
is in the pool, the target or the validation. "whitening alone" takes no training step, "not whitened" only those; a
peer's name after a comma is domain adaptation with the target's own pictures. What is done is kept in `--work`, so an
interrupted run goes on, and `--folds` runs a part. Intervals are of the evaluated identities and the seeds, over all
folds; differences are paired, also between the networks, which are evaluated on the same pictures. Writes
`benchmarks/results/real_shifts.json` and `docs/real-shifts.md`.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from real_pools import REAL, RealCase, RealPools
from runs import about, data_folder
from tables import difference

from rsft.baselines import LOSS_WEIGHTS, REJECTION, WEIGHTED, Method
from rsft.compare import Comparison, compare
from rsft.evaluation.seeds import interval_over_seeds
from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.trial import FaceTrial
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.load import load_model
from rsft.types import PRETRAINED, UNIFORM

RESULTS = Path(__file__).parent / "results" / "real_shifts.json"
PAGE = Path(__file__).parents[1] / "docs" / "real-shifts.md"
RECIPE = Recipe(batch_size=64, steps=150, shares=(0.0, 1.0), views=2)
LEARNING_RATES = (1e-5, 3e-5)
ALONE, NOT_WHITENED = "whitening alone", "not whitened"
DRAWS = (UNIFORM, WEIGHTED, LOSS_WEIGHTS, REJECTION)
VARIANTS = (REJECTION, UNIFORM)
REFERENCES = ("pretrained", "uniform", "untouched sface")
Measured = Mapping[str, list[np.ndarray]]  # metric -> (1 + B,) value and draws, for each seed


def methods_of(trial: FaceTrial, *, whitened: bool) -> dict[str, Method]:
    """Return the methods that are compared with one recipe."""
    methods = {name: method for name, method in trial.methods().items() if name in DRAWS}
    if not whitened:
        chosen = {name: methods[name] for name in VARIANTS} | trial.peers()
        return {f"{name}, {NOT_WHITENED}": method for name, method in chosen.items()}
    alone = {f"{name}, {ALONE}": replace(methods[name], steps=0) for name in VARIANTS}
    return methods | alone | trial.peers()


def compared(
    name: str, case: RealCase, model: FaceModel, recipe: Recipe, options: argparse.Namespace, out: Path
) -> tuple[dict[str, Any], dict[str, Comparison]]:
    """Plan one fold and compare the methods with and without whitening."""
    plan = plan_faces(case.pool, case.target, **recipe.plan_options(), seed=0)
    told = {
        "pool": len(case.pool),
        "shifted": int(case.shifted.sum()),
        "target": len(case.target),
        "people": case.people,
        "pairs": {key: list(pairs.counts) for key, (_, pairs) in case.sets.items()},
        "likeness of shifted": float(plan.likeness[case.shifted].mean()),
        "likeness of others": float(plan.likeness[~case.shifted].mean()),
        "verdict": str(plan.verdict),
    }
    print(name, told, flush=True)
    found = {}
    for key, of in {"whitened": recipe, "not whitened": recipe.model_copy(update={"whitening": 0.0})}.items():
        trial = FaceTrial(model, case.pool, plan, case.sets, of, target=case.target)
        methods = methods_of(trial, whitened=key == "whitened")
        wanted = options.methods.split(";") if options.methods else list(methods)
        found[key] = compare(
            trial.train,
            trial.measure,
            {method: how for method, how in methods.items() if method in wanted},
            start=trial.suffix,
            steps=of.steps,
            batch_size=of.batch_size,
            learning_rates=LEARNING_RATES,
            validate=trial.validate,
            seeds=options.seeds,
            out=out / key.replace(" ", "-"),
            config={"recipe": of.model_dump(mode="json"), "model": model.fingerprint},
            workers=options.workers,
            on_run=lambda done, total, key=key: print(f"{name}, {key}: {done} of {total}", flush=True),  # type: ignore[misc]
        )
    return told, found


def joined(folds: list[dict[str, Comparison]]) -> Measured:
    """Return the mean over folds of every method's figures, by method and metric: "METHOD | METRIC"."""
    result: dict[str, list[list[np.ndarray]]] = {}
    for comparisons in folds:
        for comparison in comparisons.values():
            for method in (PRETRAINED, *comparison.runs):
                for metric in comparison.metrics:
                    result.setdefault(f"{method} | {metric}", []).append(comparison.measured(method, metric))
    return {key: [np.mean(seeds, axis=0) for seeds in zip(*of_folds, strict=False)] for key, of_folds in result.items()}


def figures(measured: Mapping[str, Measured]) -> dict[str, Any]:
    """Return values and differences of all methods of all networks of a setting.

    Args:
        measured: Network -> figures of `joined`.
    """
    result: dict[str, Any] = {}
    for model, of in measured.items():
        for key, seeds in of.items():
            method, _, metric = key.partition(" | ")
            row: dict[str, Any] = {"value": interval_over_seeds(seeds).to_dict()}
            suffix = method.partition(", ")[2]
            references = {
                "pretrained": (model, PRETRAINED),
                "uniform": (model, UNIFORM + (f", {suffix}" if suffix else "")),  # with the same besides
                "untouched sface": ("sface", PRETRAINED),
            }
            for name, (other, reference) in references.items():
                paired = measured.get(other, {}).get(f"{reference} | {metric}")
                if paired and (other, reference) != (model, method):
                    both = list(zip(seeds, paired, strict=False))
                    row[f"less {name}"] = interval_over_seeds([a - b for a, b in both]).to_dict()
            result.setdefault(model, {}).setdefault(method, {})[metric] = row
    return result


def settings(options: argparse.Namespace) -> Iterator[tuple[str, str, float]]:
    """Yield (name, shift, share of the pool) of the settings."""
    for shift in options.shifts.split(","):
        for share in REAL[shift].shares if options.shares is None else map(float, options.shares.split(",")):
            yield f"{shift} {share:.0%}", shift, share


METRICS = ("target TAR at FMR 0.01", "target TAR at FMR 0.001", "retain TAR at FMR 0.01")
ABOUT = """# Real shifts

What helps on shifts that nobody drew, by `benchmarks/real_shifts.py`; all numbers are in
`benchmarks/results/real_shifts.json`. Each pool is LFW, the ordinary pictures of a part of the set's people, and a few
pictures of the shift (`benchmarks/real_pools.py`). "target" compares pictures of the shift with ordinary ones of people
who are neither in pool nor target, "retain" ordinary ones among themselves. "age": young against adult pictures (LAG).
"masks": masks really worn (MFR2); the pool has drawn ones. "cctv": CCTV crops against mugshots in 28 poses (FRMDB).

"rejection" and "uniform" are whitened and then trained, "whitening alone" takes no training step, "not whitened" only
those. Whitening was the root of the within-person covariance alone when this ran; what it gives by now is in
[real-dealings.md](real-dealings.md). "MMD" to "normalisation statistics" after a comma is
[domain adaptation](compare.md) with the target's own pictures. All get the same samples, and choose between two
learning rates by a quarter of the pool's people. "less uniform" is less the same with uniform draws. 95 % intervals
from a bootstrap over the evaluated people of all folds, paired, also with the untouched SFace; bold where they leave
out zero. One seed for each fold, and the trainings ran on one H100. The sets of "masks" and "cctv" are small: 26 and 34
people in two folds, and 33 to 39 target pictures, which
`rsft plan` calls too few to tell.
"""


def page(found: dict[str, Any]) -> str:
    """Return the results as a page."""
    lines = [ABOUT]
    for name, setting in found["settings"].items():
        lines += [f"## {name} of the pool", ""]
        for metric in METRICS:
            rows = [
                _row(model, method, by_metric[metric])
                for model, methods in setting["figures"].items()
                for method, by_metric in methods.items()
                if metric in by_metric
            ]
            if rows:
                head = [
                    "| network | method | value | less pretrained | less uniform | less untouched SFace |",
                    "|---" * 6 + "|",
                ]
                lines += [f"{metric[0].upper()}{metric[1:]}", "", *head, *rows, ""]
    return "\n".join(lines).rstrip() + "\n"


def _row(model: str, method: str, row: dict[str, Any]) -> str:
    cells = [difference(row[f"less {name}"]) if f"less {name}" in row else "" for name in REFERENCES]
    return f"| {model} | {method} | {row['value']['value']:.3f} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--models", default="dlib,sface")
    parser.add_argument("--shifts", default=",".join(REAL))
    parser.add_argument("--shares", help="of the pool with the shift, such as 0.05; by default those of each shift")
    parser.add_argument("--folds", help="such as 0,1; by default all. With some, nothing is summed up")
    parser.add_argument("--methods", help='such as "rejection;uniform, not whitened"; by default all')
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cut", type=int, default=RECIPE.cut)
    parser.add_argument("--steps", type=int, default=RECIPE.steps)
    parser.add_argument("--embed-only", action="store_true")
    parser.add_argument("--work", type=Path, default=Path("real-shifts"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, recipe = data_folder(parser), RECIPE.model_copy(update={"cut": options.cut, "steps": options.steps})
    finder = RealPools(load_model("sface"), recipe.cut, data, options.work)
    overlap = {}
    for archive in {shift.archive for shift in REAL.values()}:
        overlap[archive] = finder.write_overlap(archive)
        print(f"{archive}: {overlap[archive]} LFW people by name and by face under another name", flush=True)
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"settings": {}}
    found["about"] = about(recipe=recipe.model_dump(mode="json"), learning_rates=LEARNING_RATES, overlap=overlap)
    for name, shift, share in settings(options):
        measured: dict[str, Measured] = {}
        told: dict[str, list[Any]] = {}
        for model_name in options.models.split(","):
            model = load_model(model_name)
            pools = RealPools(model, recipe.cut, data, options.work)
            folds = range(REAL[shift].folds) if options.folds is None else map(int, options.folds.split(","))
            of_folds = []
            for fold in folds:
                case = pools.build(shift, fold, share)
                if options.embed_only:
                    continue
                out = options.work / "compared" / f"{name} {model_name} {fold}{recipe.cut}".replace(" ", "_")
                of_fold, comparisons = compared(f"{name} {model_name} {fold}", case, model, recipe, options, out)
                told.setdefault(model_name, []).append(of_fold)
                of_folds.append(comparisons)
            if of_folds:
                measured[model_name] = joined(of_folds)
        if options.embed_only:
            continue
        setting = {"folds": told, "figures": figures(measured)}
        if options.folds is None:
            found["settings"][name] = setting
            RESULTS.write_text(json.dumps(found, indent=1))
            PAGE.write_text(page(found))
        else:
            print(page({"settings": {name: setting}}), flush=True)


if __name__ == "__main__":
    main()
