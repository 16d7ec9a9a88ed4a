"""The pages of a run, a plan, a comparison and several runs: one family, each with a twin in JSON."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from command_line import refused, rsft
from matplotlib.figure import Figure
from small_run import COMPARISON, evaluation, metrics, plan, write_run

from rsft.report.kinds import PAGES, write_report
from rsft.report.page import duration
from rsft.report.style import PALETTE, drawing


def folder_of(file: str, tmp_path: Path) -> Path:
    """A folder of the kind that a file tells."""
    if file == "metrics.json":
        return write_run(tmp_path / "run")
    content: dict[str, Any] = {"plan.json": plan(), "evaluation.json": evaluation()}.get(file, COMPARISON)
    (tmp_path / file).write_text(json.dumps(content))
    return tmp_path


@pytest.mark.parametrize("file", PAGES)
def test_every_kind_of_folder_has_a_page_and_its_twin(file: str, tmp_path: Path) -> None:
    folder = folder_of(file, tmp_path)
    assert rsft("report", folder).stdout.strip() == str(folder / "report.html")
    page, twin = (folder / "report.html").read_text(), json.loads((folder / "report.json").read_text())
    assert page.count("<h1>") == 1
    assert twin["title"] in page
    assert page.count('class="wide"') == page.count('class="narrow"') > 0
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    # every link of the page leads somewhere
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_the_twin_of_a_run_has_the_numbers_of_the_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    write_report(folder)
    twin = json.loads((folder / "report.json").read_text())
    assert twin["metrics"]["tuned"] == metrics()["tuned"]
    assert twin["plan"]["envelope"] == plan()["envelope"]
    assert "data:image" not in (folder / "report.json").read_text()


def test_the_first_screen_has_the_verdict_and_the_command(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "config.toml").write_text(
        'pool = "my pool"\nevaluation = "e"\naligned = true\nseed = 3\n[recipe]\nsteps = 4\n'
    )
    page = write_report(folder).read_text()
    verdict = page.index('class="verdict good"')
    assert verdict < page.index("Enrol again.") < page.index("<svg") < page.index("<nav")
    assert "rsft fit --pool &#39;my pool&#39; --eval e --aligned --seed 3" in page


def test_a_run_without_faces_says_how_to_show_them(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    assert "data:image/jpeg" in write_report(folder).read_text()
    for picture in (folder / "thumbnails").iterdir():
        picture.unlink()
    page = write_report(folder).read_text()
    assert "data:image/jpeg" not in page
    assert "rsft fit --show-faces" in page


def test_several_runs_are_put_side_by_side(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name / "run") for name in ("a", "b")]
    (runs[1] / "config.toml").write_text(
        'pool = "data/pool"\nmodel = "dlib"\n\n[recipe]\nsteps = 8\nshares = [0.0, 1.0]\n'
    )
    out = tmp_path / "both"
    assert rsft("report", *runs, "--out", out).stdout.strip() == str(out / "report.html")
    twin, page = json.loads((out / "report.json").read_text()), (out / "report.html").read_text()
    assert list(twin["runs"]) == ["a/run", "b/run"]
    assert twin["settings"] == {"recipe.steps": ["4", "8"]}
    assert "rsft evaluate --model A --model B" in page
    assert "exists: pass --overwrite" in refused("report", *runs, "--out", out)
    assert "each once" in refused("report", runs[0], runs[0], "--out", tmp_path / "x")
    assert "--out is for several runs" in refused("report", runs[0], "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_runs_on_other_people_are_not_called_comparable(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name) for name in ("a", "b")]
    changed = metrics()
    for system in ("pretrained", "uniform", "tuned"):
        changed[system] = {key: {**rates, "people": 40} for key, rates in changed[system].items()}
    (runs[1] / "metrics.json").write_text(json.dumps(changed))
    rsft("report", *runs, "--out", tmp_path / "both")
    assert "their values are not comparable" in (tmp_path / "both" / "report.html").read_text()


def test_a_folder_of_no_kind_is_refused(tmp_path: Path) -> None:
    assert "holds none of metrics.json" in refused("report", tmp_path)
    assert "there is no folder" in refused("report", tmp_path / "absent")


def luminance(colour: str) -> float:
    """Relative luminance of a colour, WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", [name for name in PALETTE if name != "grid"])
@pytest.mark.parametrize(("scheme", "page"), [(0, "#ffffff"), (1, "#111827")])
def test_colours_stand_out_from_both_pages(name: str, scheme: int, page: str) -> None:
    bright, dark = sorted((luminance(PALETTE[name][scheme]), luminance(page)), reverse=True)
    assert (bright + 0.05) / (dark + 0.05) >= (4.5 if name in ("ink", "soft", "bad") else 3)


def test_a_drawing_is_the_same_each_time_and_named_for_a_screen_reader() -> None:
    def line(figure: Figure, narrow: bool) -> None:
        figure.subplots().plot([0, 1])

    made = [drawing(line, "A <b>", "one & two", height=2) for _ in "ab"]
    assert made[0] == made[1]
    shown = made[0].__html__()
    assert shown.count('role="img"') == 2
    assert 'aria-label="A &lt;b&gt;. one &amp; two"' in shown
    assert "var(--ink" in shown


def test_durations_are_told_in_their_unit() -> None:
    assert [duration(seconds) for seconds in (59.94, 60, 3599.6)] == ["59.9 s", "1 min 0 s", "1 h 0 min"]
