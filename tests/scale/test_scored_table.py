"""A table of scored rows gives the accepted items of one process, and is refused where it is not whole."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from small_pool import ITEMS, WORSE, describe, pool_rows, score, small_plan
from torch.utils.data import DataLoader

from rsft.errors import InputError
from rsft.scale import read_scored, scorer

CUTS = (0, 1, 1500, 1500, 4000, ITEMS)
NUMBERED = scorer(small_plan(), describe, id="number", epochs=3, keep=["path"])
NAMED = scorer(small_plan(), describe, id="name", epochs=3)


def write(folder: Path, table: pa.Table) -> None:
    """Write a table in partitions of 700 rows a group, one of them empty."""
    folder.mkdir(parents=True)
    for number, (start, end) in enumerate(pairwise(CUTS)):
        pq.write_table(table.slice(start, end - start), folder / f"part-{number}.parquet", row_group_size=700)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scored") / "numbered"
    write(folder, NUMBERED(pool_rows()))
    (folder / "_temporary").mkdir()
    (folder / "_temporary" / "part-0.parquet").write_bytes(b"left by a killed job")
    return folder


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scored") / "named"
    write(folder, NAMED(pool_rows()))
    return folder


def test_the_samplers_and_the_table_accept_the_items_of_one_process(numbered: Path, tmp_path: Path) -> None:
    table, lazy = read_scored(numbered, NUMBERED), small_plan().sampler(score=score)
    mapped = table.sampler(tmp_path / "acceptance.npy")
    assert isinstance(np.load(tmp_path / "acceptance.npy", mmap_mode="r"), np.memmap)
    assert (len(table), table.epochs, table.named) == (ITEMS, 3, False)
    for epoch in (0, 2, 40):  # a sampler draws from the probabilities, so it knows any epoch
        accepted = lazy.accepted(epoch).tolist()
        assert accepted == table.sampler().accepted(epoch).tolist() == mapped.accepted(epoch).tolist()
        if epoch < 3:
            assert accepted == table.accepted(epoch).tolist()
    pilot = small_plan().pilot
    assert pilot is not None
    seen = len(np.intersect1d(pilot.unusable, WORSE))  # by the pilot, which says that they are unusable
    outcomes = {"scored": ITEMS - len(WORSE), "features not finite": len(WORSE) - seen, "unusable": seen}
    assert table.outcomes() == {name: count for name, count in outcomes.items() if count}


@pytest.mark.parametrize("kind", ["numbered", "named"])
@pytest.mark.parametrize(("world_size", "workers"), [(1, 0), (2, 2)])
def test_the_stream_of_all_workers_and_ranks_is_what_is_accepted_once(
    kind: str, world_size: int, workers: int, request: pytest.FixtureRequest
) -> None:
    table = read_scored(request.getfixturevalue(kind), NUMBERED if kind == "numbered" else NAMED)
    found: list[object] = []
    for rank in range(world_size):
        stream = table.stream(["path"] if kind == "numbered" else [], rank=rank, world_size=world_size)
        stream.set_epoch(2)
        loader = DataLoader(
            stream, batch_size=None, num_workers=workers, multiprocessing_context="fork" if workers else None
        )
        rows = list(loader)
        assert 0 < len(rows) < ITEMS
        assert all(row.get("path", "face-").startswith("face-") for row in rows)
        found += [row["id"] for row in rows]
    assert sorted(found, key=str) == sorted(table.accepted(2).tolist(), key=str)


def test_a_loader_makes_batches_of_the_stream(numbered: Path) -> None:
    table = read_scored(numbered, NUMBERED)
    batches = list(DataLoader(table.stream(["path"]), batch_size=32))
    assert all(set(batch) == {"id", "path"} for batch in batches)
    assert sorted(item for batch in batches for item in batch["id"].tolist()) == table.accepted(0).tolist()
    row = next(iter(table.stream(["accepted_epochs"])))  # who asks for the epochs gets them
    assert 0 in row["accepted_epochs"]


# What is refused

Change = Callable[[pa.Table], pa.Table]


def without(*items: int) -> Change:
    return lambda table: table.filter(pc.invert(pc.is_in(table["id"], pa.array(items))))


def instead(name: str, values: Callable[[pa.ChunkedArray], object]) -> Change:
    """Return a change of a column."""
    return lambda table: table.set_column(table.column_names.index(name), name, values(table[name]))


def emptied(name: str) -> Change:
    """Return a change that leaves a column without values."""
    return instead(name, lambda column: pa.nulls(len(column), column.type))


def twice(table: pa.Table, row: int = 40) -> pa.Table:
    """Have a row in place of the last one as well."""
    return pa.concat_tables([table.slice(0, ITEMS - 1), table.slice(row, 1)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without(7, 4999), r"lacks 2 of 5000 items \(item 7 is the first\): did the job end"),
        (without(4999), r"lacks 1 of 5000 items \(item 4999 is the first\)"),
        (twice, r"part-4.parquet' has id \d+, which the table has already"),
        (partial(twice, row=ITEMS - 3), r"part-4.parquet' has id \d+, which the table has already"),
        (lambda table: table.slice(0, 0), r"the table has no rows in its 5 files"),
        (lambda table: table.drop_columns(["plan"]), r"part-0.parquet' has no column 'plan', so it is no scored table"),
        (instead("log_ratio", lambda old: old.cast(pa.float32())), r"has float in 'log_ratio', which needs double"),
        (instead("id", lambda old: old.cast(pa.float64())), r"has double in 'id', which needs int64 or string"),
        (emptied("id"), r"part-0.parquet' lacks 1 values in 'id': score the pool again"),
        (emptied("plan"), r"part-0.parquet' lacks 1 values in 'plan'"),
        (instead("epochs", lambda old: pa.array([0] * ITEMS, pa.int32())), r"has 0 in 'epochs', which needs 1 or more"),
    ],
    ids=[
        "two missing",
        "the last missing",
        "twice",
        "twice in a file",
        "empty",
        "no plan",
        "another type",
        "ids of another type",
        "no id",
        "of no plan",
        "no epochs",
    ],
)
def test_a_table_that_is_not_whole_is_refused_in_a_line(change: Change, message: str, tmp_path: Path) -> None:
    write(tmp_path / "scored", change(NUMBERED(pool_rows())))
    with pytest.raises(InputError, match=message):
        read_scored(tmp_path / "scored", NUMBERED)


@pytest.mark.parametrize("name", ["acceptance", "accepted_epochs"])
def test_values_that_are_missing_are_refused_when_they_are_read(name: str, tmp_path: Path) -> None:
    write(tmp_path / "scored", emptied(name)(NUMBERED(pool_rows())))
    table = read_scored(tmp_path / "scored", NUMBERED)
    with pytest.raises(InputError, match=f"part-0.parquet' lacks 1 values in '{name}': score the pool again"):
        table.sampler() if name == "acceptance" else table.accepted(0)


def test_a_damaged_page_is_told_by_its_checksum(tmp_path: Path) -> None:
    """As Spark writes them: without the checksum other numbers would be read in silence."""
    path = tmp_path / "part-0.parquet"
    options = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    pq.write_table(NUMBERED(pool_rows()), path, **options)
    content = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(0).column(3)
    assert column.path_in_schema == "acceptance"
    content[column.data_page_offset + column.total_compressed_size - 2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot read '.*part-0.parquet' as a partition of a scored table: .*CRC"):
        read_scored(path, NUMBERED).sampler()


@pytest.mark.parametrize("in_memory", [True, False], ids=["in memory", "in a file"])
def test_names_that_are_missing_or_there_twice_are_refused(
    in_memory: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_memory:
        monkeypatch.setattr("rsft.scale.ids.IN_MEMORY", 100)
    table = NAMED(pool_rows())
    write(tmp_path / "twice", twice(table))
    with pytest.raises(InputError, match=r"has id 'face-\d+', which the table has already"):
        read_scored(tmp_path / "twice", NAMED)
    write(tmp_path / "short", table.slice(0, ITEMS - 3))
    with pytest.raises(InputError, match="lacks 3 of 5000 items"):
        read_scored(tmp_path / "short", NAMED)
    write(tmp_path / "whole", table)
    whole = read_scored(tmp_path / "whole", NAMED)
    with pytest.raises(InputError, match=r"use `ScoredTable\.stream`"):
        whole.sampler()


def test_partitions_of_other_columns_or_ids_are_refused(numbered: Path, named: Path, tmp_path: Path) -> None:
    for extra, message in (
        (NUMBERED(pool_rows()).drop_columns(["path"]), "no column 'path', and '.*part-0.parquet' string"),
        (NAMED(pool_rows()), "string column 'id', and '.*' int64"),
    ):
        folder = tmp_path / message[:3]
        shutil.copytree(numbered, folder)
        pq.write_table(extra, folder / "part-9.parquet")
        with pytest.raises(InputError, match=message):
            read_scored(folder, NUMBERED)


def test_a_table_of_another_plan_is_refused(numbered: Path) -> None:
    other = scorer(small_plan(seed=4), describe, id="number", epochs=3)
    assert other.plan != NUMBERED.plan
    with pytest.raises(InputError, match=f"was scored with plan {NUMBERED.plan}, and this is plan {other.plan}"):
        read_scored(numbered, other)


def test_an_epoch_that_was_not_scored_is_refused(numbered: Path) -> None:
    table = read_scored(numbered, NUMBERED)
    stream = table.stream()
    stream.set_epoch(3)
    for ask in (lambda: table.accepted(3), lambda: list(stream)):
        with pytest.raises(InputError, match=r"epoch 3 was not scored: the table tells epochs 0 to 2\. Score with"):
            ask()
    for epoch in (-1, 1.5):
        with pytest.raises(InputError, match=f"an epoch is a whole number, 0 or more, got {epoch}"):
            table.accepted(epoch)  # type: ignore[arg-type]
    stream.set_epoch(0)
    stream.seed = NUMBERED.seed + 1
    with pytest.raises(InputError, match="the table was scored with seed 3, and epoch 0 asked for with 4"):
        list(stream)


@pytest.mark.parametrize("files", [1, 2])
def test_a_table_tells_the_epochs_that_all_of_its_rows_have(files: int, tmp_path: Path) -> None:
    fewer, more = (replace(NUMBERED, epochs=epochs)(pool_rows()) for epochs in (2, 3))
    parts = [more.slice(0, 3000), fewer.slice(3000)]
    for number, part in enumerate(parts if files == 2 else [pa.concat_tables(parts)]):
        pq.write_table(part, tmp_path / f"part-{number}.parquet")
    table = read_scored(tmp_path, NUMBERED)
    assert table.epochs == 2
    assert table.accepted(1).tolist() == table.sampler().accepted(1).tolist()
    with pytest.raises(InputError, match="epoch 2 was not scored"):
        table.accepted(2)


def test_files_that_are_no_table_are_refused(numbered: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'https://host/scored' is no folder here: copy the table to one"):
        read_scored("https://ann:pw@host/scored?X-Amz-Signature=5ec2e7", NUMBERED)  # which are not shown
    with pytest.raises(InputError, match="'s3://lake/scored' is no folder here: copy the table to one"):
        read_scored("s3://lake/scored", NUMBERED)
    with pytest.raises(InputError, match="no Parquet file in"):
        read_scored(tmp_path, NUMBERED)
    (tmp_path / "cut.parquet").write_bytes((numbered / "part-1.parquet").read_bytes()[:500])
    with pytest.raises(InputError, match=r"cannot read '.*cut\.parquet' as a partition of a scored table"):
        read_scored(tmp_path, NUMBERED)
    with pytest.raises(InputError, match=r"has no column 'album': name it in `scale\.scorer\(keep"):
        read_scored(numbered, NUMBERED).stream(["album"])
    (tmp_path / "there.npy").touch()
    with pytest.raises(InputError, match="exists: name a new file"):
        read_scored(numbered, NUMBERED).acceptance(tmp_path / "there.npy")


def test_the_shares_of_workers_divide_the_rows(numbered: Path) -> None:
    table = read_scored(numbered, NUMBERED)
    shares = [
        [item for rows in table._share(["id"], share, 3) for item in rows["id"].to_pylist()] for share in range(3)
    ]
    assert min(map(len, shares)) > 0
    assert sorted(item for share in shares for item in share) == list(range(ITEMS))


def test_files_of_one_row_group_are_divided_too(tmp_path: Path) -> None:
    scored = NUMBERED(pool_rows())
    for number in range(4):
        pq.write_table(scored.slice(1250 * number, 1250), tmp_path / f"part-{number}.parquet")
    table = read_scored(tmp_path, NUMBERED)
    assert [sum(len(rows) for rows in table._share(["id"], share, 4)) for share in range(4)] == [1250] * 4
