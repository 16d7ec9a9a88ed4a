"""Run commands under `torchrun` on several machines, and kill one of the processes: who reads what, is it the same?

    sudo python benchmarks/many_machines.py [--machines 2 4] [--out benchmarks/results/many_machines.json]

A machine is a network namespace of Linux with an address and a host name of its own; nothing is shared but the disk.
Needs root, and the programs `ip` (Debian: iproute2) and `unshare` (util-linux).
"""

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

RESULTS = Path(__file__).parent / "results" / "many_machines.json"
NEEDED = ("ip", "unshare", "mount")
NETWORK = "10.77.0"
RECIPE = {"steps": 6, "batch_size": 16, "views": 2, "validate_every": 2, "folds": 1, "features": '"covariates"'}
LIMIT = 240  # seconds for a command
BEFORE, AFTER = "before.safetensors", "after.safetensors"  # weights of the tuned stages
COMPARED = ("acceptance", "accepted", "log_ratio")  # columns of `accepted.parquet`


@dataclass(frozen=True)
class Lost:
    """A process that is killed once, at its first part of an embedding or after a step of a training."""

    rank: int
    at: str  # "part" or "step"


def missing() -> str | None:
    """Say why there can be no machines here, or return None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        return f"the program '{absent[0]}' is not installed"
    tried = subprocess.run(["ip", "netns", "add", _name(99)], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", _name(99)], capture_output=True)
    return f"network namespaces are not allowed: {tried.stderr.strip()}" if tried.returncode else None


@contextlib.contextmanager
def machines(number: int) -> Iterator[None]:
    """Make machines that reach each other over a bridge, and remove them at the end."""
    bridge = f"rsftbr{os.getpid() % 10000}"
    try:
        _do("ip", "link", "add", bridge, "type", "bridge")
        _do("ip", "link", "set", bridge, "up")
        for machine in range(number):
            name, cable = _name(machine), f"{bridge}-{machine}"
            _do("ip", "netns", "add", name)
            _do("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
            _do("ip", "link", "set", cable, "master", bridge, "up")
            _do("ip", "-n", name, "addr", "add", f"{_address(machine)}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                _do("ip", "-n", name, "link", "set", device, "up")
        yield
    finally:
        for machine in range(number):
            subprocess.run(["ip", "netns", "del", _name(machine)], capture_output=True)
        subprocess.run(["ip", "link", "del", bridge], capture_output=True)


def launch(
    number: int, folder: Path, command: Sequence[object], *, lost: Lost | None = None, prepare: str = ""
) -> dict[str, Any]:
    """Run `rsft` with one process on each machine.

    Args:
        number: Number of machines, which exist.
        folder: Folder for what is noted of the run.
        command: The command line of rsft.
        lost: The process that is killed; the launcher starts all of them once more.
        prepare: Shell command that the last machine runs first, with mounts of its own.

    Returns:
        "codes" and "told", the exit code of the launcher and what it and its process wrote, of each machine; "read",
        how many pictures each process has opened, in the order of ranks; and "seconds".
    """
    folder.mkdir()
    hosts = [f"{_address(machine)} node{machine}" for machine in range(number)]
    (folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *hosts]) + "\n")
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={number}", "--nproc-per-node=1"]
    torchrun += [
        "--rdzv-backend=c10d",
        "--rdzv-endpoint=node0:29400",
        f"--max-restarts={int(lost is not None)}",
        __file__,
        "--be",
    ]
    torchrun += [str(folder), str(lost.rank) if lost else "-1", lost.at if lost else "none", *map(str, command)]
    logs = [folder / f"log{machine}" for machine in range(number)]
    variables = {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    began, started = time.monotonic(), []
    for machine, log in enumerate(logs):
        own = f"hostname node{machine}; mount --bind {shlex.quote(str(folder / 'hosts'))} /etc/hosts; "
        own += (f"{prepare}; " if prepare and machine == number - 1 else "") + "exec " + shlex.join(torchrun)
        inside = ["ip", "netns", "exec", _name(machine), "unshare", "--mount", "--uts", "sh", "-c", own]
        with open(log, "w") as file:
            started.append(subprocess.Popen(inside, stdout=file, stderr=file, env=os.environ | variables))
    try:
        codes = [process.wait(LIMIT) for process in started]
    finally:
        for process in started:
            process.kill()
    read = [len(path.read_text().splitlines()) if path.exists() else 0 for path in _reads(folder, number)]
    told = [log.read_text() for log in logs]
    return {"codes": codes, "told": told, "read": read, "seconds": time.monotonic() - began}


def be(folder: Path, victim: int, at: str, command: Sequence[str]) -> None:
    """Be one process: note each picture that is opened, and die if it is this one's turn."""
    import safetensors.torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    import rsft.face.fit
    from rsft.cli.main import run
    from rsft.data.images import ImageSet
    from rsft.face.pictures import embedding

    rank, first = int(os.environ.get("RANK", "0")), os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
    usual, tune, done = ImageSet.opened, rsft.face.fit.tune, Counter[str]()

    def opened(images: ImageSet, index: int) -> Any:
        with open(_reads(folder, rank + 1)[rank], "a") as file:
            file.write(f"{images.ids[index]}\n")
        return usual(images, index)

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def count(*_: object) -> None:
        done["steps"] += 1
        if done["steps"] == RECIPE["steps"] // 2:  # type: ignore[operator]
            die()

    def tuned(*arguments: Any, **options: Any) -> Any:
        made = tune(*arguments, **options)
        for share, name in ((0.0, BEFORE), (1.0, AFTER)):  # whatever the gate decides
            weights = {key: value.contiguous() for key, value in made.line.at(share).state_dict().items()}
            safetensors.torch.save_file(weights, folder / f"{rank}-{name}")
        return made

    rsft.face.fit.tune = tuned
    embedding.PART_PICTURES = embedding.BATCH_SIZE // 2  # so that few pictures make several parts
    ImageSet.opened = opened  # type: ignore[method-assign,assignment]
    if rank == victim and first and at == "part":
        vars(embedding)["save_part"] = die
    if rank == victim and first and at == "step":
        register_optimizer_step_post_hook(count)
    sys.argv = ["rsft", *command]
    run()


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _name(machine: int) -> str:
    return f"rsft{os.getpid() % 10000}-{machine}"


