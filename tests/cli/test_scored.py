"""`rsft scored`: what it prints is what stands in the table, and a list is what the sampler gives."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from command_line import refused, rsft
from small_pool import ITEMS, SEED, WORSE, describe, pool_rows, small_plan

from rsft import choose_envelope
from rsft.errors import InputError
from rsft.scale import read_scored, scorer, write_accepted

EPOCHS = 3
NUMBERED = scorer(small_plan(), describe, id="number", epochs=EPOCHS, keep=["path"])
NAMED = scorer(small_plan(), describe, id="name", epochs=EPOCHS)
Change = Callable[[pa.Table], pa.Table]


def write(folder: Path, rows: pa.Table) -> Path:
    """Write a table in two files with rows and one without."""
    folder.mkdir()
    for number, (start, end) in enumerate([(0, 2000), (2000, 2000), (2000, len(rows))]):
        pq.write_table(rows.slice(start, end - start), folder / f"part-{number}.parquet", row_group_size=700)
    return folder


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("scored") / "numbered", NUMBERED(pool_rows()))


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("scored") / "named", NAMED(pool_rows()))


def listed(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", ["numbered", "named"])
def test_what_is_printed_stands_in_the_rows(kind: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    found = json.loads(rsft("scored", folder, "--seed", str(SEED), "--json").stdout)
    rows = pq.read_table(folder).to_pydict()
    times = [epoch for epochs in rows["accepted_epochs"] for epoch in epochs]
    log_m = small_plan().envelope.log_m
    envelope = choose_envelope(torch.tensor(rows["log_ratio"], dtype=torch.float64), log_m=log_m)
    close = {"log_m": log_m, "expected": sum(rows["acceptance"]), "clipped_mass": envelope.clipped_mass}
    assert {name: found.pop(name) for name in close} == pytest.approx(close, abs=1e-9)
    assert envelope.clipped_mass > 0.005
    assert found == {
        "items": ITEMS,
        "named": kind == "named",
        "partitions": 2,
        "empty_partitions": 1,
        "plan": NUMBERED.plan,
        "epochs": EPOCHS,
        "seed": SEED,
        "seed_agrees": True,
        "accepted": [times.count(epoch) for epoch in range(EPOCHS)],
        "ever_accepted": sum(map(bool, rows["accepted_epochs"])),
        "certain": rows["acceptance"].count(1),
        "without_ratio": len(WORSE),
        "outcomes": {name: rows["outcome"].count(name) for name in set(rows["outcome"])},
    }


def test_of_a_small_envelope_some_clipped_items_gain(tmp_path: Path) -> None:
    """Those whose share of what is accepted is above their share of the target: they lose no mass."""
    law = replace(NUMBERED.law, log_m=NUMBERED.law.log_m - 2)
    folder = write(tmp_path / "scored", replace(NUMBERED, law=law)(pool_rows()))
    log_ratio = torch.from_numpy(pq.read_table(folder)["log_ratio"].to_numpy())
    expected = choose_envelope(log_ratio, log_m=law.log_m).clipped_mass
    found = json.loads(rsft("scored", folder, "--json").stdout)
    assert found["clipped_mass"] == pytest.approx(expected, abs=1e-9)
    assert expected > 0.1


def test_a_table_is_printed_for_people(numbered: Path) -> None:
    printed = rsft("scored", numbered).stdout
    for told in ("5,000; ids: 0 to 4999", "2, and 1 without rows", NUMBERED.plan, "not 0", "Accepted in epochs 0 to 2"):
        assert told in printed
    assert "3, as all decisions are those of this seed" in rsft("scored", numbered, "--seed", str(SEED)).stdout


@pytest.mark.parametrize("windows", ["one window", "many windows"])
def test_a_list_is_what_the_sampler_gives_to_one_process(
    windows: str, numbered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if windows == "many windows":  # as of pools of more than 2^24 items
        monkeypatch.setattr("rsft.sampling.sampler.GLOBAL_ITEMS", 1000)
        monkeypatch.setattr("rsft.sampling.sampler.WINDOW_ITEMS", 330)
    sampler = read_scored(numbered, NUMBERED).sampler(rank=0, world_size=1)
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert order != sorted(order)
        asked = ("scored", numbered, "--epoch", epoch, "--seed", SEED, "--out")
        rsft(*map(str, asked), tmp_path / f"{epoch}.csv", "--column", "path")
        assert listed(tmp_path / f"{epoch}.csv") == [{"id": str(n), "path": f"face-{n}.jpg"} for n in order]
        told = json.loads(rsft(*map(str, asked), tmp_path / f"{epoch}.parquet", "--json").stdout)
        assert pq.read_table(tmp_path / f"{epoch}.parquet").to_pydict() == {"id": order}
        assert (told["accepted"], told["items"]) == (len(order), ITEMS)


def test_names_stand_in_the_order_of_the_table(named: Path, tmp_path: Path) -> None:
    assert "epoch 1 accepts" in rsft("scored", named, "--epoch", "1", "--out", tmp_path / "one.csv").stdout
    stream = read_scored(named, NAMED).stream(rank=0, world_size=1)
    stream.set_epoch(1)
    assert [row["id"] for row in listed(tmp_path / "one.csv")] == [row["id"] for row in stream]


def test_python_writes_the_same_list_with_the_scorer(numbered: Path, tmp_path: Path) -> None:
    """The scorer tells the seed, which a table does not."""
    count = write_accepted(read_scored(numbered, NUMBERED), 2, tmp_path / "two.csv")
    rsft("scored", numbered, "--epoch", "2", "--seed", str(SEED), "--out", tmp_path / "again.csv")
    assert (tmp_path / "two.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()
    assert len(listed(tmp_path / "two.csv")) == count
    with pytest.raises(InputError, match=r"does not hold its seed.*ScoredTable\.sampler\(seed=\.\.\.\)"):
        read_scored(numbered).sampler()
    assert len(read_scored(numbered).sampler(seed=SEED, rank=0, world_size=1).accepted(2)) == count


def test_rows_of_more_epochs_than_others_are_of_the_same_seed(tmp_path: Path) -> None:
    fewer, more = (replace(NUMBERED, epochs=epochs)(pool_rows()) for epochs in (2, 5))
    folder = write(tmp_path / "scored", pa.concat_tables([more.slice(0, 3000), fewer.slice(3000)]))
    found = json.loads(rsft("scored", folder, "--seed", str(SEED), "--json").stdout)
    assert (found["epochs"], found["seed"], len(found["accepted"])) == (2, SEED, 2)
    assert found["accepted"][1] == write_accepted(read_scored(folder, NUMBERED), 1, tmp_path / "one.csv")


# What is refused


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--epoch 0 --out LIST.csv", "the decisions of the table are not those of seed 0: state the seed of its plan"),
        ("--epoch 3 --out LIST.csv --seed 3", "epoch 3 was not scored: the table tells epochs 0 to 2"),
        ("--epoch 0 --out LIST.txt", "LIST.txt' needs a name that ends in .csv or .parquet"),
        ("--epoch 0 --out numbered/LIST.csv", "LIST.csv' lies in the input 'numbered'"),
        ("--epoch 0 --out none/LIST.csv", "the folder of 'none/LIST.csv' does not exist"),
        ("--epoch 0 --out there.csv", "'there.csv' exists"),
        ("--epoch 0", "--epoch and --out go together"),
        ("--column path", "--epoch and --out go together"),
        ("--epoch 0 --out LIST.csv --seed 3 --column album", "has no column 'album'"),
        ("--epoch 0 --out LIST.csv --seed 3 --column id", "a list has 'id' and each other column once"),
        ("--epoch 0 --out LIST.csv --seed 3 --column accepted_epochs", "which .csv cannot: name a .parquet file"),
        ("--items 5001", "the table lacks 1 of 5001 items (item 5000 is the first)"),
    ],
)
def test_what_cannot_be_listed_is_refused_and_leaves_nothing(
    line: str, message: str, numbered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("numbered").symlink_to(numbered)
    Path("there.csv").write_text("mine")
    assert message in refused("scored", "numbered", *line.split())
    assert Path("there.csv").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"numbered", "there.csv"}
    assert not list(numbered.glob("*LIST*"))


def test_a_list_of_names_with_another_seed_is_not_left_behind(named: Path, tmp_path: Path) -> None:
    """It is seen when all rows have been written."""
    assert "not those of seed 4" in refused("scored", named, "--epoch", "0", "--seed", "4", "--out", tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="lies in the input"):
        write_accepted(read_scored(named), 0, named / "a.csv")


def changed(row: int, **values: object) -> Change:
    """Return a change of a row."""

    def change(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        rows[row].update(values)
        return pa.Table.from_pylist(rows, schema=table.schema)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(40, acceptance=1.5), "part-0.parquet' has 1.5 in 'acceptance', which needs 0 to 1"),
        (changed(40, acceptance=float("nan")), "has nan in 'acceptance', which needs 0 to 1"),
        (changed(4000, log_ratio=0.5), "part-2.parquet' has probability"),
        (changed(4000, plan="0" * 16), "was scored with plan 0000000000000000, and this is plan"),
        (lambda rows: rows.slice(0, 0), "the table has no rows in its 3 files"),
        (lambda rows: rows.drop_columns(["outcome"]), "has no column 'outcome', so it is no scored table"),
    ],
    ids=["above 1", "not a number", "of another ratio", "two plans", "no rows", "no table"],
)
def test_a_table_that_contradicts_itself_is_refused(change: Change, message: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "scored", change(NUMBERED(pool_rows())))
    assert message in refused("scored", folder)


def test_a_changed_decision_is_of_no_seed(tmp_path: Path) -> None:
    rows = NUMBERED(pool_rows())
    epochs = rows["accepted_epochs"].to_pylist()
    row = epochs.index([])
    folder = write(tmp_path / "scored", changed(row, accepted_epochs=[2])(rows))
    assert not json.loads(rsft("scored", folder, "--seed", str(SEED), "--json").stdout)["seed_agrees"]
    message = refused("scored", folder, "--epoch", "0", "--seed", str(SEED), "--out", tmp_path / "a.csv")
    assert f"not those of seed {SEED}" in message


def test_files_that_are_no_table_are_refused(numbered: Path, tmp_path: Path) -> None:
    assert "TABLE: " in refused("scored", tmp_path / "absent")
    assert "no Parquet file in" in refused("scored", tmp_path)
    (tmp_path / "cut.parquet").write_bytes((numbered / "part-0.parquet").read_bytes()[:500])
    assert "cut.parquet' as a partition of a scored table" in refused("scored", tmp_path / "cut.parquet")


def test_a_seed_is_told_only_where_chance_could_not_agree(tmp_path: Path) -> None:
    """The plan of few items, all of which are certain to be accepted or rejected, says nothing of its seed or of M."""
    columns = {"id": np.arange(4), "log_ratio": [5.0, 5.0, -np.inf, -np.inf], "acceptance": [1.0, 1.0, 0.0, 0.0]}
    rows = pa.table({**columns, "accepted_epochs": [[0], [0], [], []], "epochs": [1] * 4, "outcome": ["scored"] * 4})
    schema = NUMBERED.schema(pool_rows().schema)
    rows = rows.append_column("plan", pa.array(["0" * 16] * 4))
    rows = rows.cast(pa.schema([schema.field(name) for name in rows.column_names]))
    pq.write_table(rows, tmp_path / "few.parquet")
    found = json.loads(rsft("scored", tmp_path / "few.parquet", "--json").stdout)
    assert (found["seed"], found["seed_agrees"], found["log_m"], found["clipped_mass"]) == (None, True, None, None)
    printed = rsft("scored", tmp_path / "few.parquet").stdout
    assert "perhaps 0: too few decisions to tell" in printed
    assert "not known without M" in printed
    asked = ("scored", tmp_path / "few.parquet", "--epoch", "0", "--out", tmp_path / "a.csv")
    assert "too few decisions to tell whether its seed is 0" in refused(*asked)
    rsft(*asked, "--seed", "7")
    assert sorted(row["id"] for row in listed(tmp_path / "a.csv")) == ["0", "1"]
