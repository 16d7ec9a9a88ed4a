"""A run folder contains no names, yet `forget` finds and removes every person."""

import json
import stat
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from rsft.cli.main import app
from rsft.data.images import find_images
from rsft.errors import InputError
from rsft.face.adaptation.recipe import make_recipe
from rsft.face.fit import fit
from rsft.face.forget import forget
from rsft.face.runs.pseudonyms import SALT_FILE, Pseudonyms, new_pseudonyms


@pytest.fixture(scope="module")
def runs(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Make "first", a real run with hashes; "second", of other people and started from it; and "named", with names."""
    root = tmp_path_factory.mktemp("runs")
    recipe = make_recipe({"steps": 1, "batch_size": 8, "views": 2, "folds": 2})
    inputs = {"pool": faces / "pool", "target": faces / "target", "evaluation": faces / "evaluation"}
    fit(**inputs, out=root / "first", recipe=recipe, aligned=True)  # type: ignore[arg-type]
    rows = pyarrow.parquet.read_table(root / "first" / "accepted.parquet")
    items = [item for item in find_images(faces / "pool").ids if not item.endswith("broken.jpg")]
    for name, people in {"named": [item.split("/")[0] for item in items], "second": ["q"] * len(items)}.items():
        (root / name).mkdir()
        columns = rows.to_pydict() | {"path": items, "identity": people}
        table = pyarrow.table(columns, metadata={"ids": "named"})
        pyarrow.parquet.write_table(table, root / name / "accepted.parquet")
    (root / "second" / "config.toml").write_text(f"model = {json.dumps(str(root / 'first'))}\n")
    return {name: root / name for name in ("first", "second", "named")}


def names(faces: Path) -> set[str]:
    """Return the names of the people and of their pictures."""
    paths = [path for part in ("pool", "target", "evaluation") for path in (faces / part).rglob("*.*")]
    return {path.parent.name for path in paths} | {path.stem for path in paths} - {"black", "broken"}


def test_no_name_is_in_a_run_folder(faces: Path, runs: dict[str, Path]) -> None:
    wanted = {f"/{name}" for name in names(faces)} | {f"{name}/" for name in names(faces)} | {"broken.jpg"}
    read = []
    for path in runs["first"].rglob("*"):
        if path.suffix == ".parquet":
            columns = pyarrow.parquet.read_table(path).to_pydict()
            read.append(path)
            hashed = {item for name in ("path", "identity", "picture", "content") for item in columns.get(name, ())}
            assert hashed
            assert not hashed & names(faces)
            assert not any("/" in item for item in hashed)
        elif path.is_file() and path.suffix != ".safetensors":
            text = path.read_text().replace(str(faces), "").replace(str(runs["first"]), "")
            read.append(path)
            assert not [name for name in wanted if name in text], path
    assert {"report.html", "model_card.md", "metrics.json", "accepted.parquet", SALT_FILE} <= {p.name for p in read}


def test_each_run_has_its_own_salt_that_only_its_owner_can_read(runs: dict[str, Path]) -> None:
    salt = (runs["first"] / SALT_FILE).read_text()
    assert stat.S_IMODE((runs["first"] / SALT_FILE).stat().st_mode) == 0o600
    one, other = new_pseudonyms(), new_pseudonyms()
    assert one("ann") == one("ann") != other("ann")
    assert one("ann") != one("bob")
    assert Pseudonyms(None)("ann") == "ann"
    assert salt not in "".join(path.read_text() for path in runs["first"].glob("*.html"))


def test_a_person_is_found_in_every_run_that_used_them(faces: Path, runs: dict[str, Path]) -> None:
    person = min(path.name for path in (faces / "pool").iterdir())
    columns = pyarrow.parquet.read_table(runs["named"] / "accepted.parquet").to_pydict()
    mine = [row for row, name in enumerate(columns["identity"]) if name == person]
    first, second, named = forget(person, list(runs.values()))["runs"]
    assert named["pictures"] == first["pictures"] == len(mine) == 11
    assert named["trained"] == sum(columns["times_trained"][row] for row in mine)
    assert named["accepted"] == sum(columns["accepted"][row] for row in mine)
    assert (second["pictures"], second["through"]) == (0, str(runs["first"]) if first["trained"] else None)
    with pytest.raises(InputError, match=r"no such person.*1 of the runs have hashes"):
        forget("nobody", [runs["first"]])  # not a clean bill for a misspelt name
    everybody = [forget(path.name, [runs["first"]])["runs"][0] for path in (faces / "pool").iterdir()]
    assert sum(use["trained"] for use in everybody) == 8


def test_a_run_without_its_salt_is_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "accepted.parquet").write_bytes((runs["first"] / "accepted.parquet").read_bytes())
    with pytest.raises(InputError, match=r"its salt.txt cannot be read"):
        forget("s01", [tmp_path])
    with pytest.raises(InputError, match="is not the output of a run"):
        forget("s01", [tmp_path / "absent"])


def test_manifests_are_rewritten_without_the_person(tmp_path: Path) -> None:
    listed, pairs, table, other = (tmp_path / name for name in ("l.csv", "pairs.csv", "t.parquet", "other.csv"))
    listed.write_bytes(b'path,identity,licence\r\nx/1.png,ann,CC0\r\nann/2.png,bob,"a, b"\r\nx/3.png,ann,CC0\r\n')
    pairs.write_text("a,b,same\nann/1.png,ann/2.png,1\nbob/1.png,./ann/1.png,0\nbob/1.png,anna/1.png,0\n")
    pyarrow.parquet.write_table(pyarrow.table({"path": ["ann/1.png", "bob/1.png"], "age": [3, 4]}), table)
    other.write_text("path\nbob/1.png\n")
    before = other.stat().st_mtime_ns
    listed.chmod(0o640)
    found = forget("ann", [], [listed, pairs, table, other])["manifests"]
    assert [(entry["removed"], entry["kept"]) for entry in found] == [(2, 1), (2, 1), (1, 1), (0, 1)]
    assert listed.read_bytes() == b'path,identity,licence\r\nann/2.png,bob,"a, b"\r\n'
    assert stat.S_IMODE(listed.stat().st_mode) == 0o640
    assert pairs.read_text() == "a,b,same\nbob/1.png,anna/1.png,0\n"
    assert pyarrow.parquet.read_table(table).to_pydict() == {"path": ["bob/1.png"], "age": [4]}
    assert other.stat().st_mtime_ns == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l.csv", "other.csv", "pairs.csv", "t.parquet"]


def test_what_remains_of_a_table_stays_to_the_byte(tmp_path: Path) -> None:
    listed, pairs, lines = (tmp_path / name for name in ("l.txt", "pairs.csv", "l.jsonl"))
    listed.write_bytes('Path\t Identity\tnote\r\n\r\nx\\1.png\tann\t"a\r\nb"\r\nx/2.png\tbob\té \r\n'.encode("utf-16"))
    pairs.write_bytes(b"\xef\xbb\xbfa;b;same\nann\\1.png;ann/2.png;1\n\nbob/1.png; 'x/1.png' ;0\n")
    lines.write_text('{"path": "x.png", "identity": "bob"}\n{"path": "y.png", "identity": "ann"}\n')
    found = forget("ann", [], [listed, pairs, lines])["manifests"]
    assert [(entry["removed"], entry["kept"]) for entry in found] == [(1, 1)] * 3
    assert listed.read_bytes() == "Path\t Identity\tnote\r\n\r\nx/2.png\tbob\té \r\n".encode("utf-16")
    assert pairs.read_bytes() == b"\xef\xbb\xbfa;b;same\nbob/1.png; 'x/1.png' ;0\n"
    assert lines.read_text() == '{"path": "x.png", "identity": "bob"}\n'
    listed.write_text("path,identity\nNA/1.png,NA\nx.png,1.0\ny.png,bob\n")
    assert [forget(name, [], [listed])["manifests"][0]["removed"] for name in ("NA", "1")] == [1, 1]
    listed.write_text("path,label\nx.png,ann\ny.png,bob\n")
    with pytest.raises(InputError, match="has a column 'label' and none named 'identity'"):
        forget("ann", [], [listed])


def test_no_manifest_is_written_if_one_cannot_be(tmp_path: Path) -> None:
    good, alone = tmp_path / "good.csv", tmp_path / "alone.csv"
    good.write_text("path\nann/1.png\nbob/1.png\n")
    alone.write_text("path\nann/1.png\n")
    with pytest.raises(InputError, match="names 'ann' in all of its 1 rows: remove the file"):
        forget("ann", [], [good, alone])
    alone.write_text("file\nann/1.png\n")
    with pytest.raises(InputError, match="none of the columns path, a, b"):
        forget("ann", [], [good, alone])
    assert good.read_text() == "path\nann/1.png\nbob/1.png\n"
    with pytest.raises(InputError, match="without '/'"):
        forget("a/b", [])


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "l.csv"
    path.write_text("path\nann/1.png\nbob/1.png\n")

    def refuse(*arguments: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(OSError, match="the disk is gone"):
        forget("ann", [], [path])
    assert path.read_text() == "path\nann/1.png\nbob/1.png\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["l.csv"]


def test_the_forget_command_prints_runs_and_manifests(faces: Path, runs: dict[str, Path], tmp_path: Path) -> None:
    person = min(path.name for path in (faces / "pool").iterdir())
    (tmp_path / "l.csv").write_text(f"path\n{person}/1.png\nbob/1.png\n")
    line = ["forget", "--identity", person, str(runs["first"]), str(runs["named"])]
    result = CliRunner().invoke(app, [*line, "--manifest", str(tmp_path / "l.csv")])
    assert result.exit_code == 0
    assert "11 pictures of the person, trained on" in result.stdout
    assert "1 rows removed, 1 kept" in result.stdout
    found = json.loads(CliRunner().invoke(app, [*line, "--json"]).stdout)
    assert [run["pictures"] for run in found["runs"]] == [11, 11]


def test_pictures_in_an_output_of_embed_are_counted(tmp_path: Path) -> None:
    from rsft.data.features import Features

    values = np.ones((3, 2), np.float32)
    Features(["ann/1.png", "ann/2.png", "bob/1.png"], values, values, None, [], "x").save(tmp_path)
    assert forget("ann", [tmp_path])["runs"][0]["pictures"] == 2
