"""Output folders are complete or absent, and contents that rsft did not write are kept."""

import errno
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rsft.disk.whole import replace_file
from rsft.errors import InputError, RsftError
from rsft.run_folder import MARK_FILE, adding_to, writing


def test_the_folder_appears_only_when_complete(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with writing(out) as folder:
        (folder / "file").write_text("whole")
        assert not out.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (out / "file").read_text() == "whole"


def interrupt(out: Path, **options: Any) -> list[str]:
    """Start a run and interrupt it; return the names of the files that it found."""
    found: list[str] = []
    with suppress(KeyboardInterrupt), writing(out, **options) as folder:
        found += sorted(path.name for path in folder.iterdir() if path.name != MARK_FILE)
        (folder / "cache").write_text("embedded")
        raise KeyboardInterrupt
    return found


def test_an_interrupted_run_is_resumed_or_discarded_only_when_asked(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert interrupt(out) == []
    assert interrupt(out, resume=True) == ["cache"]
    with pytest.raises(InputError, match="holds an interrupted run: pass --resume"), writing(out, resume=False):
        pass
    with pytest.raises(InputError, match="holds an interrupted run: pass --overwrite"), writing(out):
        pass
    assert interrupt(out, resume=True) == ["cache"]
    assert interrupt(out, overwrite=True) == []
    assert not out.exists()


def test_an_existing_folder_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with writing(out) as folder:
        (folder / "old").write_text("old")
    with pytest.raises(InputError, match="--overwrite"), writing(out):
        pass
    interrupt(out, overwrite=True)
    assert (out / "old").read_text() == "old"
    with writing(out, overwrite=True) as folder:
        (folder / "new").write_text("new")
    assert sorted(path.name for path in out.iterdir()) == [MARK_FILE, "new"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_full_disk_raises_an_error_with_advice(tmp_path: Path) -> None:
    with pytest.raises(RsftError, match=r"No space left.*--resume"), writing(tmp_path / "run"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not (tmp_path / "run").exists()


def test_a_failure_before_the_first_file_leaves_no_folder(tmp_path: Path) -> None:
    with suppress(KeyboardInterrupt), writing(tmp_path / "run"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_folder_to_add_to_does_not_replace_a_file(tmp_path: Path) -> None:
    for _ in range(2):
        adding_to(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"cannot create the folder"):
            adding_to(path)
    assert (tmp_path / "file").read_text() == "kept"


def test_a_replaced_file_keeps_its_mode_and_a_new_one_has_the_default(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    (tmp_path / "old").write_text("old")
    (tmp_path / "old").chmod(0o640)
    for name in ("old", "new"):
        replace_file(tmp_path / name, b"new")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"usual": modes["usual"], "new": modes["usual"], "old": 0o640}
