"""How often `rsft monitor` sees a drift where there is none, and how often it sees one that is drawn.

    RSFT_DATA=FOLDER python benchmarks/monitor.py

Pictures of LFW, one of each person, are dealt out at random to an old target and to new pictures: they have one law.
In the new ones a share of the chips then gets one of the shifts of the demo. The ORL faces are dealt out by people: ten
pictures of each, so that the new ones show other people, or at random. Writes `benchmarks/results/monitor.json`.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from runs import about, data_folder

from rsft.data.features import Features, join_features
from rsft.data.images import ImageSet, find_images
from rsft.disk.whole import replace_file
from rsft.errors import NoFaceError
from rsft.face.adaptation.drift import ALARM, Drift, DriftFound, drift_from_pictures, drift_from_summary, kept_of
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.load import load_model
from rsft.face.pictures.drawn_shifts import SHIFTS
from rsft.face.pictures.embedding import chip_reader, embed
from rsft.face.pictures.orl import orl_faces

RESULTS = Path(__file__).parent / "results" / "monitor.json"
PEOPLE = 900
KINDS = ("covariates", "activations", "embedding")
SIZES = ((60, 60), (200, 150), (400, 400))
SHARES = (0.1, 0.3, 1.0)
SUMMARIES = 5  # times as many calls with a summary, which is fast


def embedded(model: FaceModel, images: ImageSet, folder: Path) -> dict[str, Features]:
    """The features of the chips of a set, as they are and with each shift; only those that show a face."""
    to_chip, generator = chip_reader(model), np.random.default_rng(0)
    for index in range(len(images)):
        try:
            chip = to_chip(images.read(index))
        except NoFaceError:
            continue
        for name, shift in {"clean": lambda chip, generator: chip, **SHIFTS}.items():
            path = folder / name / f"{images.identities[index]}" / f"{index:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(shift(chip, generator)).save(path)
    return {name: embed(model, find_images(folder / name), aligned=True) for name in ("clean", *SHIFTS)}


def judged(old: Features, new: Features, seed: int, *, summary_only: bool = False) -> dict[str, DriftFound]:
    """The outcomes of the summary, and of the pictures on covariates alone and with one more kind of features."""
    kept = kept_of(old)
    assert kept is not None
    found = {"summary": drift_from_summary(kept, new)}
    if not summary_only:
        found["pictures"] = drift_from_pictures(old, new, KINDS[:1], seed=seed)
        for kind in KINDS[1:]:
            found[f"pictures, {kind}"] = drift_from_pictures(old, new, (KINDS[0], kind), seed=seed)
    return found


def told(calls: list[dict[str, DriftFound]]) -> dict[str, Any]:
    """For each way to compare: calls that drifted, that advise to tune again, and the mean AUC on covariates."""
    found = {way: [call[way] for call in calls if way in call] for way in calls[0]}
    return {
        way: {
            "calls": len(of),
            "drifted": sum(one.outcome == Drift.DRIFTED for one in of),
            "tune_again": sum(one.tune_again for one in of),
            "auc": round(float(np.mean([one.auc["covariates"].value for one in of])), 4),
        }
        for way, of in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=120)
    options = parser.parse_args()
    data, model = data_folder(parser), load_model("dlib")
    with tempfile.TemporaryDirectory() as folder:
        lfw = find_images(data / "lfw-folds1-6.tar")
        first = np.unique(np.asarray(lfw.people), return_index=True)[1]
        one_each = np.sort(np.random.default_rng(0).permutation(first)[:PEOPLE])
        sets = embedded(model, lfw.subset(one_each), Path(folder) / "lfw")
        orl = embedded(model, orl_faces(), Path(folder) / "orl")["clean"]
    clean = sets["clean"]
    calls: dict[tuple[Any, ...], list[dict[str, DriftFound]]] = {}

    def add(key: tuple[Any, ...], old: Features, new: Features, seed: int, *, summary_only: bool = False) -> None:
        calls.setdefault((*key, len(old), len(new)), []).append(judged(old, new, seed, summary_only=summary_only))

    for then, now in SIZES:
        for seed in range(SUMMARIES * options.seeds):
            rows = np.random.default_rng(seed).permutation(len(clean))[: then + now]
            old, new = clean.subset(rows[:then]), clean.subset(rows[then:])
            add(("LFW, one law", None, 0.0), old, new, seed, summary_only=seed >= options.seeds)
        for seed in range(options.seeds // 12):
            rows = np.random.default_rng(seed).permutation(len(clean))[: then + now]
            old, later = clean.subset(rows[:then]), rows[then:]
            for shift in SHIFTS:
                for share in SHARES:
                    part = round(share * now)
                    mixed = [sets[shift].subset(later[:part]), clean.subset(later[part:])]
                    new = join_features([side for side in mixed if len(side)])
                    add(("LFW, drawn shift", shift, share), old, new, seed)
    for seed in range(options.seeds // 2):
        generator = np.random.default_rng(seed)
        by_people = (generator.permutation(orl.people.max() + 1) < 20)[orl.people]
        by_pictures = generator.permutation(len(orl)) < len(orl) // 2
        for case, side in (("ORL, other people", by_people), ("ORL, the same people", by_pictures)):
            add((case, None, 0.0), *(orl.subset(np.flatnonzero(half)) for half in (side, ~side)), seed)
    results = [
        {"case": case, "shift": shift, "share": share, "target": then, "pictures": now, "ways": told(made)}
        for (case, shift, share, then, now), made in calls.items()
    ]
    document = {**about(seeds=options.seeds, false_alarm_of_one_figure=ALARM), "results": results}
    replace_file(RESULTS, json.dumps(document, indent=1).encode())
    for row in results:
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
