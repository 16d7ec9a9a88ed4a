"""`rsft plan` works on feature matrices, from the command line and from Python."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from typer.testing import CliRunner

import rsft
from rsft.cli.main import app
from rsft.errors import InputError
from rsft.tasks.matrix import plan_matrix


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a pool and a target whose exact density ratio is exp(x_0 - 1/2)."""
    folder = tmp_path_factory.mktemp("rows")
    generator = np.random.default_rng(0)
    pool, target = generator.normal(size=(2000, 3)), generator.normal((1, 0, 0), size=(300, 3))
    np.save(folder / "pool.npy", pool)
    np.save(folder / "target.npy", target)
    np.save(folder / "labels.npy", np.arange(2000) % 40)
    light = np.where(generator.random(2000) < 0.1, "night", "day")
    pa.parquet.write_table(pa.table({"e": list(pool), "light": light}), folder / "pool.parquet")
    (folder / "shares.toml").write_text("[light]\nday = 0.5\nnight = 0.5\n")
    return folder


def invoke(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["plan", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_the_command_gives_the_same_plan_as_the_library(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "plan"
    options = ("--envelope", "max_tv=0.02", "--retain-fraction", "0.2", "--seed", "3")
    sides = ("--pool", files / "pool.npy", "--target", files / "target.npy")
    told = json.loads(invoke(*sides, *options, "--epochs", "2", "--out", out, "--json"))
    pool, target = (np.load(files / name) for name in ("pool.npy", "target.npy"))
    expected = rsft.plan(pool, target, envelope="max_tv=0.02", retain_fraction=0.2, seed=3)
    assert told == expected.to_dict()
    for epoch in range(2):
        written = np.load(out / f"accepted-{epoch:03d}.npy")
        assert sorted(written) == expected.accepted(epoch).tolist()
        sampler = expected.sampler()
        sampler.set_epoch(epoch)
        assert written.tolist() == list(sampler)  # the order in which a trainer in Python would get the rows
    table = pyarrow.parquet.read_table(out / "accepted.parquet").to_pydict()
    np.testing.assert_array_equal(table["acceptance"], expected.acceptance)
    assert np.flatnonzero(table["accepted"]).tolist() == expected.accepted(0).tolist()
    saved = json.loads((out / "plan.json").read_text())
    assert saved["accepted_in_epochs"] == [len(expected.accepted(epoch)) for epoch in range(2)]
    assert saved["retain_fraction"] == 0.2
    with pytest.raises(InputError, match="--overwrite"):
        invoke(*sides, "--out", out)


def test_the_accepted_rows_have_the_mean_of_the_target(files: Path) -> None:
    made, _ = plan_matrix(pool=files / "pool.npy", target=files / "target.npy")
    pool = np.load(files / "pool.npy")
    taken = np.concatenate([pool[made.sampler().accepted(epoch)] for epoch in range(40)])
    # the error of the ratio is about one standard error of the mean of the target
    assert taken[:, 0].mean() == pytest.approx(1, abs=5 / np.sqrt(300))
    assert abs(pool[:, 0].mean()) < 0.1


def test_the_accepted_rows_have_the_stated_shares(files: Path) -> None:
    told = json.loads(invoke("--pool", files / "pool.parquet", "--shares", files / "shares.toml", "--json"))
    light = pyarrow.parquet.read_table(files / "pool.parquet")["light"].to_pylist()
    night = np.mean(np.array(light) == "night")
    assert told["envelope"]["acceptance_rate"] == pytest.approx(2 * night)
    assert told["method"] == "given"
    made, _ = plan_matrix(pool=files / "pool.parquet", shares=files / "shares.toml")
    assert float(made.acceptance[torch.tensor([word == "night" for word in light])].min()) == 1


def test_labels_allow_accepting_whole_identities(files: Path) -> None:
    labelled = ("--pool", files / "pool.npy", "--target", files / "target.npy", "--labels", files / "labels.npy")
    told = json.loads(invoke(*labelled, "--accept-by", "identity", "--json"))
    assert told["diagnostics"]["identities"] == 40
    assert "identities accepted" in invoke(*labelled)


def test_target_rows_of_one_group_count_as_one(files: Path, tmp_path: Path) -> None:
    frames = np.load(files / "target.npy")[:20].repeat(10, 0) + 1e-3 * np.random.default_rng(0).normal(size=(200, 3))
    np.save(tmp_path / "frames.npy", frames)
    (tmp_path / "clips.csv").write_text("frame,clip\n" + "".join(f"{row},c{row // 10}\n" for row in range(200)))
    sides = ("--pool", files / "pool.npy", "--target", tmp_path / "frames.npy")
    groups = ("--target-groups", f"{tmp_path / 'clips.csv'}:clip")
    assert "Note: 20 different items among 200" in invoke(*sides, *groups).replace("\n", " ")
    told = json.loads(invoke(*sides, *groups, "--json"))
    assert told["verdict"]["outcome"] == "too few target items to tell"
    assert told["diagnostics"]["target_groups"] == 20
    # near-copies are found without it too, but not what merely goes together
    assert json.loads(invoke(*sides, "--json"))["diagnostics"]["target_groups"] == 20
    rows = ("--pool", files / "pool.npy", "--target", files / "target.npy")
    assert json.loads(invoke(*rows, "--json"))["verdict"]["outcome"] != "too few target items to tell"
    with pytest.raises(InputError, match="a label for each of the target's 300 rows, got 200"):
        plan_matrix(
            pool=files / "pool.npy", target=files / "target.npy", target_groups=f"{tmp_path / 'clips.csv'}:clip"
        )
    with pytest.raises(InputError, match="`target_groups` and `compare` with a target only"):
        plan_matrix(pool=files / "pool.parquet", shares=files / "shares.toml", target_groups=tmp_path / "clips.csv")


def test_compare_ranks_every_estimator(files: Path) -> None:
    sides = ("--pool", files / "pool.npy", "--target", files / "target.npy")
    told = json.loads(invoke(*sides, "--compare", "--json"))
    assert {ranked["method"] for ranked in told["ranking"]} == set(rsft.ratio.METHODS)
    assert told["ranking"][0]["verdict"] == told["verdict"]


def test_unusable_input_gives_an_exact_message(files: Path, tmp_path: Path) -> None:
    pool, target = np.load(files / "pool.npy"), np.load(files / "target.npy")
    np.save(tmp_path / "wide.npy", np.zeros((60, 5)))
    target[4, 1] = np.nan
    np.save(tmp_path / "nan.npy", target)
    np.save(tmp_path / "few.npy", np.arange(3))
    pa.parquet.write_table(pa.table({"a": pool[:, 0], "b": pool[:, 1]}), tmp_path / "ab.parquet")
    pa.parquet.write_table(pa.table({"a": pool[:, 0], "c": pool[:, 1]}), tmp_path / "ac.parquet")
    sides = ("--pool", files / "pool.npy", "--target", files / "target.npy")
    refused = {
        "Were all embedded with one model": ("--pool", files / "pool.npy", "--target", tmp_path / "wide.npy"),
        "the first at row 4": ("--pool", files / "pool.npy", "--target", tmp_path / "nan.npy"),
        "a label for each of the pool's 2000 rows, got 3": (*sides, "--labels", tmp_path / "few.npy"),
        "columns of the pool: a, b, got a, c": ("--pool", tmp_path / "ab.parquet", "--target", tmp_path / "ac.parquet"),
        "no column 'light'": ("--pool", tmp_path / "ab.parquet", "--shares", files / "shares.toml"),
        "has no attribute columns": ("--pool", files / "pool.npy", "--shares", files / "shares.toml"),
        "needs `target` or `shares`": ("--pool", files / "pool.npy"),
        "--aligned is for pictures": (*sides, "--aligned"),
        "--epochs is for rows of features": ("--pool", files, "--target", files, "--epochs", "2"),
        "does not exist": ("--pool", tmp_path / "absent.npy", "--target", files / "target.npy"),
    }
    for message, arguments in refused.items():
        with pytest.raises(ValueError, match=message):
            invoke(*arguments)
