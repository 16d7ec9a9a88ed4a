"""A small pool, its plan and functions from rows to features, for this process and for the workers of engines."""

import os
import signal
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from rsft import Plan, plan_from_pilot

ITEMS, WIDTH, SEED = 5000, 3, 3
WORSE = (17, 4000)  # items with a NaN and an infinite feature
MARKER = "RSFT_TEST_DIED"  # variable of the environment: the file that says that a process has died
CALLS = 2  # calls before it dies
COLUMNS = [f"feature{number}" for number in range(WIDTH)]


@cache
def features() -> Tensor:
    return torch.randn(ITEMS, WIDTH, generator=torch.Generator().manual_seed(0))


def score(items: np.ndarray) -> tuple[Tensor, np.ndarray]:
    return features()[items], ~np.isin(items, WORSE)


@cache
def small_plan(seed: int = SEED) -> Plan:
    target = torch.randn(300, WIDTH, generator=torch.Generator().manual_seed(1)) + torch.tensor([1.0, 0.0, 0.0])
    return plan_from_pilot(
        score, target, items=ITEMS, sizes=(600,), envelope="max_tv=0.02", retain_fraction=0.2, seed=seed
    )


def pool_rows() -> pa.Table:
    """Return the rows of the pool, in random order: number, name, path and features."""
    order = np.random.default_rng(0).permutation(ITEMS)
    values = features().clone()
    values[WORSE[0], 0], values[WORSE[1], 2] = float("nan"), float("inf")
    columns = {name: values[order, place].numpy() for place, name in enumerate(COLUMNS)}
    names = [f"face-{number}" for number in order]
    return pa.table({"number": order, "name": names, "path": [f"{name}.jpg" for name in names], **columns})


def describe(rows: pa.Table) -> Tensor:
    """Return the features that stand in the rows."""
    return torch.from_numpy(np.stack([rows[name].to_numpy() for name in COLUMNS], 1))


class Dying:
    """The same, as a class that engines make once in each process; after two calls, it kills its process."""

    def __call__(self, rows: pa.Table) -> Tensor:
        died, calls = Path(os.environ[MARKER]), Path(os.environ[MARKER] + ".calls")
        if calls.exists() and calls.stat().st_size == CALLS and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError("it cannot come here")
        with open(calls, "a") as file:
            file.write(".")
        return describe(rows)
