"""What starting costs: processor seconds of `rsft --help`, `import rsft` and `import torch`, each in a fresh process.

    python benchmarks/startup.py [--repeats 7]

Medians of all repetitions, taken in turns, after one that is not counted. Writes `benchmarks/results/startup.json`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from runs import about

RESULTS = Path(__file__).parent / "results" / "startup.json"
STARTS = {
    "import torch": [sys.executable, "-c", "import torch"],
    "import rsft": [sys.executable, "-c", "import rsft"],
    "rsft --help": [sys.executable, "-m", "rsft", "--help"],
    "rsft fit --help": [sys.executable, "-m", "rsft", "fit", "--help"],
}


def processor_seconds(command: list[str]) -> float:
    """Return the processor time of a command that must succeed."""
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    rounds = [{name: processor_seconds(line) for name, line in STARTS.items()} for _ in range(1 + options.repeats)][1:]
    seconds = {name: round(statistics.median(each[name] for each in rounds), 3) for name in STARTS}
    ratio = statistics.median(each["import rsft"] / each["import torch"] for each in rounds)
    found = {
        "about": about(repeats=options.repeats),
        "processor_seconds": seconds,
        "import_over_torch": round(ratio, 3),
    }
    RESULTS.write_text(json.dumps(found, indent=1))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