def _address(machine: int) -> str:
    return f"{NETWORK}.{machine + 1}"


def _reads(folder: Path, number: int) -> list[Path]:
    return [folder / f"read{rank}" for rank in range(number)]


# What is measured


def commands(people: Path, recipe: Path) -> dict[str, list[object]]:
    """Return the command lines, without --out."""
    sets = ["--pool", people / "pool", "--target", people / "target", "--aligned"]
    return {
        "embed": ["embed", "--pool", people / "pool", "--aligned", "--resume"],
        "plan": ["plan", *sets, "--no-swap", "--config", recipe],
        "fit": ["fit", *sets, "--eval", people / "evaluation", "--config", recipe, "--resume"],
        "evaluate": ["evaluate", "--eval", people / "evaluation", "--aligned"],
    }


def found(name: str, out: Path) -> dict[str, Any]:
    """Return what must be the same on any number of machines."""
    import pyarrow.parquet

    if name == "embed":
        return {file: (out / file).read_bytes() for file in ("embeddings.npy", "nuisances.npy", "embedding.json")}
    if name == "evaluate":
        return {"evaluation": (out / "evaluation.json").read_text()}
    table = pyarrow.parquet.read_table(out / "accepted.parquet").to_pydict()
    return {column: repr(table[column]) for column in COMPARED if column in table}


def trained(notes: Path, rank: int, name: str) -> dict[str, np.ndarray]:
    """Return the weights of the tuned stages before or after the training of a run, as one process had them."""
    weights: dict[str, np.ndarray] = safetensors.numpy.load_file(notes / f"{rank}-{name}")
    return weights


def distance(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """Return the Euclidean distance of weights."""
    return float(sum(((one[name].astype(float) - other[name]) ** 2).sum() for name in one) ** 0.5)


def measure(number: int, folder: Path, lines: dict[str, list[object]], alone: Path) -> dict[str, Any]:
    """Run each command on some machines, and `embed` and `fit` again with a process that is lost."""
    told: dict[str, Any] = {}
    with machines(number):
        for name, line in lines.items():
            out = folder / f"{name}-{number}"
            run = launch(number, notes_of(out), [*line, "--out", out])
            assert run["codes"] == [0] * number, run["told"]
            told[name] = {
                "pictures_opened": run["read"],
                "same": found(name, out) == found(name, alone / name),
                "seconds": round(run["seconds"], 1),
            }
            print(number, name, told[name], flush=True)
        one, notes = notes_of(alone / "fit"), notes_of(folder / f"fit-{number}")
        way = distance(trained(one, 0, AFTER), trained(one, 0, BEFORE))
        told["fit"]["weights_apart"] = distance(trained(one, 0, AFTER), trained(notes, 0, AFTER)) / way
        for name, at in (("embed", "part"), ("fit", "step")):
            for rank in (0, number - 1):
                out = folder / f"{name}-{number}-lost-{rank}"
                run = launch(number, notes_of(out), [*lines[name], "--out", out], lost=Lost(rank, at))
                assert run["codes"] == [0] * number, run["told"]
                same = found(name, out) == found(name, folder / f"{name}-{number}")
                if name == "fit":
                    ranks = range(number)
                    same = same and all(
                        not distance(trained(notes_of(out), k, AFTER), trained(notes, k, AFTER)) for k in ranks
                    )
                told[name][f"with_process_{rank}_lost"] = {"same": same, "pictures_opened": run["read"]}
                print(number, out.name, same, run["read"], f"{run['seconds']:.0f} s", flush=True)
    return told


def notes_of(out: Path) -> Path:
    """Return the folder for what is noted of a run."""
    return out.with_name(f"{out.name}-notes")


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if (reason := missing()) is not None:
        sys.exit(f"{reason}.")
    from runs import about
    from soak_commands import draw_people

    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        people, recipe, alone = draw_people(folder / "people"), folder / "recipe.toml", folder / "alone"
        recipe.write_text("\n".join(["[recipe]", *(f"{key} = {value}" for key, value in RECIPE.items())]) + "\n")
        lines = commands(people, recipe)
        alone.mkdir()
        opened = {}
        for command, line in lines.items():
            notes = notes_of(alone / command)
            notes.mkdir()
            one = [sys.executable, __file__, "--be", str(notes), "-1", "none", *map(str, line), "--quiet", "--out"]
            subprocess.run([*one, str(alone / command)], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
            opened[command] = len((notes / "read0").read_text().splitlines())
        told = {str(number): measure(number, folder, lines, alone) for number in options.machines}
    results = {
        "about": about(seed=0, threads=1) | {"seconds": round(time.monotonic() - began)},
        "opened_by_one_process": opened,
        "machines": told,
    }
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--be"]:
        be(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5:])
    else:
        main()
