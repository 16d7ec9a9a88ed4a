"""What a command tells on the error stream: progress as lines in a pipe, and as much as was asked for."""

import logging
import re

import pytest
from command_line import refused, rsft
from small_run import metrics

from rsft.cli.progress import Lines, progress
from rsft.cli.show import print_metrics


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lines_of(steps: list[tuple[float, str, int, int]]) -> list[str]:
    """Return what is written for (time in seconds, stage, done, total)."""
    clock, written = Clock(), list[str]()
    listener = Lines(written.append, clock)
    for clock.now, *told in steps:
        listener(*told)  # type: ignore[arg-type]
    return written


def test_a_stage_has_a_line_every_half_minute_and_one_at_its_end() -> None:
    steps = [(float(second), "embed", 10 * second, 1000) for second in range(101)]
    assert lines_of(steps) == [
        "embed: 300 of 1,000, 10/s, 1 min 10 s left",
        "embed: 600 of 1,000, 10/s, 40 s left",
        "embed: 900 of 1,000, 10/s, 10 s left",
        "embed: 1,000 of 1,000, 1 min 40 s",
    ]


def test_a_short_stage_has_no_line_and_one_that_comes_again_is_timed_anew() -> None:
    short = [(0.0, "plan", 0, 1), (1.9, "plan", 1, 1)]
    assert lines_of(short) == []
    again = [(10.0, "plan", 0, 1), (12.0, "plan", 1, 1)]
    assert lines_of(short + again) == ["plan: 1 of 1, 2 s"]


def test_a_stage_without_a_finished_part_tells_no_pace() -> None:
    steps = [(0.0, "train", 0, 2), (31.0, "train", 0, 2), (70.0, "train", 1, 2), (7200.0, "train", 2, 2)]
    assert lines_of(steps) == [
        "train: 0 of 2",
        "train: 1 of 2, 70 s each, 1 min 10 s left",
        "train: 2 of 2, 2 h 0 min",
    ]


@pytest.mark.parametrize("quiet", [True, False])
def test_a_quiet_command_shows_no_progress(quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("rsft")
    before = logger.level
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        with progress(quiet=False) as listener:
            assert isinstance(listener, Lines) != quiet
    finally:
        logger.setLevel(before)


def test_every_command_can_be_quiet_or_verbose() -> None:
    words = ["models", "check", "dlib"]
    assert "licence" in rsft(*words).stderr
    assert rsft(*words, "--quiet").stderr == ""
    told = rsft("models", "check", "absent", "--verbose", code=2).stderr
    assert "in check_name" in told
    assert told.splitlines()[-1].startswith("rsft: no model 'absent'")
    assert refused("models", "check", "absent") == told.splitlines()[-1]


def test_the_doctor_says_what_is_there_and_no_path() -> None:
    printed = rsft("doctor").stdout
    assert re.search(r"torch \d", printed)
    assert re.search(r"dlib +installed", printed)
    assert "/" not in printed


def test_the_nearest_name_is_offered_for_a_misspelt_model() -> None:
    assert "no model 'Sfce' (did you mean 'sface'?): give" in refused("models", "check", "Sfce")


def test_the_table_of_a_run_is_whole_in_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With three systems and three FMRs, which a large evaluation set supports."""
    monkeypatch.setenv("COLUMNS", "80")
    run = metrics()
    rates = {"tar_at_fmr": dict.fromkeys(("0.01", "0.001", "0.0001"), run["tuned"]["target"]["tar_at_fmr"]["0.01"])}
    for system in ("pretrained", "uniform", "tuned"):
        run[system] = {name: run[system][name] | rates for name in ("target", "retain")}
    print_metrics(run | {"promise": None}, "run")
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert printed.count("0.500 [0.250, 0.750]") == 18
    assert all(len(line) <= 80 for line in printed.splitlines())
