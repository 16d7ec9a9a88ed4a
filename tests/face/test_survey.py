"""`rsft doctor POOL TARGET EVAL`: what the data are and share, in seconds, and without a name."""

import json
import shutil
from pathlib import Path

import pytest
from command_line import refused, rsft

from rsft.face import survey
from rsft.face.survey import EMBED_MS, SAMPLED


def test_sets_leaks_and_costs_are_told_without_names(faces: Path, tmp_path: Path) -> None:
    sets = [tmp_path / name for name in ("pool", "target", "evaluation")]
    for folder in sets:
        shutil.copytree(faces / folder.name, folder)
    found = json.loads(rsft("doctor", *sets, "--json").stdout)["data_sets"]
    assert found["sets"]["pool"]["pictures"] == 102
    assert found["sets"]["pool"]["unreadable"] == 1
    assert found["leaks"]["pool and evaluation"] == {"identities": 0, "exact": 0, "near": 0}
    least = EMBED_MS * (102 + found["sets"]["target"]["pictures"]) / 1000
    assert least < found["estimate"]["plan_seconds"] + 1 <= found["estimate"]["fit_seconds"] + 1
    assert found["next"].startswith("rsft plan") or "target pictures" in found["next"]
    leaked = next(path for path in (sets[2]).glob("*/*") if path.is_file())
    (sets[0] / leaked.parent.name).mkdir()
    shutil.copy(leaked, sets[0] / leaked.parent.name / "other name.png")
    printed = rsft("doctor", *sets).stdout
    assert "shared by pool and evaluation: 1 identities, 1 equal" in printed
    assert "--drop-overlap" in printed
    assert leaked.parent.name not in printed.replace("evaluation", "")
    assert str(tmp_path) not in printed


def test_a_large_set_is_sampled(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "SAMPLED", 7)
    of = survey.survey(faces / "pool")["sets"]["pool"]
    assert (of["pictures"], of["sampled"]) == (102, 7)
    assert SAMPLED > 7


def test_a_path_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    assert "does not exist" in refused("doctor", tmp_path / "absent")
