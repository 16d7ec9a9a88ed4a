import re
import runpy
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "draw_architecture.py"))


def test_the_picture_is_that_of_the_code(script: dict[str, Any]) -> None:
    drawn = script["draw"]()
    assert drawn == script["PICTURE"].read_text(encoding="utf-8"), "run python docs/draw_architecture.py"
    assert drawn == script["draw"]()


def test_no_arrow_points_upwards(script: dict[str, Any]) -> None:
    _, imports = script["read_rooms"]()
    rooms = script["ROOMS"]
    assert all(rooms[other][3] > rooms[room][3] for room, others in imports.items() for other in others)
    drawn = re.findall(r'd="M\S+ (\S+?)(?:V|C.* )(\S+?)"', script["PICTURE"].read_text(encoding="utf-8"))
    assert len(drawn) == len(script["arrows"](imports)) > 20
    assert all(float(start) < float(end) for start, end in drawn)


def test_an_upward_import_and_a_circle_are_refused(script: dict[str, Any]) -> None:
    _, imports = script["read_rooms"]()
    with pytest.raises(SystemExit, match=r"downwards, but not so rsft\.report -> rsft\.tasks"):
        script["arrows"](imports | {"rsft.report": {"rsft.tasks"}, "rsft.tasks": set()})
    with pytest.raises(SystemExit, match=r"circle: .*rsft\.data"):
        script["arrows"](imports | {"rsft.data": {"rsft.cli"}})
    with pytest.raises(SystemExit, match=r"rsft\.attic has no place"):
        script["room_of"]("rsft.attic")


def test_the_page_names_what_there_is() -> None:
    page, source = " ".join((DOCS / "architecture.md").read_text().split()), DOCS.parent / "src" / "rsft"
    paths = re.findall(r"(?<!\[)`([a-z_/]+(?:\.py|/))`", page)
    assert len(paths) > 40
    assert [path for path in paths if not (source / path).exists()] == []
    # a name with its file stands in that file
    named = re.findall(r"((?:`[A-Za-z_]+`(?:, )?)+) \(`([a-z_/]+\.py)`\)", page)
    assert len(named) > 30
    for names, path in named:
        for name in re.findall(r"[A-Za-z_]+", names):
            assert re.search(rf"^(?:def|class) {name}\b", (source / path).read_text(), re.M), (name, path)
    contracts = (DOCS.parent / "pyproject.toml").read_text()
    assert [name for name in re.findall(r'[Cc]ontract "([^"]+)"', page) if f'name = "{name}' not in contracts] == []
