"""A scorer says the same of a row wherever the row is, and names what it cannot score."""

import math
import pickle
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from small_pool import ITEMS, WORSE, describe, features, pool_rows, score, small_plan

from rsft import plan, plan_from_ratio
from rsft.errors import InputError
from rsft.ratio import METHODS
from rsft.sampling.acceptance import accept_at
from rsft.sampling.stream import RejectionStream
from rsft.scale import RowOutcome, Scorer, fingerprint, scorer


def numbered(**options: Any) -> Scorer:
    return scorer(small_plan(), describe, **{"id": "number", "epochs": 3, **options})


def test_a_row_is_scored_alike_in_any_partition_and_after_pickle() -> None:
    rows, one = pool_rows(), numbered()
    whole, again = one(rows), pickle.loads(pickle.dumps(one))
    ends = [0, 1, 2, 700, 701, 3333, ITEMS]
    parts = [again(rows.slice(start, end - start)) for start, end in pairwise(ends)]
    assert pa.concat_tables(parts).equals(whole)
    backwards = rows.take(np.arange(ITEMS)[::-1])
    assert one(backwards).sort_by("id").equals(whole.sort_by("id"))


def test_the_log_ratios_are_those_of_the_law_and_in_the_pilot_those_held_out() -> None:
    made, table = small_plan(), numbered()(pool_rows()).sort_by("id")
    assert made.law is not None
    assert made.pilot is not None
    log_ratio = table["log_ratio"].to_numpy()
    new = np.setdiff1d(np.arange(ITEMS), [*made.pilot.rows, *WORSE])
    assert np.allclose(log_ratio[new], made.law.log_ratio(features()[new]), rtol=0, atol=1e-5)
    assert log_ratio[made.pilot.rows].tolist() == made.log_ratio.tolist()
    assert table["acceptance"].to_numpy() == pytest.approx(np.exp(np.minimum(0, log_ratio - made.envelope.log_m)))


def test_the_epochs_of_a_number_are_those_of_the_samplers() -> None:
    table = numbered()(pool_rows())
    items, acceptance = table["id"].to_numpy(), table["acceptance"].to_numpy()
    told = table["accepted_epochs"].to_pylist()
    for epoch in range(3):
        mask = accept_at(acceptance, items, seed=small_plan().seed, epoch=epoch, balanced=True)
        assert [epoch in epochs for epochs in told] == mask.tolist()
    lazy = small_plan().sampler(score=score).accepted(2).tolist()
    assert sorted(item for item, epochs in zip(items.tolist(), told, strict=True) if 2 in epochs) == lazy


def test_the_epochs_of_a_name_are_those_of_a_stream_with_this_key() -> None:
    table = scorer(small_plan(), describe, id="name", epochs=3)(pool_rows())
    stream = RejectionStream(
        table.to_pylist(), lambda row: row["acceptance"], seed=small_plan().seed, key=lambda row: row["id"]
    )
    for epoch in range(3):
        stream.set_epoch(epoch)
        accepted = [row["id"] for row in stream]
        assert accepted == [row["id"] for row in table.to_pylist() if epoch in row["accepted_epochs"]]
        assert 100 < len(accepted) < ITEMS


def test_rows_that_cannot_be_used_have_a_named_outcome_and_are_never_accepted() -> None:
    rows = pool_rows()
    usable = rows["number"].to_numpy() != 5
    table = numbered(keep=["path"])(rows)
    masked = replace(numbered(), features=lambda rows: (describe(rows), usable), known=(np.empty(0, int), np.empty(0)))
    for found, outcome, items in (
        (table, RowOutcome.NOT_FINITE, WORSE),
        (masked(rows), RowOutcome.UNUSABLE, (5,)),
    ):
        bad = [row for row in found.to_pylist() if row["outcome"] == outcome]
        assert sorted(row["id"] for row in bad) == list(items)
        assert all((row["log_ratio"], row["acceptance"]) == (-math.inf, 0) for row in bad)
        assert not any(row["accepted_epochs"] for row in bad)
    assert {row["path"] for row in table.to_pylist() if row["id"] == 5} == {"face-5.jpg"}


def test_an_item_that_the_pilot_could_not_use_is_never_accepted() -> None:
    made = small_plan()
    assert made.pilot is not None
    unusable = np.setdiff1d(np.arange(ITEMS), made.pilot.rows)[2000:2003]
    one = scorer(replace(made, pilot=replace(made.pilot, unusable=unusable)), describe, id="number", epochs=3)
    found = {row["id"]: row for row in one(pool_rows()).to_pylist()}
    assert {found[item]["outcome"] for item in unusable.tolist()} == {RowOutcome.UNUSABLE}
    assert not any(found[item]["accepted_epochs"] for item in unusable.tolist())


