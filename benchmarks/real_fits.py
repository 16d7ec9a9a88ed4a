"""What does a whole `rsft fit` ship on a real shift? Photographs, each network, and people who are evaluated in turn.

    python benchmarks/real_fits.py [--settings "age 0.05"] [--models sface+dlib,sface,dlib] [--work DIR]

The pool, target and evaluated people of `real_pools.py` (first dealing of the people), as photographs. `fit` runs with
its default recipe and no retention set, so nothing but the pool and the target has a part in what is shipped. Each
person is evaluated once, by what one fold shipped, against the same network untouched and the best untouched one: 95 %
intervals over the evaluated people, paired. Writes `benchmarks/results/real_fits.json`, in which other settings stay,
and `docs/real-fits.md`; what is done is kept in `--work`.
"""

import argparse
import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from real_pools import REAL, RealCase, RealPools, photographs
from real_shifts import RECIPE
from runs import Kept, about, data_folder
from tables import difference

from rsft.data.images import ImageSet, find_images
from rsft.face.evaluation.trials import scored
from rsft.face.evaluation.verification import VerificationReport, verify
from rsft.face.fit import fit
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.load import load_model
from rsft.face.pictures.embedding import embed

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results" / "real_fits.json", HERE.parent / "docs" / "real-fits.md"
SETS, FMRS = ("target", "within", "retain"), (0.01, 0.001)
BEST_KNOWN = "sface"
SEED = 1  # not 0, by which the people are dealt out already
LISTED = 40_000  # impostor pairs that a run is given: enough for an FMR of 0.001 by the rule of 30
NAMES = {
    "target": "Across the shift: a picture with it against an ordinary one",
    "within": "Within it: two pictures with the shift",
    "retain": "Ordinary pictures",
}
ABOUT = """# What `rsft fit` ships on real shifts

`benchmarks/real_fits.py`: whole runs of `rsft fit` on photographs, with its default recipe, on the pools of
[real-shifts.md](real-shifts.md) (first dealing of the people, one run a fold, seed {seed}). A run has no retention set
and sees nothing of the evaluated people, who are other people in each fold and are evaluated once. TAR at a fixed FMR;
the intervals are over the evaluated people, paired, and bold where they leave out zero. "sface+dlib" is the fusion of
both. rsft {rsft}, commit {commit}.
"""


def without_activations(case: RealCase) -> RealCase:
    """Return a case for its names and pairs alone; the activations of the pools of all folds take 10 GB."""
    sets = {name: (replace(features, activations=None), pairs) for name, (features, pairs) in case.sets.items()}
    pool, target = (replace(features, activations=None) for features in (case.pool, case.target))
    return replace(case, pool=pool, target=target, sets=sets)


def prepare(case: RealCase, shift: str, data: Path, folder: Path) -> None:
    """Write the photographs and lists of a case into a folder."""
    photographs(case, shift, data, folder)
    theirs, pairs = case.sets["target"]
    generator = np.random.default_rng(0)
    some = np.flatnonzero(~pairs.genuine)
    rows = [*np.flatnonzero(pairs.genuine), *np.sort(generator.permutation(some)[:LISTED])]
    with (folder / "across.csv").open("w", newline="") as file:
        named = [(theirs.ids[pairs.a[row]], theirs.ids[pairs.b[row]], int(pairs.genuine[row])) for row in rows]
        csv.writer(file).writerows([("a", "b", "same"), *named])


def embeddings_of(model: FaceModel, case: RealCase, images: ImageSet) -> np.ndarray:
    """Return the embeddings (N, D) of the photographs of the evaluated people."""
    place = {item: row for row, item in enumerate(images.ids)}
    found = embed(model, images.subset([place[item] for item in case.sets["target"][0].ids]))
    if found.quarantined:
        raise RuntimeError(f"pictures of evaluated people cannot be used: {found.quarantined[:3]}")
    return found.embeddings


def run(case: RealCase, model: str, folder: Path, out: Path) -> dict[str, Any]:
    """Fit a network, and tell what it and the untouched one give the evaluated people."""
    made = fit(
        pool=folder / "pool.csv", target=folder / "target.csv", evaluation=folder / "across.csv", out=out, model=model,
        seed=SEED, overwrite=True,
    )  # fmt: skip
    images = find_images(folder)
    for name, network in (("untouched", load_model(model)), ("fitted", made.model)):
        np.save(out.parent / f"{out.name}-{name}.npy", embeddings_of(network, case, images))
    return {name: made.metrics[name] for name in ("verdict", "validation", "seconds")}


