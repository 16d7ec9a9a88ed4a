"""Processes on machines that do not see the same files are told so, each in one line."""

from pathlib import Path
from typing import Any

import accelerate
import pytest
from command_line import rsft

from rsft.errors import InputError, RsftError
from rsft.face.runs import machines
from rsft.face.runs.machines import check_alike, check_shared
from rsft.tuning import distributed

POOL = {"the pool": (72, "a0")}


def other_process(monkeypatch: pytest.MonkeyPatch, told: object) -> None:
    """Let there be a second process that tells something whenever all tell something."""
    monkeypatch.setattr(machines, "rank_and_world_size", lambda: (0, 2))
    monkeypatch.setattr(machines, "gather", lambda own: [*own, told])
    monkeypatch.setattr(machines, "PATIENCE_SECONDS", 0.0)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"the pool": (66, "a0")}, r"0 has the pool with 72 items \(a0\), process 1 has the pool with 66 items \(a0\)"),
        ({"the pool": (72, "b1")}, r"process 1 has the pool with 72 items \(b1\)"),
        ({}, "process 1 lacks the pool"),
        (POOL | {"the network 'sface'": (1, "c2")}, "process 0 lacks the network 'sface', process 1 has the network"),
        (POOL | {"the version of torch": (1, "1.0")}, "process 1 has the version of torch 1.0"),
    ],
)
def test_inputs_that_differ_are_named_with_the_process(
    told: dict[str, tuple[int, str]], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = {f"the version of {name}": (1, machines.metadata.version(name)) for name in machines.ALIKE}
    other_process(monkeypatch, versions | told)
    with pytest.raises(InputError, match=words):
        check_alike(POOL)


def test_the_same_inputs_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    check_alike(POOL)  # one process
    versions = {f"the version of {name}": (1, machines.metadata.version(name)) for name in machines.ALIKE}
    other_process(monkeypatch, POOL | versions)
    check_alike(POOL)


def test_a_folder_that_is_not_shared_is_named_and_nothing_stays_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_process(monkeypatch, True)
    check_shared(tmp_path)
    other_process(monkeypatch, False)
    with pytest.raises(InputError, match=r"process 1 does not see '.*', which process 0 writes: choose an --out"):
        check_shared(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("doctor", ""),
        ("report", "run"),
        ("compare", "--pool p --target t --eval e --out o"),
        ("data check", "pictures"),
    ],
)
def test_a_command_that_does_not_divide_its_work_refuses_several_processes(
    name: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    (told,) = rsft(*name.split(), *line.split(), code=2).stderr.splitlines()
    assert told.endswith(f"`rsft {name}` runs in one process: start it without torchrun or accelerate launch.")


def test_an_address_that_leads_nowhere_names_the_variable_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("Gloo connectFullMesh failed with [...] Connection refused, remote=[127.0.1.1]:26023")

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(accelerate, "PartialState", fail)
    with pytest.raises(RsftError, match=r"127\.0\.1\.1.*set GLOO_SOCKET_IFNAME on each machine"):
        distributed.join()
