"""What our scorer costs on Ray and Spark, beside the bare engine with the same features and batches, in one run.

    python benchmarks/scale.py [--pairs 6]     (needs the extras `ray` and `spark`, Java, and those of `demo`)

The bare job computes the features and writes the id with one number, the least that a job can write; ours writes the
scored rows of 10 epochs. Both take turns in one running engine, AB and BA, with one worker that computes. Cost is
processor time of the workers (and of Spark's JVM), as other work on the machine moves the clock. That work also moves
the processor time of the features, by a third, which are the same function in both: so each job notes it, and the ratio
takes its median over both. It is the geometric mean over pairs, with its 95 % interval (Student's t of the logs);
`as_measured` is without this correction. Features: "cheap", 64 numbers that stand in the row, where the overhead is
largest; and "network", a JPEG chip of 150 pixels decoded and embedded with dlib's network.

Then what reading costs: a table of two million rows, scored here. Writes `benchmarks/results/scale.json`.
"""

import argparse
import io
import json
import math
import os
import pickle
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from runs import about
from scale_jobs import BATCH, KINDS, ROWS, SPENT, WIDTH, Timed
from scipy import stats

from rsft import Plan, plan
from rsft.scale import Scorer, read_scored, scorer

RESULTS = Path(__file__).parent / "results" / "scale.json"
JOBS = str(Path(__file__).parent / "scale_jobs.py")
ENGINES = ("ray", "spark")
EPOCHS = 10
TABLE_ROWS, FILES = 2_000_000, 16


# The data and the plans


def chips() -> list[bytes]:
    """The ORL faces as JPEG chips of 150 pixels."""
    from rsft.face.pictures.orl import orl_faces

    images, found = orl_faces(), []
    for row in range(len(images)):
        file = io.BytesIO()
        Image.fromarray(images.read(row)).convert("RGB").resize((150, 150)).save(file, "JPEG", quality=92)
        found.append(file.getvalue())
    return found


