"""Commands that are killed before one of their writes continue to the output of a run that nobody killed.

`benchmarks/soak_kill.py` does the same at many random moments, for `rsft compare` too.
"""

import importlib
import os
from pathlib import Path
from typing import Any

import pytest
from forked import context

from rsft.data.convert import convert
from rsft.data.images import find_images
from rsft.errors import InputError

Soak: Any = importlib.import_module("soak_kill").Soak


@pytest.fixture(scope="module")
def soak(tmp_path_factory: pytest.TempPathFactory) -> Any:
    context()  # with the modules that all tests here need
    return Soak(tmp_path_factory.mktemp("soak"))


# Command -> the writes before which it is killed, as shares of all. The last ones of a fit come after its model.
@pytest.mark.parametrize(
    ("name", "moments"),
    [
        *(("embed", (0.3, 0.9)), ("cache", (0.2, 0.6)), ("convert", (0.5, 0.97)), ("fit", (0.96,))),
        *(("forget", (0.7,)), ("gallery migrate", (0.7,))),
    ],
)
def test_a_killed_command_continues_to_the_same_output(soak: Any, name: str, moments: tuple[float, ...]) -> None:
    _, _, writes = soak.whole(name)
    counted = soak.kill(name, [(round(moment * writes), None) for moment in moments])
    assert counted["kills"] == len(moments), soak.errors()
    told = {kind: counted[kind] for kind in ("resumed", "identical", "lost", "half taken for whole", "left over")}
    assert told == {"resumed": 1, "identical": 1, "lost": 0, "half taken for whole": 0, "left over": 0}


class Killed(BaseException):
    """Stands for a SIGKILL: what comes after it is not run."""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for person in "ab":
        (tmp_path / "pool" / person).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "pool" / person / f"{number}.png").write_bytes(b"\x89PNG" + bytes([number]))
    return tmp_path / "pool"


def stop_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop before rename number `count + 1` of those into place."""
    rename, done = Path.rename, list[Path]()

    def counted(self: Path, to: Path) -> Path:
        if self.parent.name.endswith(".partial"):
            if len(done) == count:
                raise Killed
            done.append(self)
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", counted)


@pytest.mark.parametrize("name", ["new/out.rec", "new/list.csv", "new/shard-{0..2}.tar", "new/out.tar", "new/out"])
def test_a_conversion_stopped_between_its_renames_is_completed(
    name: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [(item, find_images(pictures).read_bytes(row)) for row, item in enumerate(find_images(pictures).ids)]
    for count in range(4):
        destination = tmp_path / str(count) / name
        with monkeypatch.context() as patch:
            stop_after(count, patch)
            try:
                convert(pictures, destination)
            except Killed:
                left = destination.with_name(destination.name + ".partial")
                assert left.is_dir()  # nothing that is not in place yet is removed
                assert not destination.exists()  # what names the set comes last
        if destination.with_name(destination.name + ".partial").exists():
            assert convert(pictures, destination)["pictures"] == 6
        found = find_images(destination)
        assert [(item, found.read_bytes(row)) for row, item in enumerate(found.ids)] == expected
        assert not [path for path in destination.parent.iterdir() if "partial" in path.name or "lock" in path.name]


def test_a_conversion_is_completed_before_another_source_is_refused(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(1, patch)
        with pytest.raises(Killed):
            convert(pictures, tmp_path / "out.rec")
    (pictures / "c").mkdir()
    (pictures / "c" / "9.png").write_bytes(b"\x89PNG9")
    with pytest.raises(InputError, match=r"out.rec' exists"):
        convert(pictures, tmp_path / "out.rec")
    assert len(find_images(tmp_path / "out.rec")) == 6


def test_a_folder_in_the_way_of_a_conversion_is_not_removed(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "out.rec.partial").mkdir()
    (tmp_path / "out.rec.partial" / "out.rec").write_bytes(b"the only copy")
    with pytest.raises(InputError, match="may hold the only copy of your records, so look into it, move it away"):
        convert(pictures, tmp_path / "out.rec")
    assert (tmp_path / "out.rec.partial" / "out.rec").read_bytes() == b"the only copy"


def test_a_conversion_stopped_while_it_writes_starts_again(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, *arguments: object) -> None:
        path.write_bytes(b"half")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("rsft.disk.moves.discard", lambda folder: None)  # as if the process had been killed
        patch.setattr("rsft.data.convert.write_records", write)
        with pytest.raises(Killed):
            convert(pictures, tmp_path / "out.rec")
    assert (tmp_path / "out.rec.partial").is_dir()
    assert convert(pictures, tmp_path / "out.rec")["pictures"] == 6
    assert sorted(os.listdir(tmp_path)) == ["out.idx", "out.lst", "out.rec", "pool"]
