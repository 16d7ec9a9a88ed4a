"""What a rank pays for an epoch of the sampler, with 1, 2, 4 and 8 ranks, in turns and in shares.

    python benchmarks/rank_cost.py

CPU seconds to draw, order and list the rows of the middle rank, up to Python integers, in turns with the others; the
median of some repetitions, and the ratio to one rank with its range over repetitions. The peak of the memory that is
allocated is measured in runs of its own, over the first 10^6 rows of the rank.
Writes `benchmarks/results/rank_cost.json`.
"""

import argparse
import json
import platform
import statistics
import sys
import time
import tracemalloc
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rsft import RejectionSampler

RESULTS = Path(__file__).parent / "results" / "rank_cost.json"
RATE = 1 / 3
RANKS = (1, 2, 4, 8)
REPETITIONS = {10**7: 7, 10**8: 3}
WINDOW = 2**20
TRACED = 10**6


def sampler_of(probability: np.ndarray, ranks: int, shares: bool, window: int | None) -> RejectionSampler:
    return RejectionSampler(probability, rank=ranks // 2, world_size=ranks, window=window, shares=shares)


def epoch_of(sampler: RejectionSampler, epoch: int) -> tuple[float, int]:
    """Return the CPU seconds and the number of rows of an epoch."""
    started = time.process_time()
    sampler.set_epoch(epoch)
    rows = sum(1 for _ in sampler)
    return time.process_time() - started, rows


def measure(items: int, window: int | None) -> list[dict[str, Any]]:
    probability = np.random.Generator(np.random.Philox(0)).random(items, dtype=np.float32) * np.float32(2 * RATE)
    ways = [(shares, ranks) for shares in (False, True) for ranks in RANKS]
    samplers = {way: sampler_of(probability, way[1], way[0], window) for way in ways}
    runs: dict[tuple[bool, int], list[float]] = {way: [] for way in ways}
    rows: dict[tuple[bool, int], int] = {}
    for epoch in range(1, REPETITIONS[items] + 1):
        for way in ways:
            seconds, rows[way] = epoch_of(samplers[way], epoch)
            runs[way].append(seconds)
    report = []
    for way in ways:
        sampler = sampler_of(probability, way[1], way[0], window)
        tracemalloc.start()
        sampler.set_epoch(1)
        for _ in islice(sampler, TRACED):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        ratios = [ours / alone for ours, alone in zip(runs[way], runs[False, 1], strict=True)]
        report.append({
            "shares": way[0], "ranks": way[1], "rows": rows[way], "cpu_seconds": statistics.median(runs[way]),
            "ratio_to_one_rank": statistics.median(ratios), "ratio_range": [min(ratios), max(ratios)],
            "peak_megabytes": peak / 2**20,
        })  # fmt: skip
    return report


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    pools = {"10^7, one window": (10**7, None), "10^7, windows of 2^20": (10**7, WINDOW), "10^8": (10**8, None)}
    results: dict[str, Any] = {
        "machine": {"processor": platform.processor() or platform.machine(), "python": sys.version.split()[0],
                    "torch": torch.__version__, "numpy": np.__version__, "threads": 1},
        "rate": RATE,
        "repetitions": {str(items): count for items, count in REPETITIONS.items()},
        "pools": {name: measure(*pool) for name, pool in pools.items()},
    }  # fmt: skip
    RESULTS.write_text(json.dumps(results, indent=1))
    for name, figures in results["pools"].items():
        print(f"\n{name}")
        for row in figures:
            low, high = row["ratio_range"]
            way = "shares" if row["shares"] else "turns"
            cost = f"{row['cpu_seconds']:7.3f} s {row['ratio_to_one_rank']:5.2f} [{low:.2f}, {high:.2f}]"
            print(f"  {way:6} {row['ranks']} ranks {cost} {row['peak_megabytes']:7.1f} MB")


if __name__ == "__main__":
    main()
