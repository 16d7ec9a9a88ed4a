"""Kill one of several processes that train together: do the others end with an error, in bounded time?

    python benchmarks/soak_ranks.py [--ranks 2 4] [--losses 5] [--seed 0] [--out benchmarks/results/soak_ranks.json]

The processes have no launcher that would end them: each must notice by itself. Afterwards, as many processes run the
same command with `--resume` to its end.
"""

import argparse
import json
import multiprocessing
import os
import random
import signal
import socket
import sys
import tempfile
import time
import types
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from soak_commands import RECIPE, draw_people, tiny_model
from soak_kill import IMPORTED
from torch.optim.optimizer import register_optimizer_step_post_hook

import rsft.face.fit
from rsft.cli import main as program

RESULTS = Path(__file__).parent / "results" / "soak_ranks.json"
BOUND = 60.0  # seconds after which a process that lost another must have ended
NOTICED = "another process failed"
fit = rsft.face.fit.fit


def child(rank: int, ranks: int, port: int, people: Path, out: Path, victim: int, step: int, log: Path) -> None:
    """Be one of the processes of `rsft fit --resume`; the victim is killed after a step of its training."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    done = Counter[str]()

    def count(*_: object) -> None:
        done["steps"] += 1
        if rank == victim and done["steps"] == step:
            os.kill(os.getpid(), signal.SIGKILL)

    register_optimizer_step_post_hook(count)
    with open(log, "a") as file:
        os.dup2(file.fileno(), 2)
    sys.stderr = os.fdopen(2, "w", buffering=1)

    def with_model(**options: Any) -> Any:
        return fit(**options | {"model": tiny_model(), "recipe": RECIPE})

    sys.modules["rsft.face.fit"] = types.SimpleNamespace(fit=with_model)  # type: ignore[assignment]
    sets = ("--pool", people / "pool", "--target", people / "target", "--eval", people / "evaluation")
    sys.argv = ["rsft", "fit", *map(str, sets), "--out", str(out), "--aligned", "--resume", "--quiet"]
    program.run()


def train(context: Any, people: Path, out: Path, ranks: int, victim: int = -1, step: int = 0) -> dict[str, Any]:
    """Let processes train together, and tell how each ended.

    Returns:
        "codes", the exit code of each process, None for one that was still there `BOUND` seconds after the victim had
        ended; "seconds", how long after the victim the last other one ended; and "told", their messages.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    log = out.with_suffix(".log")
    log.write_text("")
    processes = [
        context.Process(target=child, args=(rank, ranks, port, people, out, victim, step, log)) for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    if victim >= 0:
        processes[victim].join()
    lost = time.monotonic()
    for process in processes:
        process.join(max(0.0, lost + BOUND - time.monotonic()) if victim >= 0 else None)
    found = {"codes": [process.exitcode for process in processes], "seconds": time.monotonic() - lost}
    for process in processes:
        process.kill()
    return found | {"told": log.read_text()}


def main() -> None:
    """Lose processes, and write how the others ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--losses", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    from runs import about

    draws, context = random.Random(options.seed), multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["soak_ranks", *IMPORTED])
    told: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        people = draw_people(Path(folder) / "people")
        for ranks in options.ranks:
            losses = []
            for number in range(options.losses):
                out = Path(folder) / f"{ranks}-{number}"
                victim, step = draws.randrange(ranks), draws.randint(1, RECIPE.steps)
                lost = train(context, people, out, ranks, victim, step)
                again = train(context, people, out, ranks)
                others = [code for rank, code in enumerate(lost["codes"]) if rank != victim]
                losses.append(
                    {
                        "killed": lost["codes"][victim] == -signal.SIGKILL,
                        "ended_with_an_error": all(code is not None and code > 0 for code in others),
                        "said_so": NOTICED in lost["told"] and "Traceback" not in lost["told"],
                        "resumed": again["codes"] == [0] * ranks,
                        "seconds": round(lost["seconds"], 1),
                    }
                )
                print(ranks, victim, step, losses[-1], "" if losses[-1]["resumed"] else again["told"], flush=True)
            told[str(ranks)] = {
                "losses": len(losses),
                **{name: sum(one[name] for one in losses) for name in losses[0] if name != "seconds"},
                "longest_seconds": max(one["seconds"] for one in losses),
            }
            options.out.write_text(
                json.dumps({"about": about(seed=options.seed, threads=1), "ranks": told}, indent=1) + "\n"
            )


if __name__ == "__main__":
    # the child processes import the functions by name, not from the script that was started
    import soak_ranks

    soak_ranks.main()
