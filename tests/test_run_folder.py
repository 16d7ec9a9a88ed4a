import errno
from contextlib import suppress
from pathlib import Path

import pytest

from rsft.errors import InputError, RsftError
from rsft.run_folder import make_folder, writing


def test_the_folder_appears_only_when_whole(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with writing(out) as folder:
        (folder / "file").write_text("whole")
        assert not out.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (out / "file").read_text() == "whole"


def interrupt(out: Path, **options: bool) -> list[str]:
    """Begin a run and break off; returns what it found."""
    found: list[str] = []
    with suppress(KeyboardInterrupt), writing(out, **options) as folder:
        found += sorted(path.name for path in folder.iterdir())
        (folder / "cache").write_text("embedded")
        raise KeyboardInterrupt
    return found


def test_an_interrupted_run_is_resumed_or_begun_anew(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert interrupt(out) == []
    assert interrupt(out, resume=True) == ["cache"]
    assert interrupt(out) == []
    assert not out.exists()


def test_an_existing_folder_stands_until_the_new_one_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "old").write_text("old")
    with pytest.raises(InputError, match="--overwrite"), writing(out):
        pass
    interrupt(out, overwrite=True)
    assert (out / "old").read_text() == "old"
    with writing(out, overwrite=True) as folder:
        (folder / "new").write_text("new")
    assert [path.name for path in out.iterdir()] == ["new"]


def test_a_full_disk_is_one_line_with_advice(tmp_path: Path) -> None:
    with pytest.raises(RsftError, match=r"No space left.*--resume"), writing(tmp_path / "run"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not (tmp_path / "run").exists()


def test_a_failure_before_anything_is_written_leaves_nothing(tmp_path: Path) -> None:
    with suppress(KeyboardInterrupt), writing(tmp_path / "run"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_folder_to_add_to_is_not_made_of_a_file(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"there is a file of this name"):
            make_folder(path)
    assert (tmp_path / "file").read_text() == "kept"