def make_rows(kind: str) -> pa.Table:
    count = ROWS[kind]
    if kind == "cheap":
        values = np.random.default_rng(0).standard_normal(count * WIDTH, np.float32)
        return pa.table({"id": np.arange(count), "x": pa.ListArray.from_arrays(np.arange(count + 1) * WIDTH, values)})
    return pa.table({"id": np.arange(count), "jpeg": chips() * (count // 400)})


def make_plan(kind: str, rows: pa.Table) -> Plan:
    """A plan on the first rows, for a target that is moved along the first features."""
    features = KINDS[kind](rows.slice(0, 3000)).clone()
    target = features[-len(features) // 3 :].clone()
    target[:, :4] += features[:, :4].std(0)
    return plan(features, target, envelope="max_tv=0.02")


def summary(kind: str, measured: dict[str, Any]) -> dict[str, Any]:
    """Rows for each second of one core, and the ratio of processor times, ours over bare, with its interval."""
    arms, rows = measured["costs"], ROWS[kind]
    column = {name: {arm: np.array([cost[name] for cost in arms[arm]]) for arm in arms} for name in arms["bare"][0]}
    features = float(np.median(np.concatenate(list(column["features"].values()))))
    cpu = {arm: column["cpu"][arm] - column["features"][arm] + features for arm in arms}
    further = float(np.mean(cpu["ours"] - cpu["bare"]))
    return {
        **{f"rows_a_core_second_{arm}": round(rows / float(np.median(cpu[arm])), 1) for arm in cpu},
        "features_microseconds_a_row": round(1e6 * features / rows, 1),
        "further_microseconds_a_row": round(1e6 * further / rows, 1),
        "ratio": ratio(cpu),
        "as_measured": {"cpu": ratio(column["cpu"]), "clock": ratio(column["clock"])},
        **measured,
    }


def ratio(costs: dict[str, np.ndarray]) -> dict[str, float]:
    logs = np.log(costs["ours"] / costs["bare"])
    half = float(stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs)))
    ends = {"value": 0, "low": -half, "high": half}
    return {name: round(math.exp(logs.mean() + by), 4) for name, by in ends.items()}


# One process


def in_one_process(kind: str, rows: pa.Table, ours: Scorer, repeats: int) -> dict[str, float]:
    """Processor microseconds of a row, of the features and of what the scorer adds, without an engine."""
    batches = [rows.slice(start, BATCH[kind]) for start in range(0, rows.num_rows, BATCH[kind])]
    features = KINDS[kind]
    known = [features(batch) for batch in batches]
    told: dict[str, list[float]] = {"features": [], "scorer": []}
    for _ in range(repeats):
        begun = time.process_time()
        for batch in batches:
            features(batch)
        told["features"].append(time.process_time() - begun)
        answers = iter(known)  # the scorer alone: its features are known
        alone = Scorer(**(vars(ours) | {"features": lambda _, answers=answers: next(answers)}))
        begun = time.process_time()
        for batch in batches:
            alone(batch)
        told["scorer"].append(time.process_time() - begun)
    return {name: round(1e6 * statistics.median(values) / rows.num_rows, 2) for name, values in told.items()}


def make_table(folder: Path) -> Scorer:
    """Score two million rows here, in files of a shuffled order of ids, as an engine writes them."""
    random = np.random.default_rng(1)
    pool = random.standard_normal((TABLE_ROWS, 2), np.float32)
    made_plan = plan(pool[:50_000], pool[-500:] + np.float32(1.2), envelope="max_tv=0.02")
    ours = scorer(
        made_plan, lambda rows: torch.from_numpy(pool[rows["id"].to_numpy()]), epochs=EPOCHS, items=TABLE_ROWS
    )
    folder.mkdir()
    ends = np.linspace(0, TABLE_ROWS, FILES + 1).astype(int)
    for number, (start, end) in enumerate(pairwise(ends)):
        ids = random.permutation(np.arange(start, end))
        pq.write_table(ours(pa.table({"id": ids})), folder / f"part-{number:02d}.parquet", row_group_size=1 << 17)
    return ours


def reading(folder: Path, ours: Scorer) -> dict[str, Any]:
    """Processor seconds for each million of rows of what one does with a table, and its bytes by column."""
    columns: dict[str, int] = {}
    files = sorted(folder.glob("*.parquet"))
    for path in files:
        described = pq.read_metadata(path)
        for group in range(described.num_row_groups):
            for place in range(described.num_columns):
                column = described.row_group(group).column(place)
                name = column.path_in_schema.partition(".")[0]
                columns[name] = columns.get(name, 0) + column.total_compressed_size
    seconds: dict[str, float] = {}

    def timed(name: str, what: Callable[[], Any]) -> Any:
        begun = time.process_time()
        value = what()
        seconds[name] = round((time.process_time() - begun) / TABLE_ROWS * 1e6, 3)
        return value

    table = timed("read_scored", lambda: read_scored(folder, ours))
    sampler = timed("sampler", lambda: table.sampler(folder.parent / "acceptance.npy"))
    accepted = timed("an epoch of the sampler", lambda: sum(1 for _ in sampler))
    timed("accepted", lambda: table.accepted(1))
    timed("an epoch of the stream", lambda: sum(1 for _ in table.stream()))
    size = sum(path.stat().st_size for path in files)
    return {
        "rows": TABLE_ROWS,
        "bytes_a_row": round(size / TABLE_ROWS, 2),
        "bytes_a_row_by_column": {name: round(value / TABLE_ROWS, 3) for name, value in columns.items()},
        "accepted_fraction": round(accepted / TABLE_ROWS, 4),
        "cpu_seconds_a_million_rows": seconds,
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


# The page

FEATURES = {"cheap": "64 numbers of the row", "network": "a chip decoded, dlib"}
MANY, HOUR = 10**9, 3600


def costs(found: dict[str, Any]) -> list[str]:
    """The two tables of `docs/scale.md`."""
    lines = [
        "| engine | features | rows a core second, bare | ours | processor time, ours over bare | further, of a row |",
        "|---|---|---|---|---|---|",
    ]
    for engine in ENGINES:
        for kind, told in FEATURES.items():
            one = found[engine][kind]
            bare, ours = (f"{one[f'rows_a_core_second_{arm}']:,.0f}" for arm in ("bare", "ours"))
            over = "{value:.2f} [{low:.2f}, {high:.2f}]".format(**one["ratio"])
            further = f"{one['further_microseconds_a_row']:.1f} us" if kind == "cheap" else ""
            lines.append(f"| {engine.capitalize()} | {told} | {bare} | {ours} | {over} | {further} |")
    alone, table = found["one process"], found["table"]
    seconds = {name: value * MANY / 1e6 for name, value in table["cpu_seconds_a_million_rows"].items()}
    by_column = table["bytes_a_row_by_column"]
    hours = {name: value * MANY / 1e6 / HOUR for name, value in alone["network"].items()}
    rows = {
        "features: a chip decoded and embedded with dlib": f"{hours['features']:,.0f} core hours",
        f"the scorer, in batches of {BATCH['network']}; of {BATCH['cheap']:,}": (
            f"{hours['scorer']:.1f} core hours; {alone['cheap']['scorer'] * MANY / 1e6 / HOUR:.1f}"
        ),
        "the table": f"{table['bytes_a_row']:.0f} GB",
        "`read_scored`, which reads ids, epochs and plans": (
            f"{seconds['read_scored']:.0f} core seconds, {by_column['id']:.1f} GB read, {MANY / 8e6:.0f} MB of memory"
        ),
        '`table.sampler("acceptance.npy")`': (
            f"{seconds['sampler']:.0f} core seconds, {by_column['id'] + by_column['acceptance']:.0f} GB read, "
            "8 GB written"
        ),
        "an epoch of this sampler": f"{seconds['an epoch of the sampler']:.0f} core seconds",
        "an epoch of `table.stream()`": (
            f"{seconds['an epoch of the stream'] / HOUR:.1f} core hours, "
            f"{by_column['id'] + by_column['accepted_epochs']:.1f} GB read, by all workers together"
        ),
    }
    many = ["| what | 10^9 pictures |", "|---|---|", *(f"| {what} | {cost} |" for what, cost in rows.items())]
    return ["\n".join(table) + "\n" for table in (lines, many)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument(
        "--table", action="store_true", help="only the costs of reading, into the results that there are"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {"about": about(pairs=options.pairs, rows=ROWS, batch=BATCH, epochs=EPOCHS, width=WIDTH)}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if options.table:
            found = json.loads(RESULTS.read_text()) | {"table": reading(folder / "table", make_table(folder / "table"))}
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
            print("\n".join(costs(found)))
            return
        found["one process"] = {}
        for kind in KINDS:
            rows = make_rows(kind)
            pq.write_table(rows, folder / f"{kind}.parquet")
            ours = scorer(make_plan(kind, rows), Timed(kind), epochs=EPOCHS, items=ROWS[kind])
            (folder / f"{kind}.scorer").write_bytes(pickle.dumps(ours))
            found["one process"][kind] = in_one_process(kind, rows, ours, 3)
        for engine in ENGINES:
            environment = os.environ | {
                "PYTHONPATH": os.pathsep.join(sys.path),
                "RAY_USAGE_STATS_ENABLED": "0",
                "RAY_worker_niceness": "0",
                "RAY_kill_idle_workers_interval_ms": "0",  # or what they have spent is lost
                "SPARK_LOCAL_IP": "127.0.0.1",
                SPENT: str(folder / "spent"),
            }
            words = [sys.executable, JOBS, engine, scratch, str(options.pairs)]
            subprocess.run(words, env=environment, check=True)
            told = json.loads((folder / f"{engine}.json").read_text())
            found[engine] = {kind: summary(kind, told[kind]) for kind in KINDS}
        found["table"] = reading(folder / "table", make_table(folder / "table"))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print("\n".join(costs(found)))


if __name__ == "__main__":
    main()
