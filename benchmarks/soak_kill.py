"""Kill commands with SIGKILL at random moments and at random writes, and check that nothing is lost.

Each command runs on drawn people with a network of one layer, on one thread (`soak_commands.py`). It is killed,
sometimes again while it resumes, and then run to its end. Its output must be that of a run that nobody killed, bit for
bit but for times and salts; a folder at its final place must be whole at any time; and nothing may be left over.

    python benchmarks/soak_kill.py [--kills 200] [--seed 0] [--only COMMAND ...] [--go-on] [--out FILE]
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from soak_commands import COMMANDS, draw_people

RESULTS = Path(__file__).parent / "results" / "soak_kill.json"
IMPORTED = ("accelerate.utils", "sklearn.linear_model", "matplotlib.figure", "torch._dynamo", "pyarrow.dataset")
WRITES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}
KINDS = ("kills", "resumed", "identical", "lost", "half taken for whole", "left over", "failed")
PATIENCE = 1200.0  # seconds after which a command that hangs is a failure; other processes may keep the processors busy


class Killer:
    """Counts the writes of this process, and kills it before one of them.

    Args:
        at: Number of the write, from 1; 0 for none.
        told: Shared counter of the writes so far.
    """

    def __init__(self, at: int, told: Any) -> None:
        self._at, self._told = at, told

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Receive an event of Python's audit hooks."""
        opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if opened or event in WRITES:
            self._told.value += 1
            if self._told.value == self._at:
                os.kill(os.getpid(), signal.SIGKILL)


def child(name: str, people: Path, out: Path, at: int, told: Any, log: Path) -> None:
    """Run a command in this process, and be killed before write number `at`."""
    torch.set_num_threads(1)
    with open(log, "a") as errors:
        os.dup2(errors.fileno(), 2)
        sys.addaudithook(Killer(at, told))
        COMMANDS[name].run(people, out)


class Soak:
    """Runs commands in processes of their own and kills them.

    Args:
        work: Folder for the people and the outputs.
    """

    def __init__(self, work: Path) -> None:
        self._context = multiprocessing.get_context("forkserver")  # has no threads that a fork would lose
        self._context.set_forkserver_preload(["soak_kill", *IMPORTED])
        self._work, self.people = work, draw_people(work / "people")
        self._whole: dict[str, tuple[dict[str, Any], float, int]] = {}

    def run(self, name: str, out: Path, *, at: int = 0, seconds: float | None = None) -> tuple[int | None, float, int]:
        """Run a command, and kill it before write `at` or after some seconds; return exit code, seconds and writes."""
        told, log = self._context.Value("q", 0, lock=False), self._work / "errors.txt"
        log.write_text("")
        process = self._context.Process(target=child, args=(name, self.people, out, at, told, log))
        began = time.perf_counter()
        process.start()
        process.join(seconds if seconds is not None else PATIENCE)
        if process.is_alive():
            process.kill()
            process.join()
        return process.exitcode, time.perf_counter() - began, told.value

    def whole(self, name: str) -> tuple[dict[str, Any], float, int]:
        """Return what a command finds if nobody kills it, its seconds and the number of its writes."""
        if name not in self._whole:
            out = self._work / f"whole-{name}"
            code, seconds, writes = self.run(name, out)
            assert code == 0, f"{name}: {self.errors()}"
            self._whole[name] = COMMANDS[name].found(out), seconds, writes
        return self._whole[name]

    def errors(self) -> str:
        """Return the last lines of what the last command printed to its error stream."""
        return "\n".join((self._work / "errors.txt").read_text().splitlines()[-5:])

    def kill(self, name: str, stops: list[tuple[int, float | None]]) -> Counter[str]:
        """Kill a command at each of some (write, seconds), run it to its end, and count what happened."""
        command, (expected, _, _) = COMMANDS[name], self.whole(name)
        counted: Counter[str] = Counter()
        folder = Path(tempfile.mkdtemp(dir=self._work))
        out = folder / "out"
        for at, seconds in stops:
            code, _, _ = self.run(name, out, at=at, seconds=seconds)
            counted["kills"] += code == -signal.SIGKILL
            if code not in (0, -signal.SIGKILL):
                counted["failed"] += 1
                print(f"{name} {stops}: {self.errors()}", flush=True)
            if command.is_atomic and out.exists() and command.found(out) != expected:
                counted["half taken for whole"] += 1
                print(f"{name} {stops}: half-written at its place", flush=True)
        code, _, _ = self.run(name, out)
        if code != 0:
            counted["lost"] += 1
            print(f"{name} {stops}: does not continue: {self.errors()}", flush=True)
            return counted
        counted["resumed"] += 1
        same = command.found(out) == expected
        counted["identical"] += same
        left = [path.name for path in folder.iterdir() if path != out and path.suffix != ".lock"]
        left += [str(path) for path in out.rglob(".*") if path.suffix in (".new", ".gone")]
        counted["left over"] += bool(left)
        if left or not same:
            print(f"{name} {stops}: identical: {same}, left over: {left[:3]}", flush=True)
        shutil.rmtree(folder)
        return counted


def stops_of(draws: random.Random, seconds: float, writes: int) -> list[tuple[int, float | None]]:
    """Draw one or two moments: numbers of writes, or times in seconds."""
    return [
        (draws.randint(1, writes), None) if draws.random() < 0.5 else (0, draws.uniform(0, seconds))
        for _ in range(1 + (draws.random() < 0.2))
    ]


def main() -> None:
    """Kill every command in turn until there were enough kills, and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    parser.add_argument("--go-on", action="store_true", help="add to the results; give another --seed")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    from runs import about

    before = json.loads(options.out.read_text()) if options.go_on else {"about": {"seed": ""}, "commands": {}}
    seeds = ", ".join(filter(None, [str(before["about"]["seed"]), str(options.seed)]))
    draws = random.Random(options.seed)
    counts = {name: Counter[str](before["commands"].get(name, {})) for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder))
        while sum(count["kills"] for count in counts.values()) < options.kills:
            for name in sorted(options.only, key=lambda name: counts[name]["kills"]):
                _, seconds, writes = soak.whole(name)
                counts[name] += soak.kill(name, stops_of(draws, seconds, writes))
                write(options.out, counts, about(seed=seeds, threads=1))


def write(path: Path, counts: dict[str, Counter[str]], about: dict[str, Any]) -> None:
    """Write and print the counts so far."""
    total = sum(counts.values(), Counter[str]())
    told = {name: {kind: count[kind] for kind in KINDS} for name, count in {**counts, "all": total}.items()}
    path.write_text(json.dumps({"about": about, "commands": told}, indent=1) + "\n")
    print(told["all"], flush=True)


if __name__ == "__main__":
    # the child processes import the functions by name, not from the script that was started
    import soak_kill

    soak_kill.main()
