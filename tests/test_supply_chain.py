"""What is installed is pinned by version and hash, and the page on security says which weights are used."""

import importlib.metadata
import json
import re
import tomllib
from pathlib import Path

import pytest

from rsft.face.networks.load import KNOWN
from rsft.face.pictures.embedding import YUNET_FILE, YUNET_PACKAGE, YUNET_SHA256

ROOT = Path(__file__).parents[1]
LOCK, CONSTRAINTS, PAGE = (
    (ROOT / name).read_text() for name in ("requirements.lock", "constraints.txt", "SECURITY.md")
)
BILL = ROOT / "sbom.json"
PINNED = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;]+)", re.MULTILINE)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def versions(text: str) -> dict[str, str]:
    return {normal(name): version for name, version in PINNED.findall(text)}


def test_the_lock_has_the_versions_of_the_constraints_with_hashes() -> None:
    locked, constrained = versions(LOCK), versions(CONSTRAINTS)
    assert {name for name in locked.keys() & constrained if locked[name] != constrained[name]} == set()
    entries = re.split(r"\n(?=\S)", LOCK.strip())
    assert len(entries) == len(locked) > 100
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry) for entry in entries)


def test_the_lock_has_every_package_that_is_asked_for_but_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    asked = [
        *project["project"]["dependencies"], *extras["demo"], *extras["dev"], *project["build-system"]["requires"],
    ]  # fmt: skip
    names = {normal(re.split(r"[\[><=~! ;]", one)[0]) for one in asked}
    assert names - versions(LOCK).keys() == {"torch"}
    assert "torch" in versions(CONSTRAINTS)


def test_the_page_lists_the_hash_of_every_weight_file() -> None:
    rows = set(re.findall(r"^\| `([^`]+)` \| [\w-]+ \| `([0-9a-f]{64})` \|$", PAGE, re.MULTILINE))
    used = [(known.file, known.sha256) for known in KNOWN.values()] + [(YUNET_FILE, YUNET_SHA256)]
    assert rows == {(Path(file).name, sha256) for file, sha256 in used}
    assert YUNET_PACKAGE in PAGE


def test_the_makefile_installs_by_hash() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert "--require-hashes --no-deps --requirement requirements.lock" in makefile
    assert all(f"\n{target}:" in makefile for target in re.findall(r"`make (\w+)`", PAGE))


@pytest.mark.skipif(not BILL.exists(), reason="`make sbom` writes the bill of materials; CI does")
def test_the_bill_of_materials_names_every_runtime_package_with_version_and_licence() -> None:
    """The packages of `dependencies` and of the extra `demo`, and all that they need in turn."""
    bill = json.loads(BILL.read_text())
    listed = {part["bom-ref"]: part for part in bill["components"]}
    needs = {part["ref"]: part.get("dependsOn", []) for part in bill["dependencies"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["demo"]]
    names = {normal(re.split(r"[\[><=~! ;]", one)[0]) for one in asked}
    found, new = set[str](), {ref for ref, part in listed.items() if normal(part["name"]) in names}
    assert {normal(listed[ref]["name"]) for ref in new} == names
    while new:
        found |= new
        new = {need for ref in new for need in needs.get(ref, [])} - found
    assert len(found) > len(names)
    for part in (listed[ref] for ref in found):
        assert part["version"] == importlib.metadata.version(part["name"])
        told = importlib.metadata.metadata(part["name"])
        assert part.get("licenses") or told["License"] or told["License-Expression"], part["name"]
