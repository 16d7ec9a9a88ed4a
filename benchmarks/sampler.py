"""The sampler's speed against torch, numpy and the bare generator, and its cost in a DataLoader loop.

    python benchmarks/sampler.py

One run on one thread. Figures are CPU time of this process, which others on the machine disturb less than the clock on
the wall; each is the median of some repetitions taken in turns.
Writes `benchmarks/results/sampler.json`. Sizes beyond what a peer can do are tried, and its failure is recorded.
"""

import argparse
import io
import json
import platform
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, RandomSampler, WeightedRandomSampler

from rsft import RejectionSampler
from rsft.face.pictures.orl import orl_faces

RESULTS = Path(__file__).parent / "results" / "sampler.json"
SIZES = (10**6, 10**7, 10**8)
LARGEST = 10**9
RATE = 1 / 3
REPETITIONS = {10**6: 9, 10**7: 5, 10**8: 1}
LOOPS = 20

Task = Callable[[int], int]  # epoch -> how many indices came of it


def tasks(items: int) -> dict[str, Task]:
    """What is timed at one size; each makes a new draw."""
    probability = np.random.Generator(np.random.Philox(0)).random(items, dtype=np.float32) * np.float32(2 * RATE)
    weights = torch.from_numpy(probability)
    draws = round(items * RATE)
    uniforms = np.ones(items, np.float32)  # pages at hand
    sampler, windowed = (RejectionSampler(weights, window=window) for window in (None, 2**20))
    normalised = probability.astype(np.float64) / probability.sum(dtype=np.float64)

    def bare(epoch: int) -> int:
        np.random.Generator(np.random.Philox(key=epoch)).random(out=uniforms, dtype=np.float32)
        return items

    def ordered(which: RejectionSampler, epoch: int) -> int:
        which.set_epoch(epoch)
        return len(which.sequence())

    def iterated(which: RejectionSampler, epoch: int) -> int:
        which.set_epoch(epoch)
        return sum(1 for _ in which)

    def peer_sampler(epoch: int) -> int:
        generator = torch.Generator().manual_seed(epoch)
        return sum(1 for _ in WeightedRandomSampler(weights, draws, generator=generator))  # type: ignore[arg-type]

    def multinomial(epoch: int) -> int:
        return len(torch.multinomial(weights, draws, True, generator=torch.Generator().manual_seed(epoch)))

    def choice(epoch: int) -> int:
        return len(np.random.Generator(np.random.Philox(key=epoch)).choice(items, draws, p=normalised))

    def compared(epoch: int) -> int:
        return len(np.flatnonzero(np.random.Generator(np.random.Philox(key=epoch)).random(items) < probability))

    return {
        "bare generator, float32": bare,
        "numpy uniforms compared": compared,
        "rsft accepted": lambda epoch: len(sampler.accepted(epoch)),
        "rsft in order": lambda epoch: ordered(sampler, epoch),
        "rsft in order, windows of 2^20": lambda epoch: ordered(windowed, epoch),
        "rsft iterated": lambda epoch: iterated(sampler, epoch),
        "WeightedRandomSampler iterated": peer_sampler,
        "torch.multinomial": multinomial,
        "numpy choice": choice,
    }


