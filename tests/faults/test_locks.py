"""Of two processes that write to one place, the second is refused with the first's number, host and time."""

import errno
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from forked import context, hold, wait_for

from rsft.baselines import Method
from rsft.compare import compare
from rsft.data.convert import convert
from rsft.disk import lock
from rsft.disk.lock import locked
from rsft.disk.whole import replace_file
from rsft.errors import InputError
from rsft.run_folder import MARK_FILE, adding_to, check_output, writing


@pytest.fixture
def other(tmp_path: Path) -> Iterator[BaseProcess]:
    """Another process that is writing `tmp_path / "at" / "run"`."""
    (tmp_path / "at").mkdir()
    process = context().Process(target=hold, args=(tmp_path / "at" / "run", tmp_path / "ready"))
    process.start()
    wait_for(tmp_path / "ready")
    yield process
    process.kill()
    process.join()


def test_a_second_process_is_refused_until_the_first_has_ended_however_it_ends(
    other: BaseProcess, tmp_path: Path
) -> None:
    out = tmp_path / "at" / "run"
    words = rf"'{out}' is being written by process {other.pid} on {socket.gethostname()} since \d+-\d+-\d+ \d+:\d+:\d+:"
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(InputError, match=words):
            check_output(out, **options)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=words), writing(out, **options):  # type: ignore[arg-type]
            pass
    assert (tmp_path / "at" / "run.partial" / "first.txt").exists()
    other.kill()
    other.join()
    with writing(out, resume=True) as folder:
        assert (folder / "first.txt").read_text() == "first"
    assert os.listdir(tmp_path / "at") == ["run"]


def test_two_writers_in_one_process_are_not_mixed(tmp_path: Path) -> None:
    with writing(tmp_path / "run") as folder:
        (folder / "a").write_text("a")
        with pytest.raises(InputError, match=f"by process {os.getpid()}"), writing(tmp_path / "run", overwrite=True):
            pass
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [MARK_FILE, "a"]


def test_comparisons_and_conversions_are_locked_too(tmp_path: Path) -> None:
    (tmp_path / "pool" / "ann").mkdir(parents=True)
    (tmp_path / "pool" / "ann" / "1.png").write_bytes(b"\x89PNG")
    with locked(tmp_path / "faces.rec"), pytest.raises(InputError, match=r"faces.rec' is being written by process"):
        convert(tmp_path / "pool", tmp_path / "faces.rec")
    out, never = adding_to(tmp_path / "comparison"), Method(lambda seed: iter([]))
    with locked(out / "runs"), pytest.raises(InputError, match=r"runs' is being written by process"):
        compare(
            lambda *a: None,
            lambda model: {"m": 0.0},
            {"uniform": never},
            start=0,
            steps=1,
            batch_size=1,
            learning_rates=[1],
            out=out,
        )


def test_where_locks_are_not_supported_work_goes_on_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING), writing(tmp_path / "run") as folder:
        (folder / "a").write_text("a")
    assert "is not locked, because its file system has no locks" in caplog.text
    assert sorted(os.listdir(tmp_path)) == ["run"]


def test_a_lock_file_that_its_holder_removes_locks_nobody_out(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "x"):
            assert json.loads((tmp_path / ".x.lock").read_text())["process"] == os.getpid()
        assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".a.json.new").write_text('{"half": ')
    replace_file(tmp_path / "a.json", b"{}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    for name in (".run.partial.gone", "..run.replaced.gone"):  # killed while it removed them
        (tmp_path / name / "old").mkdir(parents=True)
    (tmp_path / "run.partial").mkdir()  # killed before its mark was whole
    (tmp_path / "run.partial" / f".{MARK_FILE}.new").write_text("{")
    with writing(tmp_path / "run") as folder:
        (folder / "a").write_text("a")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [MARK_FILE, "a"]
    assert sorted(os.listdir(tmp_path)) == ["a.json", "run"]


def test_a_replacement_killed_between_its_renames_is_undone_or_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old output is back, or the new one stands; never is there none."""
    rename = Path.rename
    for moved, expected in ((1, "old"), (2, "new")):
        out, done = tmp_path / str(moved) / "run", list[Path]()

        def stop(self: Path, to: Path, out: Path = out, moved: int = moved, done: list[Path] = done) -> Path:
            if out in (self, to):
                if len(done) == moved:
                    raise SystemExit
                done.append(self)
            return rename(self, to)

        with writing(out) as folder:
            (folder / "content").write_text("old")
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", stop)
            patch.setattr("rsft.run_folder.discard", lambda folder: None)
            with suppress(SystemExit), writing(out, overwrite=True) as folder:
                (folder / "content").write_text("new")
        with suppress(ZeroDivisionError), writing(out, overwrite=True):
            assert 1 / 0
        assert (out / "content").read_text() == expected
        assert os.listdir(out.parent) == ["run"]


def test_a_run_of_a_version_without_a_mark_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.json").write_text("{}")
    with (
        pytest.raises(InputError, match=r"its metrics.json may be of a version that wrote none.*or remove the folder"),
        writing(tmp_path / "run", overwrite=True),
    ):
        pass
