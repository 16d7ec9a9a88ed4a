"""The report of a run folder that comes from anybody: nothing in it becomes markup, and another shape is refused."""

import json
import os
from collections.abc import Callable
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from command_line import refused, rsft
from small_run import errors, metrics, plan, write_run

from rsft.errors import InputError
from rsft.report.figures.methods import write_figure
from rsft.report.kinds import write_report

HOSTILE = (
    """<script>alert(1)</script><img src=x onerror="alert(2)">'" onload='alert(3)' {{ 7 * 7 }} $\\frac ]]> --> \0 é"""
)


class Markup(HTMLParser):
    """The elements of a page, their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements, self.attributes, self.text = set[str](), list[tuple[str, str, str]](), ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def check_harmless(page: str) -> Markup:
    """Check that a page has no script but its own, no handler of events, and no address but within itself."""
    own = (resources.files("rsft.report") / "templates" / "page.js").read_text()
    found = Markup(page.replace(f"<script>\n{own.rstrip()}</script>", ""))
    assert not found.elements & {"script", "iframe", "object", "embed", "link", "base", "form"}
    for tag, name, value in found.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("data:image/jpeg;base64,", "#")), value
    return found


def with_hostile(value: Any) -> Any:
    """Return a JSON value with each text in it made hostile, but for what must name an entry."""
    if isinstance(value, dict):
        return {key: inner if key == "headline_fmr" else with_hostile(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_hostile(inner) for inner in value]
    return HOSTILE + value if isinstance(value, str) else value


def write(folder: Path, name: str, value: Any) -> None:
    (folder / name).write_text(value if isinstance(value, str) else json.dumps(value))


def test_hostile_texts_of_every_file_are_shown_as_text(tmp_path: Path) -> None:
    folder = write_run(tmp_path / HOSTILE.replace("/", "_").replace("\0", ""))
    fmrs = {"0.01": HOSTILE, "0.001": "0.001"}
    text = json.dumps(with_hostile(metrics()))
    for fmr, name in fmrs.items():  # FMRs are keys, and stand in the title of an axis
        text = text.replace(f'"{fmr}"', json.dumps(name))
    write(folder, "metrics.json", text.replace('"tuned - pretrained"', json.dumps(HOSTILE)))
    write(folder, "plan.json", with_hostile(plan()))
    write(folder, "errors.json", with_hostile(errors()))
    write(folder, "config.toml", f"{json.dumps(HOSTILE)} = {json.dumps(HOSTILE)}\n")
    (folder / "thumbnails" / "accepted-00.jpg").rename(folder / "thumbnails" / "<script>alert(1)'\"-00.jpg")
    page = check_harmless(write_report(folder).read_text())
    assert page.text.count("<script>alert(1)</script>") > 20
    assert "{{ 7 * 7 }}" in page.text
    assert "$\\frac" in page.text


def test_hostile_names_of_a_comparison_are_text_in_its_figure(tmp_path: Path) -> None:
    name, value = "<script>$\\frac$]]>\0é", {"value": 0.5, "low": None, "high": None}
    found = {"metrics": [name], "values": {method: {name: value} for method in ("uniform", name)}}
    (tmp_path / "comparison.json").write_text(json.dumps(found))
    figure = write_figure(tmp_path, "comparison.json").read_text()
    assert check_harmless(figure).text.count("<script>$\\frac$]]>") == 2
    assert ElementTree.fromstring(figure).tag.endswith("svg")


NO_ERRORS = {"target": {"fmr": "0.01", "genuine": [], "impostor": []}}
Change = Callable[[dict[str, Any]], Any]


def nested(*path: Any, value: Any) -> Change:
    """Return a change of a JSON object: one entry gets another value, or is removed if that is `...`."""

    def change(whole: dict[str, Any]) -> Any:
        holder: Any = whole
        for key in path[:-1]:
            holder = holder[key]
        if value is ...:
            del holder[path[-1]]
        else:
            holder[path[-1]] = value
        return whole

    return change


OTHER_SHAPES: dict[str, tuple[str, Change | str]] = {
    "a list": ("metrics.json", "[]"),
    "null": ("metrics.json", "null"),
    "no JSON": ("metrics.json", "{"),
    "no UTF-8": ("metrics.json", '"\udcff"'),
    "deep": ("metrics.json", '{"title": ' + "[" * 100_000),
    "a system is null": ("metrics.json", nested("tuned", value=None)),
    "an interval is text": ("metrics.json", nested("validation", value={"path": "x", "share": "y"})),
    "half an interval": ("metrics.json", nested("tuned", "target", "tar_at_fmr", "0.01", "low", value=None)),
    "a foreign entry of an interval": ("metrics.json", nested("tuned", "target", "tar_at_fmr", "0.01", "of", value=1)),
    "no headline": ("metrics.json", nested("headline_fmr", value=None)),
    "an unknown headline": ("metrics.json", nested("headline_fmr", value="0.5")),
    "no target": ("metrics.json", nested("tuned", "target", value=...)),
    "another set": ("metrics.json", nested("tuned", "other", value={})),
    "a lacking FMR": ("metrics.json", nested("uniform", "retain", "tar_at_fmr", "0.001", value=...)),
    "a lacking difference": (
        "metrics.json",
        nested("differences", "tuned - pretrained", "target", "0.001", value=...),
    ),
    "a count is text": ("metrics.json", nested("images_trained", value="96")),
    "a plan is null": ("plan.json", "null"),
    "a plan's pilot is null": ("plan.json", nested("pilot", value=None)),
    "a pilot of nothing": ("plan.json", nested("pilot", "looked_at", value=0)),
    "no value of a pilot": ("plan.json", nested("pilot", "effective_size", "value", value=None)),
    "no diagnostics": ("plan.json", nested("diagnostics", value={})),
    "an infinite envelope": ("plan.json", nested("envelope", "log_m", value=1e308)),
    "a curve of unequal lengths": ("metrics.json", nested("curves", "target", "tuned", "fmr", value=[0.1])),
    "no errors of the target": ("errors.json", nested("target", value=...)),
    "a pair of one picture": ("errors.json", nested("target", "genuine", 0, "pictures", value=["a"])),
    "a group without a rate": ("metrics.json", nested("groups", "tuned", "groups", "old", "fmr", value={})),
    "edges that do not ascend": ("plan.json", nested("ratios", "edges", value=[1.0, 0.0, 2.0])),
    "too few bins": ("plan.json", nested("ratios", "pool", value=[1])),
    "a curve of no price": ("plan.json", nested("price_curve", "log_m", value=[])),
    "a number of history": ("history.jsonl", "3\n"),
    "a loss is null": ("history.jsonl", '{"step": null, "loss": null}\n'),
    "an empty line of history": ("history.jsonl", '{"loss": 1.0}\n\n{"loss": 1.0}\n'),
    "no TOML": ("config.toml", "pool = \n"),
    "deep TOML": ("config.toml", "x = " + "[" * 100_000),
}


@pytest.mark.parametrize("name", OTHER_SHAPES)
def test_a_file_of_another_shape_is_refused_by_name(name: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    file, change = OTHER_SHAPES[name]
    if isinstance(change, str):
        (folder / file).write_bytes(change.encode(errors="surrogateescape"))
    else:
        write(folder, file, change(json.loads((folder / file).read_text())))
    with pytest.raises(InputError, match=f"cannot read '.*{file}' as part of a complete run folder") as error:
        write_report(folder)
    assert "\n" not in str(error.value)
    assert not (folder / "report.html").exists()


def test_a_run_without_anything_to_draw_is_reported(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    write(folder, "history.jsonl", "")
    curve: dict[str, list[float]] = {"fmr": [], "fnmr": [], "low": [], "high": []}
    write(folder, "metrics.json", metrics() | {"curves": {"target": {"tuned": curve}}})
    write(folder, "errors.json", NO_ERRORS)
    write(folder, "plan.json", plan() | {"m": float("nan"), "arrival": None})
    assert rsft("report", folder).stdout.strip() == str(folder / "report.html")
    assert check_harmless((folder / "report.html").read_text()).elements >= {"svg", "table"}


def test_links_of_a_run_folder_are_neither_shown_nor_written_through(tmp_path: Path) -> None:
    folder, secret = write_run(tmp_path / "run"), tmp_path / "secret.jpg"
    secret.write_bytes(b"\xff\xd8 secret")
    (folder / "report.html").symlink_to(secret)
    write_report(folder)
    assert secret.read_bytes() == b"\xff\xd8 secret"
    assert not (folder / "report.html").is_symlink()
    (folder / "thumbnails" / "accepted-01.jpg").symlink_to(secret)
    assert "accepted-01.jpg' as part of a complete run folder" in refused("report", folder)
    (folder / "thumbnails" / "accepted-01.jpg").unlink()
    os.mkfifo(folder / "thumbnails" / "accepted-01.jpg")
    assert "not a regular file" in refused("report", folder)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "config.toml").unlink()
    os.mkfifo(folder / "config.toml")
    assert "config.toml" in refused("report", folder)
