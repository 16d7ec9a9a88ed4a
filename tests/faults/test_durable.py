"""Before anything gets its final name its content is on the disk, and afterwards the name is too."""

import os
from pathlib import Path

import pytest

from rsft.disk.moves import moving
from rsft.disk.whole import replace_file, whole_folder
from rsft.run_folder import writing


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Note what is written to the disk and what is renamed, by the paths that they have then."""
    noted: list[tuple[str, str]] = []
    fsync, rename, replace = os.fsync, Path.rename, os.replace

    def written(descriptor: int) -> None:
        noted.append(("disk", os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path)))
        fsync(descriptor)

    def renamed(old: Path, new: Path) -> Path:
        noted.append(("rename", os.path.relpath(new, tmp_path)))
        return rename(old, new)

    def replaced(old: Path, new: Path) -> None:
        noted.append(("rename", os.path.relpath(new, tmp_path)))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", written)
    monkeypatch.setattr(Path, "rename", renamed)
    monkeypatch.setattr(os, "replace", replaced)
    return noted


def check(events: list[tuple[str, str]], name: str, contents: set[str]) -> None:
    at = events.index(("rename", name))
    assert {("disk", content) for content in contents} <= set(events[:at])
    assert ("disk", ".") in events[at:]


def test_files_and_folders_are_on_the_disk_before_their_names(tmp_path: Path, events: list[tuple[str, str]]) -> None:
    replace_file(tmp_path / "note.json", b"{}")
    check(events, "note.json", {".note.json.new"})
    with whole_folder(tmp_path / "part") as folder:
        (folder / "x").write_text("x")
    check(events, "part", {".part.new/x", ".part.new"})
    with writing(tmp_path / "run") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "x").write_text("x")
    check(events, "run", {"run.partial/deep/x", "run.partial/deep", "run.partial"})
    events.clear()
    with writing(tmp_path / "run", overwrite=True) as folder:
        (folder / "y").write_text("y")
    check(events, "run", {"run.partial/y"})
    with moving(tmp_path / "set.rec", "token") as folder:
        for name in ("set.rec", "set.idx"):
            (folder / name).write_text("x")
    for name in ("set.idx", "set.rec"):
        check(events, name, {"set.rec.partial/set.rec", "set.rec.partial/set.idx"})
