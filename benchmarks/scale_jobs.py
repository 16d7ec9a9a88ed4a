"""The features and jobs of `scale.py`, in a module that the workers of an engine can import.

    python benchmarks/scale_jobs.py ray|spark FOLDER PAIRS

runs the jobs of an engine in turns in `FOLDER`, which `scale.py` has filled, and writes `FOLDER/ENGINE.json`.
"""

import io
import json
import os
import pickle
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor

from rsft.scale import Scorer, score_with_ray, score_with_spark

WIDTH = 64
ROWS = {"cheap": 200_000, "network": 800}
BATCH = {"cheap": 1024, "network": 64}


def cheap(rows: pa.Table) -> Tensor:
    """Features that stand in the row."""
    values = rows["x"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return torch.from_numpy(values.reshape(rows.num_rows, WIDTH).copy())


@torch.inference_mode()
def network(rows: pa.Table) -> Tensor:
    """The embedding of a JPEG chip by dlib's network."""
    chips = [np.asarray(Image.open(io.BytesIO(chip.as_py())).convert("RGB")) for chip in rows["jpeg"]]
    return loaded()(torch.from_numpy(np.stack(chips)).permute(0, 3, 1, 2).float())


@cache
def loaded() -> torch.nn.Module:
    from rsft.face.networks.load import load_model

    torch.set_num_threads(1)
    return load_model("dlib").network.eval().to(memory_format=torch.channels_last)


KINDS: dict[str, Callable[[pa.Table], Tensor]] = {"cheap": cheap, "network": network}
SPENT = "RSFT_BENCHMARK_SPENT"  # variable of the environment: the file that gets the seconds of each batch


@dataclass(frozen=True)
class Timed:
    """The features of a kind, which note the processor time that they take."""

    kind: str

    def __call__(self, rows: pa.Table) -> Tensor:
        begun = time.thread_time()
        found = KINDS[self.kind](rows)
        with open(os.environ[SPENT], "a") as file:
            file.write(f"{time.thread_time() - begun}\n")
        return found


@dataclass(frozen=True)
class Bare:
    """The features of a kind for the bare engine, which writes one number of them."""

    kind: str

    def __call__(self, rows: pa.Table) -> pa.Table:
        return pa.table({"id": rows["id"], "value": Timed(self.kind)(rows).mean(1).numpy()})

    def batches(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from self(pa.Table.from_batches([batch])).to_batches()


def cpu_ticks(engine: str) -> dict[int, int]:
    """Processor time of the workers of an engine, which are below this process; for Spark with its JVM.

    The driver and the daemons of Ray cost by the second of the clock and not by the row.
    """
    told: dict[int, tuple[str, int, int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, after = path.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue  # it has ended
        told[int(path.parent.name)] = name, int(after.split()[1]), sum(map(int, after.split()[11:15]))
    below, more = {os.getpid()}, {os.getpid()}
    while more:
        more = {pid for pid, (_, parent, _) in told.items() if parent in more}
        below |= more
    names = re.compile("ray::[^_]" if engine == "ray" else "")  # ray::_StatsActor and others with `_` are no workers
    return {pid: told[pid][2] for pid in below - {os.getpid()} if names.match(told[pid][0])}


def cpu_seconds(engine: str, before: dict[int, int]) -> float:
    """Processor time since then."""
    spent = (ticks - before.get(pid, 0) for pid, ticks in cpu_ticks(engine).items())
    return sum(spent) / os.sysconf("SC_CLK_TCK")


def ray_jobs(folder: Path) -> Callable[[str, Scorer | None, Path], None]:
    import ray

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error")
    ray.data.DataContext.get_current().enable_progress_bars = False

    def job(kind: str, ours: Scorer | None, out: Path) -> None:
        rows = ray.data.read_parquet(str(folder / f"{kind}.parquet"), override_num_blocks=4)
        options: dict[str, Any] = {"batch_size": BATCH[kind], "batch_format": "pyarrow", "zero_copy_batch": True}
        scored = rows.map_batches(Bare(kind).__call__, **options) if ours is None else None
        (scored or score_with_ray(rows, ours, batch_size=BATCH[kind])).write_parquet(str(out))

    return job


def spark_jobs(folder: Path) -> Callable[[str, Scorer | None, Path], None]:
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    session = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")

    def job(kind: str, ours: Scorer | None, out: Path) -> None:
        session.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", BATCH[kind])
        rows = session.read.parquet(str(folder / f"{kind}.parquet"))
        bare = Bare(kind).batches
        scored = rows.mapInArrow(bare, "id bigint, value float") if ours is None else score_with_spark(rows, ours)
        scored.write.parquet(str(out))

    return job


def measure(engine: str, folder: Path, pairs: int) -> dict[str, Any]:
    """Run all jobs of an engine in turns."""
    job = {"ray": ray_jobs, "spark": spark_jobs}[engine](folder)
    found = {}
    for kind in KINDS:
        ours = pickle.loads((folder / f"{kind}.scorer").read_bytes())
        costs: dict[str, list[dict[str, float]]] = {"bare": [], "ours": []}
        for number in range(-2, pairs):  # the first two pairs warm the engine up
            for arm in ("bare", "ours") if number % 2 else ("ours", "bare"):
                out = folder / f"{engine}-{kind}-{arm}"
                shutil.rmtree(out, ignore_errors=True)
                Path(os.environ[SPENT]).write_text("")
                begun, before = time.perf_counter(), cpu_ticks(engine)
                job(kind, ours if arm == "ours" else None, out)
                cost = {"cpu": cpu_seconds(engine, before), "clock": time.perf_counter() - begun}
                cost["features"] = sum(map(float, Path(os.environ[SPENT]).read_text().split()))
                if number >= 0:
                    costs[arm].append({name: round(value, 3) for name, value in cost.items()})
        size = sum(path.stat().st_size for path in (folder / f"{engine}-{kind}-ours").glob("*.parquet"))
        found[kind] = {"costs": costs, "bytes_a_row": round(size / ROWS[kind], 2)}
        print(engine, kind, json.dumps(costs), flush=True)
    return found


if __name__ == "__main__":
    from scale_jobs import measure as run  # the workers know these classes by the name of the module

    name, where = sys.argv[1], Path(sys.argv[2])
    (where / f"{name}.json").write_text(json.dumps(run(name, where, int(sys.argv[3]))))