def measure(items: int) -> dict[str, Any]:
    found: dict[str, list[tuple[float, int]]] = {}
    failures: dict[str, str] = {}
    todo = tasks(items)
    for epoch in range(1, REPETITIONS[items] + 1):
        for name, task in todo.items():
            if name in failures:
                continue
            started = time.process_time()
            try:
                count = task(epoch)
            except (RuntimeError, ValueError, MemoryError) as error:
                failures[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
                continue
            found.setdefault(name, []).append((time.process_time() - started, count))
    report: dict[str, Any] = {}
    for name, runs in found.items():
        seconds = statistics.median(run[0] for run in runs)
        indices = runs[-1][1]
        report[name] = {"cpu_seconds": seconds, "indices": indices, "per_second": indices / seconds}
    bare = report["bare generator, float32"]["cpu_seconds"]
    report["rsft accepted"]["decisions_per_second"] = items / report["rsft accepted"]["cpu_seconds"]
    for figures in report.values():
        figures["speed_over_bare_generator"] = bare / figures["cpu_seconds"]
        if "WeightedRandomSampler iterated" in report:
            peer = report["WeightedRandomSampler iterated"]["per_second"]
            figures["per_second_over_WeightedRandomSampler"] = figures["per_second"] / peer
    return {"repetitions": REPETITIONS[items], "figures": report, "failures": failures}


class Faces(Dataset[torch.Tensor]):
    """The ORL faces as JPEG in memory, `copies` times over; counts what is decoded."""

    def __init__(self, copies: int) -> None:
        self._files = []
        images = orl_faces()
        for index in range(len(images)):
            file = io.BytesIO()
            Image.fromarray(images.read(index)).save(file, "JPEG", quality=95)
            self._files.append(file.getvalue())
        self._copies = copies
        self.decoded: list[int] = []

    def __len__(self) -> int:
        return len(self._files) * self._copies

    def __getitem__(self, index: int) -> torch.Tensor:
        self.decoded.append(index)
        with Image.open(io.BytesIO(self._files[index % len(self._files)])) as image:
            return torch.from_numpy(np.asarray(image.convert("RGB")).copy())


def measure_loop() -> dict[str, Any]:
    """A loop over a DataLoader, all accepted, against RandomSampler; and what is decoded where a third is accepted."""
    faces = Faces(copies=10)
    everything = RejectionSampler(torch.ones(len(faces)))
    samplers: dict[str, Any] = {"RandomSampler": RandomSampler(faces), "RejectionSampler": everything}
    runs: dict[str, list[float]] = {name: [] for name in samplers}
    for epoch in range(LOOPS):
        everything.set_epoch(epoch)
        loops = {name: _timed_batches(DataLoader(faces, 64, sampler=sampler)) for name, sampler in samplers.items()}
        seconds = dict.fromkeys(samplers, 0.0)
        for turn in range(-(-len(faces) // 64) + 1):  # in turns, batch by batch, and the end
            for name in sorted(loops, reverse=bool(turn % 2)):
                seconds[name] += next(loops[name])
        for name in samplers:
            runs[name].append(seconds[name] / len(faces))
    ratios = [ours / theirs for ours, theirs in zip(runs["RejectionSampler"], runs["RandomSampler"], strict=True)]
    error = statistics.stdev(ratios) / len(ratios) ** 0.5
    third = RejectionSampler(torch.full((len(faces),), RATE))
    faces.decoded.clear()
    given = sum(len(batch) for batch in DataLoader(faces, 64, sampler=third))
    accepted = set(third.accepted().tolist())
    return {
        "items": len(faces),
        "cpu_microseconds_an_item": {name: statistics.median(times) * 1e6 for name, times in runs.items()},
        "overhead": statistics.mean(ratios) - 1,
        "overhead_standard_error": error,
        "accepted": len(accepted),
        "given": given,
        "decodes": len(faces.decoded),
        "decodes_of_rejected": sum(index not in accepted for index in faces.decoded),
    }


def _timed_batches(loader: DataLoader[torch.Tensor]) -> Iterator[float]:
    """CPU seconds of each batch, and of the end."""
    started = time.process_time()
    batches = iter(loader)
    while next(batches, None) is not None:
        yield time.process_time() - started
        started = time.process_time()
    yield time.process_time() - started


def measure_largest() -> dict[str, Any]:
    """A thousand million rows of uint8 on disk."""
    with tempfile.NamedTemporaryFile() as file:
        block = np.full(10**7, round(255 * RATE), np.uint8)
        for _ in range(LARGEST // len(block)):
            file.write(block.tobytes())
        file.flush()

        def start() -> tuple[float, Iterator[int]]:
            started = time.perf_counter()
            pool = np.memmap(file.name, np.uint8, "r", shape=(LARGEST,))
            iterator = iter(RejectionSampler(pool, rank=0, world_size=1))
            for _ in range(256):
                next(iterator)
            return time.perf_counter() - started, iterator

        first_batch = statistics.median(start()[0] for _ in range(5))
        tracemalloc.start()
        _, iterator = start()
        for _ in range(10**6):
            next(iterator)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        sampler = RejectionSampler(np.memmap(file.name, np.uint8, "r", shape=(LARGEST,)))
        started = time.process_time()
        length = len(sampler)
        return {
            "items": LARGEST,
            "first_batch_seconds": first_batch,
            "extra_megabytes": peak / 2**20,
            "accepted": length,
            "cpu_seconds_for_len": time.process_time() - started,
        }


def goals(results: dict[str, Any]) -> dict[str, Any]:
    figures = results["sizes"][str(10**7)]["figures"]
    loop, largest = results["loop"], results["largest"]
    wanted = [
        ("accepted indices/s over WeightedRandomSampler, 10^7, at least 25",
         figures["rsft accepted"]["per_second_over_WeightedRandomSampler"], 25, 1),
        ("the same in shuffled order, at least 25",
         figures["rsft in order"]["per_second_over_WeightedRandomSampler"], 25, 1),
        ("the same iterated as Python numbers, at least 25",
         figures["rsft iterated"]["per_second_over_WeightedRandomSampler"], 25, 1),
        ("decisions over the bare generator's float32, 10^7, at least 0.5",
         figures["rsft accepted"]["speed_over_bare_generator"], 0.5, 1),
        ("DataLoader loop overhead over RandomSampler, at most 0.02", loop["overhead"], 0.02, -1),
        ("decodes of rejected items, at most 0", loop["decodes_of_rejected"], 0, -1),
        ("10^9 rows: first batch in seconds, at most 1", largest["first_batch_seconds"], 1, -1),
        ("10^9 rows: extra megabytes, at most 64", largest["extra_megabytes"], 64, -1),
    ]  # fmt: skip
    return {
        name: {"value": value, "reached": value >= limit if sign > 0 else value <= limit}
        for name, value, limit, sign in wanted
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()
    results: dict[str, Any] = {
        "machine": {"processor": platform.processor() or platform.machine(), "python": sys.version.split()[0],
                    "torch": torch.__version__, "numpy": np.__version__, "threads": 1},
        "rate": RATE,
        "sizes": {str(items): measure(items) for items in SIZES},
        "loop": measure_loop(),
        "largest": measure_largest(),
    }  # fmt: skip
    results["goals"] = goals(results)
    results["seconds"] = time.monotonic() - started
    RESULTS.write_text(json.dumps(results, indent=1))
    for items, size in results["sizes"].items():
        print(f"\n{int(items):,} items, acceptance 1/3")
        for name, figure in size["figures"].items():
            ratio = figure.get("per_second_over_WeightedRandomSampler", float("nan"))
            print(f"  {name:32} {figure['cpu_seconds'] * 1e3:9.1f} ms {figure['per_second'] / 1e6:7.1f} M/s "
                  f"{figure['speed_over_bare_generator']:6.2f} x bare {ratio:7.1f} x WRS")  # fmt: skip
        for name, message in size["failures"].items():
            print(f"  {name:32} {message}")
    print(f"\n{json.dumps(results['loop'])}\n{json.dumps(results['largest'])}\n")
    for name, goal in results["goals"].items():
        print(f"{'reached    ' if goal['reached'] else 'NOT REACHED'} {goal['value']:8.3f}  {name}")


if __name__ == "__main__":
    main()
