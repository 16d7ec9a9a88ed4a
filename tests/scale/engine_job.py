"""A job on a local engine, as a program: `python engine_job.py ray|spark FOLDER`.

It scores `FOLDER/rows.parquet` with each `FOLDER/NAME.scorer` into `FOLDER/NAME`, and runs docs/scale.md in `FOLDER`.
"""

import logging
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
from scale_page import run_blocks

from rsft.scale import Scorer, score_with_ray, score_with_spark

CUTS = (0, 1, 300, 300, 3000, 3700)  # an odd division, with an empty partition


def with_ray(folder: Path) -> Callable[[Scorer, Path], None]:
    import ray

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    rows = pq.read_table(folder / "rows.parquet")
    ends = (*CUTS[1:], len(rows))
    parts = [rows.slice(start, end - start) for start, end in zip(CUTS, ends, strict=True)]

    def job(scorer: Scorer, out: Path) -> None:
        options = {"compute": ray.data.ActorPoolStrategy(size=1)} if isinstance(scorer.features, type) else {}
        score_with_ray(ray.data.from_arrow(parts), scorer, **options).write_parquet(str(out))

    return job


def with_spark(folder: Path) -> Callable[[Scorer, Path], None]:
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = SparkSession.builder.master("local[1, 4]").config("spark.ui.enabled", "false").getOrCreate()
    rows = session.read.parquet(str(folder / "rows.parquet"))

    def job(scorer: Scorer, out: Path) -> None:
        parts = rows.repartition(5, rows["number"] % 3)  # at most three of them have rows
        score_with_spark(parts, scorer).write.parquet(str(out))

    return job


if __name__ == "__main__":
    engine, where = sys.argv[1], Path(sys.argv[2])
    os.chdir(where)  # where the workers are, too
    job = {"ray": with_ray, "spark": with_spark}[engine](where)
    for path in sorted(where.glob("*.scorer")):
        job(pickle.loads(path.read_bytes()), path.with_suffix(""))
    run_blocks(engine)
