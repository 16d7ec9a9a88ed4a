"""No command deletes or replaces what rsft did not write itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import refused, rsft
from PIL import Image
from torch import nn

from rsft.face.networks.bundle import face_model
from rsft.run_folder import MARK_FILE

Command = Callable[[Path, Path], list[str | Path]]

# command -> its arguments for the pictures it reads and the folder it writes
COMMANDS: dict[str, Command] = {
    "embed": lambda pool, out: ["embed", "--pool", pool, "--out", out, "--aligned"],
    "plan": lambda pool, out: ["plan", "--pool", pool, "--target", pool, "--out", out, "--aligned"],
    "plan of shares": lambda pool, out: ["plan", "--pool", pool, "--shares", pool / "s.toml", "--out", out],
    "plan of rows": lambda pool, out: ["plan", "--pool", pool / "x.npy", "--target", pool / "x.npy", "--out", out],
    "fit": lambda pool, out: ["fit", "--pool", pool, "--target", pool, "--eval", pool, "--out", out, "--aligned"],
    "migrate": lambda pool, out: [
        "gallery", "migrate", pool / "gallery", "--pool", pool, "--model", "dlib", "--out", out,
    ],
    "demo": lambda pool, out: ["demo", "--quick", "--out", out],
}  # fmt: skip
READING = [name for name in COMMANDS if name != "demo"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A user's folder: pictures of two people, and other files that commands read."""
    folder = tmp_path / "photographs"
    for person in ("ann", "bob"):
        (folder / person).mkdir(parents=True)
        Image.fromarray(np.full((9, 9, 3), 70, np.uint8)).save(folder / person / "1.png")
    np.save(folder / "x.npy", np.zeros((9, 2)))
    (folder / "s.toml").write_text("[half]\n0 = 1.0\n")
    (folder / "gallery").mkdir()
    return folder


@pytest.mark.parametrize("name", READING)
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_is_holds_or_lies_in_an_input_is_refused(name: str, overwrite: bool, photographs: Path) -> None:
    link = photographs.parent / "link"
    link.symlink_to(photographs)
    before = contents(photographs)
    for out in (photographs, link, photographs.parent, photographs / "new", link / "new", photographs / "ann" / ".."):
        if name == "plan of rows" and out.name == "new":
            continue  # it reads files, not the folder they lie in
        line = refused(*COMMANDS[name](photographs, out), *(["--overwrite"] if overwrite else []))
        assert "the input" in line
    # read through the link, written to the folder itself
    line = refused(*COMMANDS[name](link, photographs), *(["--overwrite"] if overwrite else []))
    assert "the input" in line
    assert contents(photographs) == before
    assert sorted(path.name for path in photographs.parent.iterdir()) == ["link", "photographs"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_of_others_is_not_replaced(name: str, photographs: Path, tmp_path: Path) -> None:
    """An unrelated folder, a link to one, a file, and a leftover of somebody else at the place of `OUT.partial`."""
    precious = tmp_path / "precious"
    (precious / "below").mkdir(parents=True)
    (precious / "below" / "letter.txt").write_text("dear")
    (tmp_path / "link").symlink_to(precious)
    (tmp_path / "file").write_text("kept")
    (tmp_path / "run.partial").symlink_to(precious)
    (tmp_path / "other.partial").mkdir()
    (tmp_path / "other.partial" / "mine.txt").write_text("mine")
    before = contents(tmp_path)
    for out in ("precious", "link", "file", "run", "other"):
        line = refused(*COMMANDS[name](photographs, tmp_path / out), "--overwrite")
        assert "not written by rsft" in line or "not a folder written by rsft" in line
    assert contents(tmp_path) == before
    assert (tmp_path / "link").is_symlink()


def test_a_picture_added_to_an_output_is_not_lost(faces: Path, tmp_path: Path) -> None:
    arguments: list[str | Path] = ["embed", "--pool", faces / "target", "--out", tmp_path / "out", "--aligned"]
    rsft(*arguments)
    (tmp_path / "out" / ".DS_Store").touch()  # a desktop's, which nobody misses
    rsft(*arguments, "--overwrite")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    (tmp_path / "out" / "linked").symlink_to(faces)
    before = contents(tmp_path)
    assert "2 files that rsft did not write there, such as 'linked'" in refused(*arguments, "--overwrite")
    assert contents(tmp_path) == before
    (tmp_path / "out" / "notes.txt").unlink()
    (tmp_path / "out" / "linked").unlink()
    rsft(*arguments, "--overwrite")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_linked_output_is_replaced_where_it_lies(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "out")
    arguments: list[str | Path] = ["embed", "--pool", faces / "target", "--out", tmp_path / "out", "--aligned"]
    rsft(*arguments)
    rsft(*arguments, "--overwrite")
    assert (tmp_path / "out").is_symlink()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["out"]
    assert (tmp_path / "disk" / "out" / MARK_FILE).is_file()


def test_an_interrupted_attempt_is_kept_until_it_is_discarded(faces: Path, tmp_path: Path) -> None:
    arguments: list[str | Path] = ["embed", "--pool", faces / "target", "--out", tmp_path / "out", "--aligned"]
    rsft(*arguments)
    (tmp_path / "out").rename(tmp_path / "out.partial")  # as if it had been interrupted before the last step
    before = contents(tmp_path)
    assert "pass --resume to continue it, or pass --overwrite" in refused(*arguments)
    assert contents(tmp_path) == before
    rsft(*arguments, "--resume")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def compare_arguments(pool: Path, out: Path) -> list[str | Path]:
    return ["compare", "--pool", pool, "--target", pool, "--eval", pool, "--out", out, "--aligned", "--allow-overlap"]


def test_a_comparison_adds_to_no_folder_of_others(photographs: Path, tmp_path: Path) -> None:
    for person in "cdefghij":
        (photographs / person).mkdir()
        Image.fromarray(np.full((9, 9, 3), 70, np.uint8)).save(photographs / person / "1.png")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "letter.txt").write_text("dear")
    before = contents(tmp_path)
    for out in (photographs, photographs / "new", tmp_path):
        assert "the input" in refused(*compare_arguments(photographs, out))
    assert "will not add to it" in refused(*compare_arguments(photographs, tmp_path / "precious"))
    assert contents(tmp_path) == before


