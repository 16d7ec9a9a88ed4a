"""`rsft compare` on real faces: whole, continued, and refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = "[recipe]\nsteps = 4\nbatch_size = 8\nviews = 2\n"
METHODS = {
    "pretrained", "uniform", "fresh subset", "weighted sampling", "loss weights", "rejection", "uniform, equal time",
}  # fmt: skip


def compare(faces: Path, out: Path, *more: str | Path) -> subprocess.CompletedProcess[str]:
    config = out.with_suffix(".toml")
    config.write_text(RECIPE)
    parts = {"pool": "pool", "target": "target", "eval": "evaluation", "retain": "retention"}
    inputs = [argument for option, part in parts.items() for argument in (f"--{option}", str(faces / part))]
    command = [sys.executable, "-c", "from rsft.cli.main import run; run()", "compare", *inputs, "--aligned"]
    command += ["--config", str(config), "--out", str(out), "--seeds", "2", *map(str, more)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def compared(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("compare") / "out"
    result = compare(faces, out, "--json")
    assert result.returncode == 0, result.stderr
    return out, json.loads(result.stdout)


def test_all_methods_are_compared_at_equal_samples(compared: tuple[Path, dict]) -> None:
    out, result = compared
    assert set(result["values"]) == METHODS
    cost = dict(result["cost"])
    longer = cost.pop("uniform, equal time")
    assert {figures["samples"] for figures in cost.values()} == {4 * 8}
    assert longer["samples"] > 4 * 8
    assert result["metrics"] == ["target TAR at FMR 0.01", "retain TAR at FMR 0.01"]
    for method in cost:
        assert len(result["searched"][method]) == 3
        best = max(result["searched"][method], key=lambda tried: tried["validation"])
        assert cost[method]["learning_rate"] == best["learning_rate"]
    difference = result["differences"]["rejection"]["uniform"]["target TAR at FMR 0.01"]
    assert difference["low"] <= difference["value"] <= difference["high"]
    assert "target TAR at FMR 0.01 of rejection:" in result["verdict"]
    assert (out / "comparison.svg").read_text().startswith("<svg")


def test_a_comparison_is_continued_and_its_table_printed(faces: Path, compared: tuple[Path, dict]) -> None:
    out, result = compared
    removed = sorted((out / "runs").glob("rejection_*_1.json"))
    assert len(removed) == 1
    kept = {path: path.stat().st_mtime_ns for path in (out / "runs").iterdir() if path not in removed}
    removed[0].unlink()
    again = compare(faces, out)
    assert again.returncode == 0, again.stderr
    assert "weighted sampling" in again.stdout
    assert result["verdict"][:60] in again.stdout
    assert removed[0].exists()
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert json.loads((out / "comparison.json").read_text())["values"] == result["values"]


def test_other_settings_are_refused(faces: Path, compared: tuple[Path, dict]) -> None:
    out, _ = compared
    result = compare(faces, out, "--seed", "3")
    assert result.returncode == 2
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("rsft: ")]
    assert "other settings, seed: 0, now 3" in line
