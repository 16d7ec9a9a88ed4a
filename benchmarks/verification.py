"""AllPairs against everybody: how fast, in how much memory, and what a bare matrix product of the same costs.

    python benchmarks/verification.py --pictures 100000

Drawn embeddings of 512 values, ten pictures an identity. The reference multiplies the same blocks and looks at nothing.
"verified" is all that `verify` does, its bootstrap included. Where comparisons can be listed, the figures are compared.
Peak memory is of the whole process. Writes `benchmarks/results/verification.json`.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
import torch

from rsft.face.evaluation.all_pairs import COLUMNS, ROWS, normalised
from rsft.face.evaluation.pairs import AllPairs
from rsft.face.evaluation.trials import EmbeddedTrial, Trial, cosine_scores
from rsft.face.evaluation.verification import verify

RESULTS = Path(__file__).parent / "results" / "verification.json"
WIDTH, PER_IDENTITY = 512, 10
SMALL = 4000


def draw(pictures: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings around a centre an identity, the identities in no order."""
    generator = np.random.default_rng(0)
    identity = generator.permutation(np.arange(pictures) // PER_IDENTITY)
    centres = generator.standard_normal((pictures // PER_IDENTITY + 1, WIDTH), np.float32)
    embeddings = generator.standard_normal((pictures, WIDTH), np.float32)
    embeddings *= 1.8
    embeddings += centres[identity] + 0.3  # a common mean, as real networks have it
    return embeddings, identity


def bare(unit: np.ndarray) -> None:
    for top in range(0, len(unit), ROWS):
        for left in range(top, len(unit), COLUMNS):
            unit[top : top + ROWS] @ unit[left : left + COLUMNS].T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--draws", type=int, default=1000)
    arguments = parser.parse_args()

    embeddings, identity = draw(SMALL)
    everybody = AllPairs(identity)
    listed = everybody.listed()
    one, other = (
        verify([trial], draws=100).systems["x"].to_dict()
        for trial in (
            Trial(listed, {"x": cosine_scores(embeddings, listed)}),
            EmbeddedTrial(everybody, {"x": embeddings}),
        )
    )
    same = one["tar_at_fmr"] == other["tar_at_fmr"]
    del listed, everybody

    embeddings, identity = draw(arguments.pictures)
    everybody = AllPairs(identity)
    seconds = {}
    start = time.perf_counter()
    bare(normalised(embeddings))
    seconds["bare"] = time.perf_counter() - start
    start = time.perf_counter()
    system = verify([EmbeddedTrial(everybody, {"x": embeddings})], draws=arguments.draws).systems["x"]
    seconds["verified"] = time.perf_counter() - start
    results = {
        "pictures": arguments.pictures,
        "width": WIDTH,
        "threads": torch.get_num_threads(),
        "comparisons": len(everybody),
        "draws": arguments.draws,
        "seconds": seconds,
        "comparisons_per_second": {name: len(everybody) / value for name, value in seconds.items()},
        "times_bare": {name: value / seconds["bare"] for name, value in seconds.items()},
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "same_as_listed_at": SMALL,
        "same_as_listed": same,
        "tar_at_fmr": system.to_dict()["tar_at_fmr"],
    }
    RESULTS.write_text(json.dumps(results, indent=1))
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
