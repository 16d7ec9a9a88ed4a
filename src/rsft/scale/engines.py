"""Scoring on an engine that runs already: Ray Data and Spark."""

from typing import Any

import pyarrow as pa

from rsft.errors import InputError, how_to_install
from rsft.scale.columns import ACCEPTANCE, ACCEPTED, EPOCHS, ID, LOG_RATIO, OUTCOME, PLAN, is_name
from rsft.scale.scorer import Scorer

SPARK_TYPES = {
    LOG_RATIO: "double",
    ACCEPTANCE: "double",
    ACCEPTED: "array<int>",
    EPOCHS: "int",
    OUTCOME: "string",
    PLAN: "string",
}


class _Actor:
    """A scorer as the class that Ray makes once in each of its actors."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def __call__(self, rows: pa.Table) -> pa.Table:
        return self._scorer(rows)


def score_with_ray(rows: Any, scorer: Scorer, **options: Any) -> Any:
    """Score the rows of a `ray.data.Dataset`.

    Args:
        rows: The dataset.
        scorer: The scorer. If its features are a class, it runs in actors; otherwise in tasks.
        **options: Further arguments of `Dataset.map_batches`, such as `compute`, `num_gpus` or `batch_size`.

    Returns:
        The dataset of scored rows. Nothing is computed before it is written, such as with `write_parquet`.

    Raises:
        InputError: If Ray is not installed, or `rows` is no dataset of it.
    """
    try:
        import ray.data
    except ImportError as error:
        raise InputError(f"`scale.score_with_ray` needs Ray Data ({error}): {how_to_install('ray')}.") from error
    if not isinstance(rows, ray.data.Dataset):
        raise InputError(f"`scale.score_with_ray(rows=...)` needs a `ray.data.Dataset`, got {type(rows).__name__}.")
    options = {"batch_format": "pyarrow", "zero_copy_batch": True, **options}
    if isinstance(scorer.features, type):
        return rows.map_batches(_Actor, fn_constructor_args=(scorer,), **options)
    return rows.map_batches(scorer.__call__, **options)


def score_with_spark(rows: Any, scorer: Scorer) -> Any:
    """Score the rows of a `pyspark.sql.DataFrame`.

    Args:
        rows: The data frame.
        scorer: The scorer.

    Returns:
        The data frame of scored rows. Nothing is computed before it is written, such as with `write.parquet`.

    Raises:
        InputError: If Spark is not installed, `rows` is no data frame of it, or a column is missing.
    """
    try:
        from pyspark.sql import DataFrame
        from pyspark.sql.pandas.types import to_arrow_schema
    except ImportError as error:
        raise InputError(f"`scale.score_with_spark` needs PySpark ({error}): {how_to_install('spark')}.") from error
    if not isinstance(rows, DataFrame):
        raise InputError(f"`scale.score_with_spark(rows=...)` needs a Spark `DataFrame`, got {type(rows).__name__}.")
    names = is_name(scorer.schema(to_arrow_schema(rows.schema)).field(ID).type)
    columns = {ID: "string" if names else "bigint"}
    columns |= {name: rows.schema[name].dataType.simpleString() for name in scorer.keep}
    declared = ", ".join(f"`{name}` {kind}" for name, kind in (columns | SPARK_TYPES).items())
    return rows.mapInArrow(scorer.batches, declared)