def compared(cases: list[RealCase], found: dict[str, list[dict[str, np.ndarray]]]) -> dict[str, VerificationReport]:
    """Verify every set of pairs by all systems.

    Args:
        cases: The folds.
        found: Network -> for each fold, its embeddings "untouched" and "fitted".
    """
    reports = {}
    for kind in SETS:
        trials = []
        for fold, case in enumerate(cases):
            systems = {name: folds[fold]["untouched"] for name, folds in found.items()}
            systems |= {f"{name}, fitted": of[fold]["fitted"] for name, of in found.items() if "fitted" in of[fold]}
            trials.append(scored(systems, case.sets[kind][1]))
        reports[kind] = verify(trials, fmrs=FMRS)
    return reports


def summed_up(reports: dict[str, VerificationReport], models: list[str]) -> dict[str, Any]:
    """Return the figures of every system, by set and FMR."""
    result: dict[str, Any] = {}
    for kind, report in reports.items():
        for fmr in FMRS:
            rows = {}
            for name in (each for model in models for each in (model, f"{model}, fitted") if each in report.systems):
                rows[name] = {"value": report.systems[name].tar_at_fmr[fmr].to_dict()}
                for key, other in (("less itself untouched", name.partition(",")[0]), ("less best", BEST_KNOWN)):
                    if other != name and other in report.systems:
                        rows[name][key] = report.difference(name, other, fmr).to_dict()
            result[f"{kind} {fmr:g}"] = rows
    return result


def page(found: dict[str, Any]) -> str:
    """Return the results as a page."""
    lines = [ABOUT.format(**found["about"]).rstrip(), ""]
    for setting, of in found["settings"].items():
        shift, _, share = setting.partition(" ")
        lines += [f"## {shift}, {float(share):.0%} of the pool", ""]
        lines += ["{} people evaluated, in {} of {} folds.".format(of["people"], *of["folds"]) + of.get("note", ""), ""]
        for key, rows in of["figures"].items():
            kind, fmr = key.split()
            lines += [f"{NAMES[kind]}, TAR at FMR {fmr}", ""]
            lines += [f"| system | value | less itself untouched | less untouched {BEST_KNOWN} |", "|---" * 4 + "|"]
            for name, row in rows.items():
                cells = [
                    difference(row[cell]) if cell in row else "" for cell in ("less itself untouched", "less best")
                ]
                lines.append(f"| {name} | {row['value']['value']:.3f} | {' | '.join(cells)} |")
            lines.append("")
        lines += ["| run | what the gate kept of the way | seconds |", "|---|---|---|"]
        for name, runs in of["runs"].items():
            for fold, told in enumerate(runs):
                lines.append(
                    f"| {name}, fold {fold} | {told['validation']['share']:.0%} | {sum(told['seconds'].values()):.0f} |"
                )
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--models", default="sface+dlib,sface,dlib")
    parser.add_argument("--settings", default="age 0.05")
    parser.add_argument("--folds", type=int, help="only so many of the folds of people; by default all")
    parser.add_argument("--work", type=Path, default=Path("real-shifts"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, models = data_folder(parser), options.models.split(",")
    pools = RealPools(load_model(BEST_KNOWN), RECIPE.cut, data, options.work)
    kept = Kept(options.work / "fits.json", seed=SEED)
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"settings": {}}
    found["about"] = about(seed=SEED)
    for setting in options.settings.split(";"):
        shift, _, share = setting.partition(" ")
        cases = [without_activations(pools.build(shift, fold, float(share))) for fold in range(REAL[shift].folds)]
        cases = cases[: options.folds]
        embeddings: dict[str, list[dict[str, np.ndarray]]] = {}
        runs: dict[str, list[dict[str, Any]]] = {}
        for model in models:
            for fold, case in enumerate(cases):
                folder = options.work / "photographs" / f"{setting.replace(' ', '-')}-fold{fold}"
                out = options.work / "fits" / f"{folder.name}-{model}"
                if not (folder / "across.csv").exists():
                    prepare(case, shift, data, folder)
                key = f"{setting} {model} {fold}"
                told = kept.result(key, lambda c=case, m=model, f=folder, o=out: run(c, m, f, o))  # type: ignore[misc]
                runs.setdefault(model, []).append(told)
                arrays = {name: np.load(out.parent / f"{out.name}-{name}.npy") for name in ("untouched", "fitted")}
                embeddings.setdefault(model, []).append(arrays)
        if BEST_KNOWN not in models:
            for fold, case in enumerate(cases):
                path = options.work / "fits" / f"{setting.replace(' ', '-')}-fold{fold}-{BEST_KNOWN}-untouched.npy"
                if not path.exists():
                    images = find_images(options.work / "photographs" / f"{setting.replace(' ', '-')}-fold{fold}")
                    np.save(path, embeddings_of(load_model(BEST_KNOWN), case, images))
                embeddings.setdefault(BEST_KNOWN, []).append({"untouched": np.load(path)})
        found["settings"][setting] = {
            "people": sum(case.people for case in cases),
            "folds": [len(cases), REAL[shift].folds],
            "figures": summed_up(compared(cases, embeddings), list(embeddings)),
            "runs": runs,
        }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    PAGE.write_text(page(found))


if __name__ == "__main__":
    main()
