"""The page on contributing names files that exist, and tables that they have."""

import re

import pytest
from documents import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
ROWS = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and "`src/rsft/" in line]
PATH = re.compile(r"`((?:src|tests|docs|benchmarks)/[\w./]*)`")


def test_every_path_exists() -> None:
    paths = PATH.findall(PAGE) + re.findall(r"`(?:\.venv/bin/pytest|python) ([\w./]+)`", PAGE)
    assert len(paths) > 25
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(("name", "path"), re.findall(r"`(\w+)` in `((?:src|tests)/[\w./]+\.py)`", PAGE))
def test_every_table_is_in_its_file(name: str, path: str) -> None:
    assert re.search(rf"^(?:def )?{name}\b", (ROOT / path).read_text(), re.M), f"{path} has no {name}"


def test_every_kind_of_part_has_its_suite() -> None:
    kinds = [row[0].strip("| ") for row in ROWS]
    assert kinds == [
        "reader of a storage form",
        "estimator of the ratio",
        "network family",
        "network with a name",
        "task",
    ]
    for row in ROWS:
        assert "`tests/" in row[2] + row[3], row[0]


def test_every_drawing_is_named() -> None:
    assert set(re.findall(r"`python (docs/draw_\w+\.py)`", PAGE)) == {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("draw_*.py")
    }
