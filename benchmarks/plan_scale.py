"""A plan for a pool of ten million rows that does not fit in memory: peak memory, and time against one pass reading it.

    python benchmarks/plan_scale.py --rows 10000000 --width 128

The pool is made of memory-mapped float16 shards in a temporary folder; a share of 2 % of its rows look like the target.
Each part runs in a process of its own, so that its peak of resident anonymous memory is its own (mapped pages of the
file are the system's cache, and are counted apart). Writes `benchmarks/results/plan_scale.json`.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rsft import plan
from rsft.ratio.rows import Rows

RESULTS = Path(__file__).parent / "results" / "plan_scale.json"
SHARDS = 8
TARGET_ROWS = 5000
BLOCK = 1 << 16


def make_shards(folder: Path, rows: int, width: int) -> None:
    for number in range(SHARDS):
        generator = np.random.default_rng(number)
        count = rows // SHARDS
        shard = np.lib.format.open_memmap(folder / f"{number}.npy", "w+", np.float16, (count, width))
        for start in range(0, count, BLOCK):
            block = generator.standard_normal((min(BLOCK, count - start), width), np.float32)
            block[generator.random(len(block)) < 0.02, :4] += 1.5
            shard[start : start + len(block)] = block
        shard.flush()


def shards(folder: Path) -> list[np.ndarray]:
    return [np.load(folder / f"{number}.npy", mmap_mode="r") for number in range(SHARDS)]


def read_once(folder: Path, width: int) -> dict[str, Any]:
    """The bare pass: every row as float32, and its sum so that it is really read."""
    total = sum(float(block.sum()) for _, block in Rows(shards(folder), "pool", width).blocks())
    return {"sum": total}


def make_plan(folder: Path, width: int) -> dict[str, Any]:
    target = torch.from_numpy(np.random.default_rng(99).standard_normal((TARGET_ROWS, width), np.float32))
    target[:, :4] += 1.5
    result = plan(shards(folder), target, envelope="max_tv=0.02")
    return {"verdict": str(result.verdict), "acceptance_rate": result.envelope.acceptance_rate}


def _anonymous_peak() -> int:
    """Bytes, polled from the kernel's own account of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    return 0


def _child(job: Callable[[Path, int], dict[str, Any]], folder: Path, width: int, results: Any) -> None:
    import threading

    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], _anonymous_peak())

    watcher = threading.Thread(target=watch)
    base = _anonymous_peak()
    watcher.start()
    started = time.perf_counter()
    outcome = job(folder, width)
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    results.put(
        outcome
        | {
            "seconds": seconds,
            "peak_anonymous_bytes": peak[0],
            "of_which_libraries": base,
            "peak_resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
    )


def run(job: Callable[[Path, int], dict[str, Any]], folder: Path, width: int) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_child, args=(job, folder, width, results))
    process.start()
    outcome = results.get()
    process.join()
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None, help="where the shards go; a temporary folder otherwise")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        make_shards(folder, arguments.rows, arguments.width)
        run(read_once, folder, arguments.width)  # so that both find the same pages in the system's cache
        runs = [
            {job.__name__: run(job, folder, arguments.width) for job in (read_once, make_plan)}
            for _ in range(arguments.repeats)
        ]
    ratios = [one["make_plan"]["seconds"] / one["read_once"]["seconds"] for one in runs]
    result = {
        "rows": arguments.rows,
        "width": arguments.width,
        "passes": float(np.median(ratios)),
        "peak_anonymous_gib": max(one["make_plan"]["peak_anonymous_bytes"] for one in runs) / 2**30,
        "peak_resident_gib": max(one["make_plan"]["peak_resident_bytes"] for one in runs) / 2**30,
        "runs": runs,
    }
    print({key: value for key, value in result.items() if key != "runs"}, runs[-1]["make_plan"]["verdict"])
    RESULTS.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
