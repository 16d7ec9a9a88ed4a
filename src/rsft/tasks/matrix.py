"""A plan for any table of features: no pictures, no model, and results that a trainer in any language can read."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch
from torch import Tensor

from rsft.data.manifest import read_columns
from rsft.data.matrix import CSV, PARQUET, Matrix, read_labels, read_matrix, split_key
from rsft.data.shares import read_shares
from rsft.errors import InputError
from rsft.plan import Plan, plan, plan_from_ratio
from rsft.ranking import Ranked, rank_plans
from rsft.ratio import MAX_BOOSTED_WIDTH, METHODS
from rsft.ratio.attributes import raked_ratio
from rsft.report.run import ACCEPTED_FILE, PLAN_FILE
from rsft.run_folder import check_output, writing

PathLike = str | os.PathLike[str]


def plan_matrix(
    *,
    pool: PathLike,
    target: PathLike | None = None,
    shares: PathLike | None = None,
    attributes: PathLike | None = None,
    labels: PathLike | None = None,
    out: PathLike | None = None,
    epochs: int = 1,
    compare: bool = False,
    method: str | None = None,
    overwrite: bool = False,
    **options: Any,
) -> tuple[Plan, list[Ranked]]:
    """What would be accepted of a pool of which only features are at hand; the target is stated by one of two.

    Args:
        pool: see `read_matrix`.
        target: likewise, rows of the target population.
        shares: a TOML file, see `read_shares`: for a target known by shares of attributes.
        attributes: with `shares`, a CSV or Parquet file with a row for each row of the pool, in its order; by default
            the pool's own columns, where it is a Parquet file.
        labels: identity or class of each row of the pool, see `read_labels`.
        out: folder for `plan.json`, `accepted.parquet` (a row a pool row) and, of every epoch, `accepted-000.npy`: the
            numbers of the accepted rows, int64, in the order in which the sampler gives them.
        epochs: how many are written, at least 1.
        compare: make a plan with every estimator, and rank them.
        method: of `fit_ratio`.
        overwrite: replace an existing `out`.
        **options: of `rsft.plan`.

    Returns:
        The plan, the best of those compared; and all of them, the best first, where `compare`.

    Raises:
        InputError: something given cannot be used.
    """
    if (target is None) == (shares is None) or epochs < 1 or (compare and (shares or method)):
        raise InputError(
            "a plan needs `target` or `shares`, not both, at least one epoch, and `compare` with a target and without "
            f"a method; got target={target}, shares={shares}, epochs={epochs}, compare={compare}, method={method}."
        )
    inputs = [split_key(path)[0] for path in (pool, target, shares, attributes, labels) if path is not None]
    if out is not None:
        check_output(Path(out), inputs=inputs, overwrite=overwrite)
    features = read_matrix(pool)
    items = len(features.rows)
    ranking: list[Ranked] = []
    if labels is not None:
        options["identities"] = _numbered(labels, items)
    if shares is not None:
        wanted = read_shares(shares)
        values = _read_attributes(attributes or pool, sorted(wanted), items)
        made = plan_from_ratio(raked_ratio(values, wanted), **options)
    else:
        assert target is not None
        sides = _both(features, read_matrix(target), target)
        named: dict[str, Any] = {"method": method} if method else {}
        if compare:
            ranking = rank_plans({"rows": sides}, _estimators(features), **options)
        made = ranking[0].plan if ranking else plan(*sides, **{**options, **named})
    if out is not None:
        with writing(Path(out), inputs=inputs, overwrite=overwrite) as folder:
            _write(folder, made, epochs, options)
    return made, ranking


def _both(pool: Matrix, target: Matrix, path: PathLike) -> tuple[Any, Any]:
    if pool.columns and target.columns and list(pool.columns) != list(target.columns):
        raise InputError(
            f"'{path}' has other columns than the pool: {', '.join(target.columns)}, not {', '.join(pool.columns)}."
        )
    return pool.rows, target.rows


def _estimators(features: Matrix) -> list[str]:
    return [name for name in METHODS if name != "boosted" or features.rows.shape[1] <= MAX_BOOSTED_WIDTH]


def _numbered(labels: PathLike, items: int) -> Tensor:
    values = read_labels(labels)
    if len(values) != items:
        raise InputError(f"'{labels}' needs a label for each of the pool's {items} rows, got {len(values)}.")
    return torch.from_numpy(np.unique(values, return_inverse=True)[1])


def _read_attributes(path: PathLike, names: Sequence[str], items: int) -> Mapping[str, list[str]]:
    file, _ = split_key(path)
    if file.suffix.lower() not in (PARQUET, CSV):
        raise InputError(f"'{path}' has no attributes to give shares of: pass --attributes, a CSV or Parquet file.")
    columns = read_columns(file)
    missing = [name for name in names if name not in columns]
    if missing:
        raise InputError(f"'{path}' has no column '{missing[0]}' to give shares of; it has {', '.join(columns)}.")
    values = {name: columns[name] for name in names}
    if any(len(column) != items for column in values.values()):
        raise InputError(f"'{path}' needs a row for each of the pool's {items}, got {len(values[names[0]])}.")
    return values


def _write(folder: Path, made: Plan, epochs: int, options: Mapping[str, Any]) -> None:
    sampler, counts = made.sampler(), []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        order = sampler.sequence().numpy()
        np.save(folder / f"accepted-{epoch:03d}.npy", order)
        counts.append(len(order))
    described = made.to_dict() | {
        "retain_fraction": options.get("retain_fraction", 0.0),
        "accepted_in_epochs": counts,
    }
    (folder / PLAN_FILE).write_text(json.dumps(described, indent=1))
    accepted = np.zeros(len(made.acceptance), bool)
    accepted[made.accepted()] = True
    columns = {
        "row": np.arange(len(accepted)),
        "log_ratio": made.log_ratio.numpy(),
        "acceptance": made.acceptance.numpy(),
        "accepted": accepted,
    }
    pa.parquet.write_table(pa.table(columns), folder / ACCEPTED_FILE)
