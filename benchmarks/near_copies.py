"""Near-copies in the target: at what noise are they found, and how many rows of honest targets are taken for them?

    python benchmarks/near_copies.py [--seeds 20]

The pool has 2,000 rows. Honest targets have 200 rows of another law; of copies, 20 rows are there ten times each, with
noise in units of the pool's spread. Writes `benchmarks/results/near_copies.json`.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from runs import about

from rsft.ratio.near_copies import near_copies
from rsft.ratio.rows import Rows

RESULTS = Path(__file__).parent / "results" / "near_copies.json"
WIDTHS = (1, 2, 8, 32, 128)
NOISES = (0.001, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5)
POOL, TARGET, ITEMS = 2000, 200, 20
Draw = Callable[[np.random.Generator, int, int], np.ndarray]


def normal(draws: np.random.Generator, rows: int, width: int, scale: float = 1.0, mean: float = 0.0) -> np.ndarray:
    return draws.normal(size=(rows, width)) * scale + mean


def clustered(draws: np.random.Generator, rows: int, width: int) -> np.ndarray:
    """Twenty clusters."""
    return draws.normal(size=(20, width))[draws.integers(20, size=rows)] + 0.3 * draws.normal(size=(rows, width))


def of_people(draws: np.random.Generator, rows: int, width: int, each: int = 10) -> np.ndarray:
    """Several rows of each person, which lie half as far apart as people do."""
    people = np.repeat(draws.normal(size=(-(-rows // each), width)), each, 0)[:rows]
    return people + 0.5 * draws.normal(size=(rows, width))


HONEST: dict[str, tuple[Draw, Draw]] = {
    "the pool's law": (normal, normal),
    "narrower, moved": (normal, lambda draws, rows, width: normal(draws, rows, width, 0.3, 1.0)),
    "heavy tails": (lambda draws, rows, width: draws.standard_t(3, size=(rows, width)),) * 2,
    "clusters": (clustered, clustered),
    "people": (of_people, of_people),
    "people, fewer rows of each in the pool": (lambda draws, rows, width: of_people(draws, rows, width, 3), of_people),
}


def groups_of(pool: np.ndarray, target: np.ndarray) -> int:
    """Return the number of groups in a target."""
    sides = [Rows(torch.from_numpy(side), "benchmark") for side in (pool, target)]
    return len(np.unique(near_copies(*sides, np.arange(len(pool)))))


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    honest: dict[str, dict[str, list[float]]] = {}
    copies: dict[str, dict[str, list[float]]] = {}
    for width in WIDTHS:
        for name, (of_pool, of_target) in HONEST.items():
            joined = []
            for seed in range(options.seeds):
                draws = np.random.default_rng(seed)
                joined.append(1 - groups_of(of_pool(draws, POOL, width), of_target(draws, TARGET, width)) / TARGET)
            honest.setdefault(name, {})[str(width)] = [round(float(np.mean(joined)), 4), round(max(joined), 4)]
        for noise in NOISES:
            found = []
            for seed in range(options.seeds):
                draws = np.random.default_rng(seed)
                pool, items = normal(draws, POOL, width), normal(draws, ITEMS, width, 0.8, 0.5)
                target = np.repeat(items, TARGET // ITEMS, 0) + noise * draws.normal(size=(TARGET, width))
                found.append(groups_of(pool, target))
            copies.setdefault(str(noise), {})[str(width)] = [float(np.mean(found)), min(found), max(found)]
        print(width, {name: told[str(width)] for name, told in (honest | copies).items()}, flush=True)
    told = {
        "about": about(seeds=options.seeds),
        "honest: mean and largest share of rows joined, by width": honest,
        f"{ITEMS} items in {TARGET} rows: mean, least and most groups found, by noise and width": copies,
    }
    options.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
