"""Peak memory of a plan and of a run as the pool grows: resident bytes of a fresh process, and per further picture.

    python benchmarks/memory.py [--repeats 3]

The pool's pictures are links to a few drawn ones, so that nothing but their number grows. Least of the repetitions,
which differ by some megabytes. Writes `benchmarks/results/memory.json`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from runs import about

RESULTS = Path(__file__).parent / "results" / "memory.json"
TESTS = Path(__file__).parents[1] / "tests" / "face"
SMALL, LARGE = 1_000, 41_000  # pictures


def run(kind: str, root: Path) -> None:
    """Make a plan or a run in this process, and print its peak memory in bytes."""
    from drawn_people import tiny_model

    from rsft.face.adaptation.recipe import Recipe
    from rsft.face.fit import fit
    from rsft.face.plan import plan_folders

    recipe = Recipe(cut=-1, features="covariates", steps=4, batch_size=16, max_looks=300, siblings=1, judged=40)
    sets = {"pool": root / "pool", "target": root / "target"}
    if kind == "plan":
        plan_folders(**sets, model=tiny_model(), aligned=True, recipe=recipe, against=[])
    else:
        fit(**sets, evaluation=root / "evaluation", out=root / "run", model=tiny_model(), aligned=True, recipe=recipe)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)  # Linux counts in KiB


def peak(kind: str, pictures: int) -> int:
    """Return the peak memory of a fresh process on a pool with a number of pictures."""
    from drawn_people import draw_people

    with tempfile.TemporaryDirectory() as folder:
        people = sorted((draw_people(Path(folder)) / "pool").iterdir())
        for number in range(pictures):
            person = people[number % len(people)]
            os.link(person / f"{number // len(people) % 6}.png", person / f"copy-{number:06d}.png")
        line = [sys.executable, __file__, "--kind", kind, "--root", folder]
        return int(subprocess.run(line, check=True, capture_output=True, text=True).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kind", choices=("plan", "fit"), help=argparse.SUPPRESS)  # of a measured process
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    if options.kind:
        run(options.kind, options.root)
        return
    found = {"about": about(repeats=options.repeats)}
    for kind in ("plan", "fit"):
        small, large = (min(peak(kind, pictures) for _ in range(options.repeats)) for pictures in (SMALL, LARGE))
        further = (large - small) / (LARGE - SMALL)
        found[kind] = {
            "pictures": [SMALL, LARGE],
            "peak_bytes": [small, large],
            "bytes_a_further_picture": round(further),
        }
        print(kind, found[kind], flush=True)
    RESULTS.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
