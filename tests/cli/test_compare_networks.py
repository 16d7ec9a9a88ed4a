"""`rsft compare` with two networks on photographs of real faces: side by side, continued, and refused."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Result, refused
from command_line import rsft as run_rsft
from dark_photographs import draw_photographs

from rsft.types import Interval

RECIPE = "[recipe]\nsteps = 3\nbatch_size = 8\nviews = 2\n"
SYSTEMS = ["dlib", "sface", "dlib, tuned", "sface, tuned"]
HEADLINE = "target TAR at FMR 0.01"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = draw_photographs(tmp_path_factory.mktemp("photographs"), pictures=5)
    (root / "recipe.toml").write_text(RECIPE)
    return root


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Fewer bootstrap draws and learning rates than a user gets: they are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rsft.face.compare.LEARNING_RATE_FACTORS", (1.0,))
        patch.setattr("rsft.face.adaptation.trial.DRAWS", 50)
        yield


def arguments(photographs: Path, out: Path, *more: str | Path) -> list[str | Path]:
    line: list[str | Path] = ["compare", "--config", photographs / "recipe.toml", "--seeds", "1", "--out", out]
    for option, part in (("--pool", "pool"), ("--target", "target"), ("--eval", "evaluation")):
        line += [option, photographs / part]
    return [*line, *more]


def compare(photographs: Path, out: Path, *more: str | Path) -> Result:
    return run_rsft(*arguments(photographs, out, "--model", "dlib", "--model", "sface", *more))


@pytest.fixture(scope="module")
def compared(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("compare") / "out"
    return out, json.loads(compare(photographs, out, "--json").stdout)


def test_each_network_stands_untouched_and_tuned_beside_the_others(compared: tuple[Path, dict[str, Any]]) -> None:
    """With the figures of each network's own comparison."""
    out, result = compared
    assert result == json.loads((out / "models.json").read_text())
    assert list(result["values"]) == SYSTEMS
    assert result["models"] == ["dlib", "sface"]
    assert result["unpaired"] == {}
    for name in ("dlib", "sface"):
        own = json.loads((out / name / "comparison.json").read_text())
        assert result["metrics"] == own["metrics"]
        for system, method in ((name, "pretrained"), (f"{name}, tuned", "rejection")):
            assert result["values"][system] == own["values"][method]
        assert result["differences"][f"{name}, tuned"][name] == own["differences"]["rejection"]["pretrained"]
    for one in SYSTEMS:
        for other in set(SYSTEMS) - {one}:
            difference = result["differences"][one][other][HEADLINE]
            values = [result["values"][system][HEADLINE]["value"] for system in (one, other)]
            assert difference["value"] == pytest.approx(values[0] - values[1])
            assert difference["low"] <= difference["value"] <= difference["high"]
    assert (out / "models.svg").read_text().startswith("<svg")


def test_the_verdict_counts_the_gain_over_the_best_untouched_network(compared: tuple[Path, dict[str, Any]]) -> None:
    _, result = compared
    values = {system: result["values"][system][HEADLINE]["value"] for system in SYSTEMS}
    assert result["best_untouched"] == max(SYSTEMS[:2], key=lambda system: values[system])
    assert result["best_tuned"] == max(SYSTEMS[2:], key=lambda system: values[system])
    gain = Interval(**result["differences"][result["best_tuned"]][result["best_untouched"]][HEADLINE])
    assert f"to {result['best_untouched']} untouched: {gain.signed()}" in result["verdict"].replace("than", "to")


def test_an_interrupted_comparison_continues_and_its_table_is_printed(
    photographs: Path, compared: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(compared[0], out)
    (removed,) = (out / "sface" / "runs").glob("rejection_*_0.json")
    removed.unlink()
    (out / "models.json").unlink()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*/runs/*.json")}
    printed = compare(photographs, out).stdout
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert json.loads((out / "models.json").read_text())["values"] == compared[1]["values"]
    for values in compared[1]["values"].values():
        assert all(str(Interval(**value)) in printed for value in values.values())
    assert compared[1]["verdict"][:60] in printed
    assert all(len(line) <= 80 for line in printed.splitlines() if not line.startswith("Report"))


def test_other_networks_and_others_folders_are_refused(
    photographs: Path, compared: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, _ = compared
    both = ("--model", "dlib", "--model", "sface")
    assert "two or more with different names" in refused(*arguments(photographs, tmp_path / "a", *both[:2], *both[:2]))
    assert "crop" in refused(*arguments(photographs, tmp_path / "b", *both, "--aligned"))
    assert "no model 'absent'" in refused(*arguments(photographs, tmp_path / "c", *both, "--model", "absent"))
    assert not list(tmp_path.iterdir())
    assert "comparison of one network" in refused(*arguments(photographs, out / "dlib", *both))
    assert "other settings, seed" in refused(*arguments(photographs, out, *both, "--seed", "3"))
