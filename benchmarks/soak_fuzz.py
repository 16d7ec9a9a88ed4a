"""Damaged and hostile input for every parser: is each accepted or refused in one line, with nothing else done?

    python benchmarks/soak_fuzz.py --inputs 1000000
    python benchmarks/soak_fuzz.py --inputs 5000 --only tar     (one parser, whose results are replaced)
    python benchmarks/soak_fuzz.py --go-on                      (up to the number, after those in the results)
    python benchmarks/soak_fuzz.py --only tar --input 4711      (one input again, with its traceback)

Each input is a small valid one with seeded mutations (`tests/faults/mutations.py`); number N of a parser is the same in
every run with one seed. Workers are forked, with a limit on their address space. An input is bad if it
ends in any error but one of rsft in one line that names the file, kills the worker, takes three seconds of processor
time or waits for 30, adds more than 512 MiB to the peak of memory, or if Python's audit hooks see that it runs code,
unpickles, starts a process, asks the network or writes outside its folder. Writes `benchmarks/results/soak_fuzz.json`.
"""

import argparse
import json
import logging
import multiprocessing
import os
import platform
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "soak_fuzz.json"
sys.path[:0] = [str(ROOT / "tests" / part) for part in ("faults", "data", "face")]

BLOCK = 4000  # inputs of a worker, before another starts afresh
STUCK = 120.0  # seconds without an outcome, after which a worker is killed
NOTHING: dict[str, Any] = {"inputs": 0, "accepted": 0, "refused": 0, "bad": 0, "seconds": 0, "kinds": []}
LETTERS = {"accepted": "a", "refused": "r"}


def random_of(seed: int, name: str, number: int) -> Random:
    return Random(f"{seed}/{name}/{number}")


def work(parser: Any, first: int, last: int, seed: int, out: Path) -> None:
    """Give a parser the inputs `first` to `last` - 1; write a letter for each outcome, and a line for each bad one."""
    warnings.simplefilter("ignore")
    logging.disable()
    from attempts import Watch, attempt, limited, prepare

    with tempfile.TemporaryDirectory(dir=os.environ.get("SOAK_DIR")) as scratch:
        prepare(parser, Path(scratch))
        watch = Watch(Path(scratch))
        with limited(), open(out, "ab", buffering=0) as letters, open(out.with_suffix(".bad"), "a", buffering=1) as bad:
            for number in range(first, last):
                outcome = attempt(parser, random_of(seed, parser.name, number), Path(scratch, "x"), watch)
                if outcome not in LETTERS:
                    bad.write(json.dumps([number, outcome]) + "\n")
                letters.write(LETTERS.get(outcome, "b").encode())
    os._exit(0)  # a fork of a thread has nothing else to end


def again(name: str, number: int, seed: int) -> None:
    """Give a parser one input, kept in a folder, and let its error through."""
    from attempts import plant, prepare
    from parsers import parsers

    parser = next(parser for parser in parsers() if parser.name == name)
    folder = Path(tempfile.mkdtemp())
    prepare(parser, folder)
    plant(parser, random_of(seed, name, number), folder / "x")
    print(folder / "x")
    print(parser.read(folder / "x"))


def run_block(
    parser: Any, first: int, last: int, seed: int, folder: Path
) -> tuple[Counter[str], list[tuple[int, str]]]:
    """Let workers do a block of inputs; one that dies or is stuck leaves its input as bad, and another goes on."""
    counts, bad = Counter[str](), list[tuple[int, str]]()
    while first < last:
        out = folder / f"{first}"
        out.touch()
        worker = multiprocessing.get_context("fork").Process(target=work, args=(parser, first, last, seed, out))
        worker.start()
        done, since = -1, time.monotonic()
        while worker.is_alive():
            worker.join(0.2)
            now = out.stat().st_size
            if now != done:
                done, since = now, time.monotonic()
            elif time.monotonic() - since > STUCK:
                worker.kill()
        letters = out.read_bytes().decode()
        counts += Counter(letters)
        if out.with_suffix(".bad").exists():
            bad += [tuple(json.loads(line)) for line in out.with_suffix(".bad").read_text().splitlines()]
        first += len(letters)
        if worker.exitcode != 0:
            bad.append((first, f"BAD worker ended by {worker.exitcode}"))
            counts["b"] += 1
            first += 1
    return counts, bad


