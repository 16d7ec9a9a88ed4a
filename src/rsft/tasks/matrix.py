"""Plans for feature matrices, written to files that a trainer in any language can read."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch
from torch import Tensor

from rsft.data.matrix import Matrix, read_labels, read_matrix, split_key
from rsft.data.shares import read_shares
from rsft.data.table import TABLES, read_table
from rsft.disk.room import save_array
from rsft.errors import InputError
from rsft.plan import Plan, plan, plan_from_ratio
from rsft.ranking import Ranked, rank_plans
from rsft.ratio import MAX_BOOSTED_WIDTH, METHODS
from rsft.ratio.attributes import raked_ratio
from rsft.report.plan_page import write_plan_page
from rsft.report.run import ACCEPTED_FILE, PLAN_FILE
from rsft.run_folder import writing_if
from rsft.types import PathLike


def plan_matrix(
    *,
    pool: PathLike,
    target: PathLike | None = None,
    shares: PathLike | None = None,
    attributes: PathLike | None = None,
    labels: PathLike | None = None,
    target_groups: PathLike | None = None,
    out: PathLike | None = None,
    epochs: int = 1,
    compare: bool = False,
    method: str | None = None,
    overwrite: bool = False,
    **options: Any,
) -> tuple[Plan, list[Ranked]]:
    """Plan rejection sampling for a pool that is given as a feature matrix, and optionally write the accepted rows.

    Exactly one of `target` and `shares` describes the target.

    Args:
        pool: File with the features of the pool, (N, D); see `rsft.data.matrix.read_matrix`.
        target: File with the features of a sample of the target, (K, D), in the same formats.
        shares: TOML file with the shares of attribute values in the target; see `rsft.data.shares.read_shares`.
        attributes: CSV or Parquet file with the attributes of the pool, one row per row of the pool, in the same order.
            Used with `shares`; by default, the columns of the pool if it is a Parquet file.
        labels: File with the identity or class of each row of the pool; see `rsft.data.matrix.read_labels`.
        target_groups: File with the group of each row of the target, in the same formats; rows of one group count as
            one. Needs `target`.
        out: Folder to write: `plan.json`, `report.html`, `accepted.parquet` with one row per row of the pool and, for
            each epoch, `accepted-000.npy`: the indices of the accepted rows, int64, in the order of the sampler.
        epochs: Number of epochs to write, at least 1.
        compare: Make a plan with every estimator and rank the plans. Needs `target`, and no `method`.
        method: Estimator of the density ratio; see `rsft.fit_ratio`. By default, that of `rsft.plan`.
        overwrite: Replace `out` if it exists.
        **options: Further arguments of `rsft.plan`.

    Returns:
        The plan, or the best of the ranked plans; and the ranking, best first, which is empty without `compare`.

    Raises:
        InputError: An argument or a file cannot be used.
    """
    of_target = target_groups is not None or compare
    if (target is None) == (shares is None) or epochs < 1 or (shares and of_target) or (compare and method):
        raise InputError(
            "a plan needs `target` or `shares`, not both, at least one epoch, `target_groups` and `compare` with a "
            f"target only, and `compare` without a method; got target={target}, shares={shares}, "
            f"target_groups={target_groups}, epochs={epochs}, compare={compare}, method={method}."
        )
    files = (pool, target, shares, attributes, labels, target_groups)
    inputs = [split_key(path)[0] for path in files if path is not None]
    with writing_if(None if out is None else Path(out), inputs=inputs, overwrite=overwrite) as folder:
        features = read_matrix(pool)
        items = len(features.rows)
        ranking: list[Ranked] = []
        if labels is not None:
            options["identities"] = _numbered(labels, items, "pool")
        if shares is not None:
            wanted = read_shares(shares)
            values = _read_attributes(attributes or pool, sorted(wanted), items)
            made = plan_from_ratio(raked_ratio(values, wanted), **options)
        else:
            assert target is not None
            sides = _both(features, read_matrix(target), target)
            named: dict[str, Any] = {"method": method} if method else {}
            if target_groups is not None:
                options["target_groups"] = _numbered(target_groups, len(sides[1]), "target")
            if compare:
                ranking = rank_plans({"rows": sides}, _estimators(features), **options)
            made = ranking[0].plan if ranking else plan(*sides, **{**options, **named})
        if folder is not None:
            _write(folder, made, epochs, options)
    return made, ranking


def _both(pool: Matrix, target: Matrix, path: PathLike) -> tuple[Any, Any]:
    """Return the rows of pool and target, after a check that their named columns agree."""
    if pool.columns and target.columns and list(pool.columns) != list(target.columns):
        raise InputError(
            f"'{path}' needs the columns of the pool: {', '.join(pool.columns)}, got {', '.join(target.columns)}."
        )
    return pool.rows, target.rows


def _estimators(features: Matrix) -> list[str]:
    """List the estimators that can handle the width of the features."""
    return [name for name in METHODS if name != "boosted" or features.rows.shape[1] <= MAX_BOOSTED_WIDTH]


def _numbered(labels: PathLike, items: int, side: str) -> Tensor:
    """Read the labels of the pool, or of the target, as integers (N,)."""
    values = read_labels(labels)
    if len(values) != items:
        raise InputError(f"'{labels}' needs a label for each of the {side}'s {items} rows, got {len(values)}.")
    return torch.from_numpy(np.unique(values, return_inverse=True)[1])


def _read_attributes(path: PathLike, names: Sequence[str], items: int) -> Mapping[str, list[str]]:
    """Read the named attributes of the pool's rows from a CSV or Parquet file."""
    file, _ = split_key(path)
    if file.suffix.lower() not in TABLES:
        raise InputError(f"'{path}' has no attribute columns: pass --attributes, a CSV or Parquet file.")
    table = read_table(file)
    missing = [name for name in names if name not in table.columns]
    if missing:
        there = ", ".join(table.columns)
        raise InputError(f"'{path}' has no column '{missing[0]}', which the shares name; it has {there}.")
    if len(table) != items:
        raise InputError(f"'{path}' needs a row for each of the pool's {items} rows, got {len(table)}.")
    return {name: list(table.values(name)) for name in names}


def _write(folder: Path, made: Plan, epochs: int, options: Mapping[str, Any]) -> None:
    """Write `plan.json`, `accepted.parquet` and the accepted rows of each epoch into a folder."""
    sampler, counts = made.sampler(), []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        order = sampler.sequence().numpy()
        save_array(folder / f"accepted-{epoch:03d}.npy", order)
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
    write_plan_page(folder)
