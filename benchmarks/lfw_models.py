"""How good are the networks that come from PyPI, alone and together? The official pairs of LFW, folds 1 to 6.

    RSFT_DATA=... python benchmarks/lfw_models.py [--folds 3]

Prints the accuracy over folds and the TAR of dlib's network, of SFace converted from ONNX, and of both embeddings one
after the other, each of length 1. Writes `benchmarks/results/lfw_models.json`.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

from rsft.face.evaluation.pairs import PairList
from rsft.face.evaluation.protocol import read_protocol
from rsft.face.evaluation.trials import Trial, cosine_scores
from rsft.face.evaluation.verification import verify
from rsft.face.networks.load import KNOWN, load_model
from rsft.face.pictures.embedding import embed

RESULTS = Path(__file__).parent / "results" / "lfw_models.json"
BOTH = "both"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folds", type=int, default=6)
    data, folds = Path(os.environ["RSFT_DATA"]), parser.parse_args().folds
    protocol = read_protocol(data / "lfw-pairs-folds1-6.csv", data / "lfw-folds1-6.tar")
    everything = protocol.pairs
    assert everything.fold is not None
    chosen = np.isin(everything.fold, np.unique(everything.fold)[:folds])
    used = np.unique([everything.a[chosen], everything.b[chosen]])
    images = protocol.images.subset(used.tolist())
    features, seconds = {}, {}
    for name in KNOWN:
        started = time.monotonic()
        features[name] = embed(load_model(name), images)
        seconds[name] = time.monotonic() - started
        print(f"{name}: {len(features[name])} pictures in {seconds[name]:.0f} s", flush=True)
    ids = features["dlib"].ids
    assert all(found.ids == ids for found in features.values())
    row = {item: index for index, item in enumerate(ids)}
    place = np.array([row.get(item, -1) for item in protocol.images.ids])
    chosen &= (place[everything.a] >= 0) & (place[everything.b] >= 0)
    pairs = PairList(
        place[everything.a[chosen]],
        place[everything.b[chosen]],
        everything.identity[place >= 0],
        everything.fold[chosen],
    )
    embeddings = {name: found.embeddings for name, found in features.items()}
    units = [values / np.linalg.norm(values, axis=1, keepdims=True) for values in embeddings.values()]
    embeddings[BOTH] = np.concatenate(units, axis=1)
    scores = {name: cosine_scores(values, pairs) for name, values in embeddings.items()}
    report = verify([Trial(pairs, scores)])
    systems = {name: system.to_dict() for name, system in report.systems.items()}
    per_fold = {name: _per_fold(scores[name], pairs) for name in scores}
    result = {
        "folds": folds,
        "pictures": len(ids),
        "seconds": seconds,
        "systems": systems,
        "accuracy_of_folds": per_fold,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1))
    for name, system in report.systems.items():
        error = np.std(per_fold[name], ddof=1) / np.sqrt(len(per_fold[name]))
        print(f"{name:6s} accuracy {system.accuracy}, standard error over folds {error:.4f}; EER {system.eer:.4f}")
        print(f"       TAR {', '.join(f'at FMR {fmr:g} {tar}' for fmr, tar in system.tar_at_fmr.items())}")


def _per_fold(scores: np.ndarray, pairs: PairList) -> list[float]:
    """Accuracy of each fold at the threshold that is best on the others."""
    accuracies = []
    for fold in np.unique(pairs.fold):
        inside = pairs.fold == fold
        thresholds = np.sort(scores[~inside])
        right = [((scores[~inside] > t) == pairs.genuine[~inside]).mean() for t in thresholds]
        accuracies.append(float(((scores[inside] > thresholds[np.argmax(right)]) == pairs.genuine[inside]).mean()))
    return accuracies


if __name__ == "__main__":
    main()