def table(parts: dict[str, dict[str, Any]]) -> str:
    rows = [
        f"{name:24s}{p['inputs']:>9,}{p['accepted']:>9,}{p['refused']:>9,}{p['bad']:>6,}" for name, p in parts.items()
    ]
    return "\n".join([f"{'parser':24s}{'inputs':>9s}{'accepted':>9s}{'refused':>9s}{'bad':>6s}", *rows])


def soak(
    inputs: int, seed: int, only: list[str] | None, jobs: int, before: dict[str, dict[str, Any]]
) -> Iterator[dict[str, dict[str, Any]]]:
    """Divide a number of inputs among the parsers and yield the counts after each block.

    Parsers that have had some of theirs before go on with the next.
    """
    import torch
    from parsers import parsers

    torch.set_num_threads(1)  # the workers are forked
    chosen = [parser for parser in parsers() if only is None or parser.name in only]
    total = sum(1 / parser.slow for parser in chosen)
    parts = {parser.name: before.get(parser.name, NOTHING) for parser in chosen}
    for parser in chosen:
        number, had = max(1, round(inputs / parser.slow / total)), parts[parser.name]["inputs"]
        begun, folder = time.monotonic(), Path(tempfile.mkdtemp())
        starts = range(had, number, max(1, BLOCK // parser.slow))
        blocks = [(parser, first, min(first + starts.step, number), seed, folder) for first in starts]
        with ThreadPoolExecutor(jobs) as pool:
            for counts, bad in pool.map(lambda block: run_block(*block), blocks):
                parts[parser.name] = added(parts[parser.name], counts, bad, time.monotonic() - begun)
                begun = time.monotonic()
                yield parts
        shutil.rmtree(folder)
        print(table({parser.name: parts[parser.name]}).splitlines()[1], flush=True)
        for kind in parts[parser.name]["kinds"]:
            print(f"    {kind['times']:>6} x {kind['what']} (input {kind['first']})", flush=True)


def added(part: dict[str, Any], counts: Counter[str], bad: list[tuple[int, str]], seconds: float) -> dict[str, Any]:
    """Add a block to the counts of a parser."""
    kinds = {kind["what"]: kind for kind in part["kinds"]}
    for number, text in bad:
        kind = kinds.get(text, {"what": text, "times": 0, "first": number})
        kinds[text] = kind | {"times": kind["times"] + 1}
    return {
        "inputs": part["inputs"] + counts.total(),
        **{name: part[name] + counts[name[0]] for name in ("accepted", "refused", "bad")},
        "seconds": round(part["seconds"] + seconds, 1),
        "kinds": sorted(kinds.values(), key=lambda kind: -kind["times"])[:40],
    }


def summary(parts: dict[str, dict[str, Any]], seed: int) -> dict[str, Any]:
    return {
        "seed": seed,
        **{name: sum(part[name] for part in parts.values()) for name in ("inputs", "bad")},
        "seconds": round(sum(part["seconds"] for part in parts.values())),
        "python": platform.python_version(),
        "parsers": parts,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--inputs", type=int, default=1_000_000)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--jobs", type=int, default=1, help="workers at a time")
    arguments.add_argument("--only", nargs="+", help="names of parsers; all by default")
    arguments.add_argument("--go-on", action="store_true", help="begin each parser after the inputs that it has had")
    arguments.add_argument("--input", type=int, help="number of one input of the parser that --only names")
    arguments.add_argument("--out", type=Path, default=RESULTS)
    told = arguments.parse_args()
    if told.input is not None:
        again(told.only[0], told.input, told.seed)
    else:
        before = json.loads(told.out.read_text())["parsers"] if told.out.exists() else {}
        kept = before if told.only or told.go_on else {}
        for parts in soak(told.inputs, told.seed, told.only, told.jobs, before if told.go_on else {}):
            found = summary(kept | parts, told.seed)
            told.out.write_text(json.dumps(found, indent=1) + "\n")
        print(table(found["parsers"]))
        sys.exit(1 if any(part["bad"] for part in parts.values()) else 0)


if __name__ == "__main__":
    main()
