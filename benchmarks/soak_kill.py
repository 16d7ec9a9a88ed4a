"""Kill commands with SIGKILL at random moments and at random writes, and check that nothing is lost.

Each command runs on drawn people with a network of one layer, on one thread. It is killed, sometimes again while it
resumes, and then run to its end. Its output must be that of a run that nobody killed, bit for bit but for times and
salts; a folder at its final place must be whole at any time; and nothing may be left over.

    python benchmarks/soak_kill.py [--kills 200] [--seed 0] [--out benchmarks/results/soak_kill.json]
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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import torch
from PIL import Image
from torch import nn

from rsft.compare import RUNS_FOLDER
from rsft.data.convert import convert
from rsft.data.images import find_images
from rsft.face.adaptation.recipe import Recipe
from rsft.face.compare import compare_faces
from rsft.face.embed_folder import embed_folder
from rsft.face.fit import fit
from rsft.face.networks.bundle import FaceModel, face_model
from rsft.face.pictures import embedding
from rsft.face.plan import plan_folders
from rsft.tuning.cache import CachedActivations
from rsft.tuning.cut import cut

RESULTS = Path(__file__).parent / "results" / "soak_kill.json"
SIDE, PATCHES = 112, 14
RECIPE = Recipe(steps=6, batch_size=16, views=2, validate_every=2, cut=-1, folds=1, features="covariates")
IMPORTED = ("accelerate.utils", "sklearn.linear_model", "matplotlib.figure", "torch._dynamo", "pyarrow.dataset")
WRITES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}
TIMES = {"seconds", "quarantined", "features", "seconds_of_a_picture"}
KINDS = ("kills", "resumed", "identical", "lost", "half taken for whole", "left over", "failed")
PATIENCE = 300.0  # seconds after which a command that hangs is a failure


def tiny_model() -> FaceModel:
    """Return a network of random projections of 8 x 8 means."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3 * PATCHES**2, 32))
    return face_model(network, name="tiny", cut=-1)


def draw_people(root: Path) -> Path:
    """Draw the folders `pool` (12 people), `target` (4) and `evaluation` (8), with 6 pictures of each person."""
    generator = np.random.default_rng(0)
    for part, people in (("pool", 12), ("target", 4), ("evaluation", 8)):
        for person in range(people):
            own = generator.uniform(60, 200, (PATCHES, PATCHES, 3)).repeat(8, 0).repeat(8, 1)
            folder = root / part / f"{part}{person}"
            folder.mkdir(parents=True)
            for picture in range(6):
                light = 0.3 if part != "pool" or picture % 2 else 1.0
                noise = generator.normal(0, 40, own.shape)
                Image.fromarray((light * own + noise).clip(0, 255).astype(np.uint8)).save(folder / f"{picture}.png")
    return root


# Each command: people and its output -> runs it, or continues it


def run_fit(people: Path, out: Path) -> None:
    """`rsft fit --resume`."""
    sets = {"pool": people / "pool", "target": people / "target", "evaluation": people / "evaluation"}
    if not out.exists():
        fit(**sets, out=out, model=tiny_model(), recipe=RECIPE, aligned=True, resume=True)


def run_embed(people: Path, out: Path) -> None:
    """`rsft embed --resume`, in parts of a batch."""
    embedding.PART_PICTURES = embedding.BATCH_SIZE
    if not out.exists():
        embed_folder(pool=people / "pool", out=out, model=tiny_model(), aligned=True, resume=True)


def run_plan(people: Path, out: Path) -> None:
    """`rsft plan --out OUT --overwrite`."""
    sides = {"pool": people / "pool", "target": people / "target"}
    plan_folders(**sides, out=out, model=tiny_model(), against=(), recipe=RECIPE, aligned=True, overwrite=True)


def run_compare(people: Path, out: Path) -> None:
    """`rsft compare`."""
    sets: Any = {"pool": people / "pool", "target": people / "target", "evaluation": people / "evaluation"}
    recipe = RECIPE.model_copy(update={"steps": 2})
    model: Any = tiny_model()
    compare_faces(**sets, out=out, model=model, recipe=recipe, aligned=True, seeds=2)


