"""Wrong labels in the pool, with and without the guard of `Recipe.min_label_margin`.

    python benchmarks/label_noise.py

The demo's night shift: 22 people in the pool, 8 in the target, 10 evaluated; a share of the pool's labels is exchanged
for another person's. Writes `benchmarks/results/label_noise.json`: how many of the wrong labels the guard finds and how
many right ones it doubts, and TAR at FMR 0.01 of the tuned weights, all the way and as the gate leaves them.
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rsft.data.features import Features
from rsft.data.images import find_images
from rsft.face.adaptation.candidates import all_candidates
from rsft.face.adaptation.label_noise import label_margin
from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.tune import tune
from rsft.face.adaptation.views import trial_of
from rsft.face.demo import draw_faces
from rsft.face.evaluation.pairs import list_all_pairs
from rsft.face.evaluation.verification import verify
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.load import load_model
from rsft.face.pictures.embedding import embed
from rsft.face.pictures.orl import orl_faces

RESULTS = Path(__file__).parent / "results" / "label_noise.json"
FLIPPED = (0.3, 0.1, 0.0)
MARGINS = (None, 0.0)
FMR = 0.01
SETS = {"target": "evaluation", "retain": "retention"}


def embedded(model: FaceModel, folder: Path) -> dict[str, Features]:
    photographs = orl_faces()
    names = sorted(set(photographs.identities))
    draw_faces(photographs, folder, model, "night", copies=4, seed=0, advance=lambda parts: None)
    people = {"pool": names[:22], "target": names[22:30], "evaluation": names[30:], "retention": names[30:]}
    features = {}
    for part, kept in people.items():
        images = find_images(folder / part, labelled=True)
        images = images.subset([row for row, person in enumerate(images.identities) if person in kept])
        features[part] = embed(model, images, aligned=True, views=0 if part == "target" else 2)
    return features


def measure(model: FaceModel, features: dict[str, Features], share: float, margin: float | None) -> dict[str, Any]:
    pool, recipe = features["pool"], Recipe(features="activations", views=2, min_label_margin=margin)
    generator = np.random.default_rng(0)
    true = pool.people
    flipped = generator.random(len(true)) < share
    people = np.where(flipped, (true + generator.integers(1, true.max() + 1, len(true))) % (true.max() + 1), true)
    pool = replace(pool, ids=[f"{person:04d}/{row}" for row, person in enumerate(people)])
    plan = plan_faces(pool, features["target"], **recipe.plan_options(), seed=0)
    run = tune(model, pool, all_candidates(pool, plan, recipe, 0), recipe, folds=2, seed=0)
    doubtful = label_margin(pool.embeddings, people) < (-np.inf if margin is None else margin)
    result: dict[str, Any] = {
        "flipped_fraction": share,
        "min_label_margin": margin,
        "wrong_found": float(doubtful[flipped].mean()) if flipped.any() else None,
        "right_doubted": float(doubtful[~flipped].mean()),
        "gate": run.gate.to_dict(),
    }
    for way, kept in {"all the way": 1.0, "as kept": run.gate.share}.items():
        suffixes = {"pretrained": None, "tuned": run.line.at(kept) if kept else None}
        for key, part in SETS.items():
            trial = trial_of(suffixes, list_all_pairs(features[part].people), features[part])
            report = verify([trial], fmrs=[FMR])
            result[f"{key}, {way}"] = {
                "tar": report.systems["tuned"].tar_at_fmr[FMR].to_dict(),
                "gain": report.difference("tuned", "pretrained", FMR).to_dict(),
            }
    return result


def main() -> None:
    model, results = load_model("dlib"), []
    with tempfile.TemporaryDirectory() as folder:
        features = embedded(model, Path(folder))
    for share in FLIPPED:
        for margin in MARGINS:
            results.append(measure(model, features, share, margin))
            print(json.dumps(results[-1], indent=1), flush=True)
            RESULTS.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