def test_wide_features_are_scored_alike_in_any_partition() -> None:
    """Where the last digits of a matrix product depend on its number of rows."""
    generator = torch.Generator().manual_seed(0)
    pool, target = (torch.randn(count, 128, generator=generator) for count in (1200, 300))
    made = plan(pool[:800], target + torch.eye(128)[0], envelope="max_tv=0.02")
    one = scorer(made, lambda rows: pool[rows["id"].to_pylist()], items=len(pool))
    rows = pa.table({"id": range(len(pool))})
    parts = [one(rows.slice(start, end - start)) for start, end in pairwise([0, 1, 2, 5, 40, 700, 1200])]
    assert pa.concat_tables(parts).equals(one(rows))


def test_the_fingerprint_changes_with_all_that_decides() -> None:
    made = small_plan()
    assert made.law is not None
    assert made.pilot is not None
    law, pilot = made.law, made.pilot
    others = [
        replace(made, seed=made.seed + 1),
        replace(made, log_ratio=made.log_ratio + 1),
        replace(made, pilot=replace(pilot, rows=pilot.rows + 1)),
        replace(made, pilot=replace(pilot, unusable=np.array([1]))),
        replace(made, law=replace(law, log_m=0.5)),
        replace(made, law=replace(law, log_mean=0.5)),
        replace(made, law=replace(law, retain_fraction=0.5)),
    ]
    assert len({fingerprint(one) for one in (made, *others)}) == 1 + len(others)
    assert fingerprint(made) == fingerprint(pickle.loads(pickle.dumps(made)))


@pytest.mark.parametrize("method", METHODS)
def test_a_scorer_is_small_and_does_not_hold_the_items_of_the_plan(method: str) -> None:
    large = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(2))
    made = plan(large, features()[:300] + 0.5, method=method, max_items=2000)
    small = scorer(made, describe, id="number")
    assert len(pickle.dumps(small.law)) < len(pickle.dumps(made.law)) - 20_000 * 8
    assert made.law is not None
    assert small.law.log_ratio(large[:9]).tolist() == made.law.log_ratio(large[:9]).tolist()
    assert small.items is None


def test_an_empty_partition_gives_no_rows_and_the_same_columns() -> None:
    rows, one = pool_rows(), numbered(keep=["path"])
    assert one(rows.slice(0, 0)).schema == one(rows).schema
    assert one(rows.slice(0, 0)).num_rows == one(pa.table({})).num_rows == 0
    (batch,) = rows.slice(0, 7).to_batches()
    assert [part.num_rows for part in one.batches(iter([batch, batch]))] == [7, 7]


# What is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.rename_columns(["n", *rows.column_names[1:]]), "the rows have no column 'number', only n, "),
        (lambda rows: rows.set_column(0, "number", rows["feature0"]), "'number' holds float, and an id is an integer"),
        (lambda rows: rows.set_column(0, "number", pa.array([None] * ITEMS, pa.int64())), f"{ITEMS} of {ITEMS} rows"),
        (lambda rows: rows.set_column(0, "number", pa.array(range(1, ITEMS + 1))), f"{ITEMS} is no item of a pool of"),
        (lambda rows: rows.set_column(0, "number", pa.array(range(-1, ITEMS - 1))), "-1 is no item of a pool of"),
        (lambda rows: rows.set_column(0, "number", pa.array([2**63] * ITEMS, pa.uint64())), r"needs less than 2\^63"),
        (lambda rows: rows.append_column("number", rows["number"]), "the rows have two columns 'number'"),
    ],
    ids=["no column", "no id", "missing ids", "beyond the pool", "negative", "unsigned", "two columns"],
)
def test_ids_that_cannot_be_used_are_refused_in_a_line(change: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        numbered()(change(pool_rows()))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda rows: describe(rows)[1:], r"a row of features for each of 5000 rows, from id \d+ on, got \(4999, 3\)"),
        (lambda rows: describe(rows)[:, :2], r"from id \d+ on: .* needs .*\(n, 3\), got"),
        (lambda rows: (describe(rows), np.ones(2, bool)), r"with a mask \(2,\)"),
    ],
    ids=["a row short", "another width", "a short mask"],
)
def test_features_of_another_shape_are_refused_in_a_line(wrong: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(numbered(), features=wrong)(pool_rows())


def test_what_makes_no_scorer_is_refused() -> None:
    with pytest.raises(InputError, match="from features whose items are accepted singly"):
        scorer(plan_from_ratio(torch.zeros(9)), describe)
    for epochs in (0, 1.5):
        with pytest.raises(InputError, match=rf"epochs=\.\.\.\)` needs a whole number, 1 or more, got {epochs}"):
            numbered(epochs=epochs)
    for keep in (["plan"], ["path", "path"]):
        with pytest.raises(InputError, match=r"keep=\.\.\.\)` needs different columns without id, log_ratio"):
            numbered(keep=keep)