def run_convert(people: Path, out: Path) -> None:
    """`rsft convert` to a `.rec`, a manifest and shards."""
    out.mkdir(exist_ok=True)
    for name in ("faces.rec", "listed/list.csv", "shard-{0..2}.tar"):
        first = out / name.replace("{0..2}", "0")
        partial = (out / name).with_name((out / name).name + ".partial")
        if partial.exists() or not first.exists():
            convert(people / "pool", out / name)


def run_cache(people: Path, out: Path) -> None:
    """Fill a cache of activations, batch by batch."""
    images = find_images(people / "pool")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(4 * PATCHES**2, 4))
    network[0].requires_grad_(False)
    prefix, _ = cut(network, torch.zeros(2, 3, SIDE, SIDE))

    def read(rows: Any) -> torch.Tensor:
        return torch.from_numpy(np.stack([images.read(row) for row in rows])).permute(0, 3, 1, 2).float()

    cached = CachedActivations(out, prefix, read, torch.zeros(len(images)), content="drawn")
    for start in range(0, len(images), 8):
        cached.__getitems__(range(start, min(start + 8, len(images))))


# What must be the same: output -> comparable values


def of_run(out: Path) -> dict[str, Any]:
    """What a fit or a plan found: all but names, times and salts."""
    found: dict[str, Any] = {}
    for name in ("metrics.json", "plan.json"):
        if (out / name).exists():
            told = json.loads((out / name).read_text())
            found[name] = {key: value for key, value in told.items() if key not in TIMES}
    table = pyarrow.parquet.read_table(out / "accepted.parquet").to_pydict()
    found["accepted"] = repr({name: values for name, values in table.items() if name not in ("path", "identity")})
    for name in ("history.jsonl", "model/weights.safetensors", "model/bundle.json"):
        found[name] = (out / name).read_bytes() if (out / name).exists() else None
    found["files"] = files_of(out)
    return found


def of_files(out: Path) -> dict[str, Any]:
    """The bytes of all files but the marks."""
    return {name: (out / name).read_bytes() for name in files_of(out) if not name.endswith(".rsft.json")}


def of_comparison(out: Path) -> dict[str, Any]:
    """Each training but those of equal time, whose length depends on the time of the embedding."""
    found = {}
    for path in sorted((out / RUNS_FOLDER).glob("*.json")):
        told = json.loads(path.read_text())
        if "equal-time" not in path.name:
            found[path.name] = {key: value for key, value in told.items() if key != "seconds"}
    return found | {"finished": (out / "comparison.json").exists()}


def files_of(out: Path) -> list[str]:
    """The paths of all files below a folder.

    The lock file of a process that was killed locks nobody out, and stays until the next command that writes there.
    """
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and path.suffix != ".lock")


@dataclass(frozen=True)
class Command:
    """A command to kill.

    Attributes:
        run: Runs it, or continues it.
        found: What of its output must be the same.
        is_atomic: Its output appears when it is whole.
    """

    run: Callable[[Path, Path], None]
    found: Callable[[Path], dict[str, Any]]
    is_atomic: bool


COMMANDS = {
    "fit": Command(run_fit, of_run, True),
    "plan": Command(run_plan, of_run, True),
    "embed": Command(run_embed, of_files, True),
    "compare": Command(run_compare, of_comparison, False),
    "convert": Command(run_convert, of_files, False),
    "cache": Command(run_cache, of_files, False),
}


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
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    from runs import about

    draws, counts = random.Random(options.seed), {name: Counter[str]() for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder))
        while sum(count["kills"] for count in counts.values()) < options.kills:
            for name in COMMANDS:
                _, seconds, writes = soak.whole(name)
                counts[name] += soak.kill(name, stops_of(draws, seconds, writes))
            write(options.out, counts, about(seed=options.seed, threads=1))


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
