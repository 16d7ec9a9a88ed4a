"""Does what a plan accepts look like the target? LFW, of which 6 % is drawn as at night, and other people at night.

    RSFT_DATA=... python benchmarks/arrival.py

Prints the AUC of a classifier between pool and target, and between what is accepted for the target and the target, for
every kind of features, and the covariates' means. Writes `benchmarks/results/arrival.json`.
"""

import json
import os
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from rsft.data.features import Features
from rsft.data.images import ImageSet, find_images
from rsft.face.adaptation.planning import rank_face_plans
from rsft.face.adaptation.recipe import Recipe
from rsft.face.networks.load import load_model
from rsft.face.pictures.drawn_shifts import night
from rsft.face.pictures.embedding import embed
from rsft.types import Interval

RESULTS = Path(__file__).parent / "results" / "arrival.json"
POOL_PEOPLE, TARGET_PEOPLE, TARGET_PICTURES = 250, 350, 300
SHIFTED_SHARE = 0.06


def drawn(images: ImageSet, rows: list[int], share: float, generator: np.random.Generator, folder: Path) -> Features:
    """Embed some pictures, a share of them drawn as at night."""
    for row in rows:
        picture = images.read(row)
        path = folder / images.ids[row]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(night(picture, generator) if generator.random() < share else picture).save(path, quality=95)
    return embed(load_model("dlib"), find_images(folder, labelled=True))


def main() -> None:
    images = find_images(Path(os.environ["RSFT_DATA"]) / "lfw-folds1-6.tar", labelled=True)
    generator = np.random.default_rng(0)
    several = [person for person, count in sorted(Counter(images.identities).items()) if count >= 2]
    order = generator.permutation(several).tolist()
    sides = set(order[:POOL_PEOPLE]), set(order[POOL_PEOPLE : POOL_PEOPLE + TARGET_PEOPLE])
    rows = [[row for row, person in enumerate(images.identities) if person in side] for side in sides]
    rows[1] = sorted(generator.permutation(rows[1])[:TARGET_PICTURES].tolist())
    with tempfile.TemporaryDirectory() as name:
        pool, target = (
            drawn(images, part, share, generator, Path(name) / folder)
            for part, share, folder in zip(rows, (SHIFTED_SHARE, 1.0), ("pool", "target"), strict=True)
        )
    options = {name: value for name, value in Recipe().plan_options().items() if name not in ("features", "method")}
    plans = [plan.to_dict() for plan in rank_face_plans(pool, target, **options)]
    RESULTS.write_text(json.dumps({"pool": len(pool), "target": len(target), "plans": plans}, indent=1))
    print(f"{len(pool)} pictures in the pool, {len(target)} in the target")
    for plan in plans:
        before, after = (Interval(**plan["arrival"][key]["auc"]) for key in ("before", "after"))
        print(f"{plan['features']}: pool told from target {before}, accepted {after}; over all {plan['after']:.3f}")
    for row in plans[0]["arrival"]["covariates"]:
        print(f"{row['name']:20s} {row['pool']:8.2f} {row['accepted']:8.2f} {row['target']:8.2f}")


if __name__ == "__main__":
    main()
