"""What waiting threads cost: the same work alone and beside a second job, with OpenMP's threads spinning or sleeping.

Embedding and a short training run in a process of their own, under each setting in turn, several times: the default,
threads that spin while they wait, threads that sleep (`OMP_WAIT_POLICY=PASSIVE`, which `import rsft` sets), and one
thread. Beside them runs nothing, or as many busy processes as there are cores.

    python benchmarks/threads.py [--repetitions 3]

Writes `benchmarks/results/threads.json`.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "threads.json"
SETTINGS = {
    "default": {},
    "spinning": {"OMP_WAIT_POLICY": "ACTIVE"},
    "sleeping": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
}
WORK = """
import torch  # first, so that rsft sets nothing
from rsft.face.networks import load_model
from rsft.face.pictures import embed, orl_faces
images = orl_faces().subset(range(120))
model = load_model("dlib")
embed(model, images, views=2)
prefix, suffix = model.split(model.cut)
with torch.no_grad():
    hidden = prefix(torch.zeros(32, 3, model.size, model.size))
optimizer = torch.optim.SGD(suffix.parameters(), 1e-4)
for _ in range(30):
    suffix(hidden).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()
"""
BUSY = "while True: pass"


def measure(setting: dict[str, str]) -> tuple[float, float]:
    """Seconds and processor seconds of the work."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")} | setting
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", WORK], env=environment, check=True, capture_output=True)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3)
    repetitions = parser.parse_args().repetitions
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for beside in ("alone", "beside busy processes"):
        busy = []
        if beside != "alone":
            busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(os.cpu_count() or 1)]
        try:
            for _ in range(repetitions):
                for name, setting in SETTINGS.items():
                    found.setdefault(beside, {}).setdefault(name, []).append(measure(setting))
        finally:
            for process in busy:
                process.kill()
    results: dict[str, Any] = {"cores": os.cpu_count(), "repetitions": repetitions}
    for beside, of_settings in found.items():
        base = statistics.median(seconds for seconds, _ in of_settings["default"])
        for name, measured in of_settings.items():
            seconds, processor = (statistics.median(column) for column in zip(*measured, strict=True))
            row = {
                "seconds": round(seconds, 2),
                "processor_seconds": round(processor, 2),
                "ratio": round(seconds / base, 3),
            }
            results.setdefault(beside, {})[name] = row
            told = f"{seconds:6.1f} s, {seconds / base:.2f} of the default, {processor:6.1f} s of processors"
            print(f"{beside:>22}, {name:>10}: {told}")
    RESULTS.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