def test_convert_writes_nothing_into_its_source(photographs: Path) -> None:
    before = contents(photographs)
    for name in ("new", "new.tar", "new.rec", "new/list.csv", "shard-{0..1}.tar"):
        assert "lies in the input" in refused("convert", photographs, photographs / name)
    assert "is the input" in refused("convert", photographs, photographs)
    assert contents(photographs) == before


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tiny = face_model(nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3 * 196, 8)), name="tiny")
    tiny.save(tmp_path / "model")
    return tmp_path / "model"


def test_export_replaces_only_what_it_made(faces: Path, tmp_path: Path) -> None:
    from rsft.face.export import export

    tiny: Any = face_model(nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3 * 196, 8)), name="tiny")
    export(tiny, onnx=tmp_path / "a.onnx")
    graph = (tmp_path / "a.onnx").read_bytes()
    assert (tmp_path / "a.onnx").stat().st_mode & 0o077  # not readable by its owner alone
    for name in ("b.onnx", "c.json"):
        (tmp_path / name).write_text('{"mine": 1}')
    before = contents(tmp_path)
    for name, reason in (("a", "exists: pass --overwrite"), ("b", "exists"), ("c", "exists")):
        with pytest.raises(ValueError, match=reason):
            export(tiny, onnx=tmp_path / f"{name}.onnx")
    for name in "bc":
        with pytest.raises(ValueError, match="was not made by `rsft export`"):
            export(tiny, onnx=tmp_path / f"{name}.onnx", overwrite=True)
    assert "is the input" in refused("export", tmp_path / "a.onnx", "--onnx", tmp_path / "a.onnx", "--overwrite")
    assert contents(tmp_path) == before
    export(tiny, onnx=tmp_path / "a.onnx", overwrite=True)
    assert (tmp_path / "a.onnx").read_bytes() == graph


def test_a_bundle_is_not_written_into_its_run(model: Path) -> None:
    before = contents(model)
    assert "lies in the input" in refused("export", model, "--bundle", model / "bundle")
    assert contents(model) == before


def test_a_det_figure_replaces_no_file(photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "drawing.svg").write_text("mine")
    before = contents(tmp_path)
    picture = photographs / "ann" / "1.png"
    for name, reason in (
        (tmp_path / "drawing.svg", "exists"),
        (picture, "lies in the input"),
        (photographs / "new.svg", "lies in the input"),
        (tmp_path / "absent" / "new.svg", "create it first"),
    ):
        assert reason in refused("evaluate", "--eval", photographs, "--aligned", "--det", name)
    assert contents(tmp_path) == before
