"""Real engines: what they write is, byte for byte, what one process gives."""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scale_page import ALONE
from small_pool import CALLS, MARKER, Dying, describe, pool_rows, score, small_plan

from rsft.errors import InputError
from rsft.scale import ScoredTable, Scorer, read_scored, score_with_ray, score_with_spark, scorer

ENGINES = {"ray": "ray", "spark": "pyspark"}
HERE = Path(__file__).parent


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Scorer]]:
    """The folder of what an engine wrote with each scorer, after one start of it."""
    name = request.param
    if find_spec(ENGINES[name]) is None:
        pytest.skip(f"needs {ENGINES[name]}, of the extra '{name}'")
    if name == "spark" and shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    folder = tmp_path_factory.mktemp(name)
    make = partial(scorer, small_plan(), epochs=4)
    scorers = {"killed": make(Dying, id="number", keep=["path"]), "named": make(describe, id="name")}
    pq.write_table(pool_rows(), folder / "rows.parquet")
    for which, one in scorers.items():
        (folder / f"{which}.scorer").write_bytes(pickle.dumps(one))
    paths = os.pathsep.join([str(HERE), *sys.path])
    environment = os.environ | {
        "PYTHONPATH": paths,
        "RAY_USAGE_STATS_ENABLED": "0",
        MARKER: str(folder / "died"),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    words = [sys.executable, str(HERE / "engine_job.py"), name, str(folder)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (folder / "died").exists()
    assert (folder / "died.calls").stat().st_size > CALLS  # parts of the job were done before, and the rest after
    return folder, scorers


def written(table: ScoredTable, schema: pa.Schema) -> pa.Table:
    parts = [pq.read_table(path).select(schema.names).cast(schema) for path in table.files]
    return pa.concat_tables(parts).sort_by("id")


@pytest.mark.parametrize("which", ["killed", "named"])
def test_an_engine_writes_the_bytes_of_one_process(engine: tuple[Path, dict[str, Scorer]], which: str) -> None:
    """Also if a worker kills itself in the middle, with a class as features, or with names as ids."""
    folder, scorers = engine
    alone = replace(scorers[which], features=describe)(pool_rows()).sort_by("id")
    table = read_scored(folder / which, scorers[which])
    assert len(table.files) > 1
    assert written(table, alone.schema).equals(alone)


def test_what_an_engine_wrote_is_drawn_as_a_sampler_of_the_plan_draws(engine: tuple[Path, dict[str, Scorer]]) -> None:
    folder, scorers = engine
    table = read_scored(folder / "killed", scorers["killed"])
    lazy, sampler = small_plan().sampler(score=score), table.sampler()
    for epoch in (0, 3):
        accepted = lazy.accepted(epoch).tolist()
        assert table.accepted(epoch).tolist() == accepted == sampler.accepted(epoch).tolist()


def test_the_page_runs_on_the_engine(engine: tuple[Path, dict[str, Scorer]]) -> None:
    folder, _ = engine
    (scored,) = folder.glob("scored-by-*/")
    alone = pq.read_table(folder / ALONE).sort_by("id")
    parts = [pq.read_table(path).select(alone.column_names) for path in sorted(scored.glob("*.parquet"))]
    assert pa.concat_tables(part.cast(alone.schema) for part in parts if len(part)).sort_by("id").equals(alone)


@pytest.mark.parametrize(("function", "extra"), [(score_with_ray, "ray"), (score_with_spark, "spark")])
def test_an_engine_that_is_not_installed_is_named_with_its_extra(
    function: Callable[..., object], extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("ray", "ray.data", "pyspark", "pyspark.sql"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"^`scale\.{function.__name__}` needs .*pip install '\.\[{extra}\]'"):
        function(pool_rows(), scorer(small_plan(), describe, id="number"))
