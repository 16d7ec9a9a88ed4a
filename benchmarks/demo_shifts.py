"""The demo over all its shifts and several seeds: does it help, against no tuning and against uniform tuning?

    python benchmarks/demo_shifts.py --seeds 3

Whole run folders in `runs/demo` are read, not made again. Writes `benchmarks/results/demo_shifts.json`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from rsft.face.demo import demo
from rsft.face.pictures.drawn_shifts import SHIFTS
from rsft.types import Interval

RUNS = Path("runs/demo")
RESULTS = Path(__file__).parent / "results" / "demo_shifts.json"
FMR = "0.01"  # of those, the smallest with 30 expected false matches at the demo's size


def run(shift: str, seed: int) -> dict[str, Any]:
    folder = RUNS / f"{shift}-{seed}"
    if not folder.exists():
        demo(out=folder, shift=shift, seed=seed)
    metrics = json.loads((folder / "metrics.json").read_text())
    kept = ("pretrained", "uniform", "tuned", "differences", "verdict", "seconds", "acceptance_rate", "validation")
    return {"shift": shift, "seed": seed, **{key: metrics[key] for key in kept}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    results = [run(shift, seed) for shift in SHIFTS for seed in range(parser.parse_args().seeds)]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1))
    print(f"TAR at FMR {FMR}\n")
    print("| shift | seed | set | pretrained | uniform | tuned | tuned - pretrained | tuned - uniform |")
    print("|---|---|---|---|---|---|---|---|")
    for result in results:
        for part in ("target", "retain"):
            tars = [Interval(**result[name][part]["tar_at_fmr"][FMR]) for name in ("pretrained", "uniform", "tuned")]
            differences = [Interval(**by_set[part][FMR]).signed() for by_set in result["differences"].values()]
            cells = [result["shift"], result["seed"], part, *(f"{tar.value:.3f}" for tar in tars), *differences]
            print("|", " | ".join(map(str, cells)), "|")


if __name__ == "__main__":
    main()
