"""Does it help, on other tasks? The examples in full, and their table.

    python benchmarks/examples.py [NAME ...]

Runs each example's `--json`, about two minutes of one core each. What comes is kept in
`benchmarks/results/examples.json`, and the table in `docs/tasks.md` is made anew.
"""

import argparse
import json
import os
import platform
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from tables import difference

import rsft
from rsft.baselines import LOSS_WEIGHTS, REJECTION, WEIGHTED
from rsft.types import PRETRAINED, UNIFORM, Interval

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "examples.json"
PAGE = ROOT / "docs" / "tasks.md"
METRICS = {
    "long_tail": ("accuracy",),
    "domain_shift": ("accuracy",),
    "rare_class_segmentation": ("miou", "iou_4"),
    "rare_size_detection": ("map", "map_large"),
}
OTHERS = (PRETRAINED, UNIFORM, WEIGHTED, LOSS_WEIGHTS)
TABLES = re.compile(r"(?<=<!-- examples.json -->\n).*?(?=<!-- end -->)", re.DOTALL)


def run(name: str) -> dict[str, Any]:
    """One example in full, on one core, in a process of its own."""
    before = _seconds()
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    about = {"rsft": rsft.__version__, "torch": torch.__version__, "python": platform.python_version()}
    return {"about": about | {"cpu_seconds": round(_seconds() - before)}, **json.loads(done.stdout)}


def _seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def tables(found: dict[str, Any]) -> str:
    """What each method reached, and rejection less each of the others."""
    values = [
        f"| example, metric | seeds | {' | '.join([*OTHERS, REJECTION])} |",
        "|" + "---|" * (len(OTHERS) + 3),
    ]
    differences = [f"| rejection less | {' | '.join(OTHERS)} |", "|" + "---|" * (len(OTHERS) + 1)]
    for name, metrics in METRICS.items():
        comparison = found[name]["comparison"]
        for metric in metrics:
            reached = [Interval(**comparison["values"][method][metric]) for method in (*OTHERS, REJECTION)]
            gained = [difference(comparison["differences"][REJECTION][other][metric]) for other in OTHERS]
            seeds = comparison["cost"][REJECTION]["seeds"]
            values.append(f"| {name}, {metric} | {seeds} | {' | '.join(map(str, reached))} |")
            differences.append(f"| {name}, {metric} | {' | '.join(gained)} |")
    return "\n".join([*values, "", *differences]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(METRICS)}; all, if none is given")
    names = parser.parse_args().names
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        parser.error(f"there is no example {unknown[0]}: choose of {', '.join(METRICS)}")
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in names or METRICS:
        found[name] = run(name)
        RESULTS.write_text(json.dumps(found, indent=1))
        print(f"{name}: {found[name]['about']['cpu_seconds']} s of a core", flush=True)
    if set(METRICS) <= set(found):
        PAGE.write_text(TABLES.sub(lambda _: tables(found), PAGE.read_text()))


if __name__ == "__main__":
    main()
