"""The figures of the README, and of the page of results that it leads to, are those of the benchmarks."""

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pages import Ran

from rsft.types import Interval

SHIFTS, LARGE = ("night", "mask", "low-resolution", "mixed"), " with more people"
ROOT = Path(__file__).parents[1]
README, PAGE = ((ROOT / name).read_text() for name in ("README.md", "docs/results.md"))
FIRST_SCREEN = " ".join(README.partition("\n## ")[0].split())


def read(name: str) -> Any:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())


def signed(interval: dict[str, float]) -> str:
    return Interval(interval["value"], interval["low"], interval["high"]).signed()


def points(values: list[float]) -> str:
    return f"{min(values):.1f} to {max(values):.1f}"


def test_the_figure_is_that_of_the_script_and_the_readme_tells_all_of_it() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "draw_gain.py"))
    drawn = script["figure"]()
    for path, svg in ((script["WIDE"], drawn.wide), (script["NARROW"], drawn.narrow)):
        assert path.read_text() == script["standalone"](svg), f"{path.name}: run python docs/draw_gain.py"
        assert f'"docs/{path.name}"' in README
    assert f'alt="{drawn.title}. {drawn.told}"' in README
    assert all((ROOT / path).exists() for path in re.findall(r'src(?:set)?="([^"]+)"', README))


def test_the_lines_of_results_match_the_benchmarks() -> None:
    metric = "target TAR at FMR 0.01"
    dealt = {name: setting[metric]["differences"] for name, setting in read("real_dealings")["settings"].items()}
    age, cctv = dealt["age 0.05"], dealt["cctv 0.06"]
    shifts = read("real_shifts")["settings"]
    masks, trained = (
        {method: row[metric]["less untouched sface"] for method, row in shifts[name]["figures"]["sface"].items() if
         "less untouched sface" in row[metric]}
        for name in ("masks 5%", "age 5%")
    )  # fmt: skip
    ours, alike = "sface, whitened", "sface, whitened by all alike"
    assert f"SFace gains {signed(age[ours]['sface'])} by whitening" in FIRST_SCREEN
    assert f"{age[alike]['sface']['value']:+.3f} with all pairs alike" in FIRST_SCREEN
    retained = read("real_dealings")["settings"]["age 0.05"]["retain TAR at FMR 0.01"]["differences"][ours]["sface"]
    assert retained["low"] < 0 < retained["high"]  # "on ordinary pictures no loss was measured"
    assert f"gain {signed(cctv[ours]['sface'])}, all pairs alike {cctv[alike]['sface']['value']:+.3f}" in FIRST_SCREEN
    tie = cctv[ours][alike]
    assert tie["low"] < 0 < tie["high"]
    assert f"no gain, {signed(masks['rejection, whitening alone'])}" in FIRST_SCREEN
    uniform, accepted = (signed(trained[f"{draws}, not whitened"]) for draws in ("uniform", "rejection"))
    assert f"on the age gap {uniform} by uniform draws, {accepted} by accepted ones" in FIRST_SCREEN
    drawn = read("evidence")["shifts"]
    of_each = [drawn[name + LARGE]["comparison"]["differences"]["rejection"] for name in SHIFTS]

    def gained(other: str, key: str = "target", sign: int = 1) -> str:
        return points([sign * 100 * one[other][f"{key} TAR at FMR 0.001"]["value"] for one in of_each])

    assert f"{gained('pretrained')} points over pretrained, {gained('uniform')} over uniform draws" in FIRST_SCREEN
    assert f"for {gained('pretrained', 'retain', -1)} lost on clean faces" in FIRST_SCREEN
    weighted = [one["weighted sampling"]["target TAR at FMR 0.001"] for one in of_each]
    assert all(one["low"] <= 0 <= one["high"] for one in weighted)  # "a tie"


def test_the_examples_with_features_end_in_a_plan_worth_trying(run_page: Callable[[str], Ran]) -> None:
    assert "worth trying" in str(run_page("README.md").names["plan"].verdict)


def test_the_gain_by_pool_size_matches_the_benchmark() -> None:
    rows = read("budget")["rows"]
    small, large = min(row["views"] for row in rows), max(row["views"] for row in rows)
    ahead = {size: [row["uniform"] for row in rows if row["views"] == size] for size in (small, large)}
    clear = {size: sum(gain["low"] > 0 for gain in gains) for size, gains in ahead.items()}
    least, most = (100 * bound(gain["value"] for gain in ahead[large]) for bound in (min, max))
    words = " ".join(PAGE.split())
    assert {len(gains) for gains in ahead.values()} == {6}
    assert f"with {large:,} views" in words
    assert f"by {least:.1f} to {most:.1f} points in six of six settings; with {small:,} views in one of six" in words
    assert clear == {small: 1, large: 6}


def test_the_table_matches_the_evidence() -> None:
    shifts = read("evidence")["shifts"]
    words = " ".join(PAGE.split())

    def gains(pool: str, other: str, key: str) -> list[Interval]:
        of_each = (shifts[name + pool]["comparison"]["differences"]["rejection"] for name in SHIFTS)
        return [Interval(**differences[other][f"{key} TAR at FMR 0.001"]) for differences in of_each]

    def points_of(pool: str, other: str, key: str, sign: int = 1) -> str:
        values = [100 * sign * (gain.value or 0) for gain in gains(pool, other, key)]
        return f"{min(values):.1f} to {max(values):.1f}"

    for other in ("pretrained", "uniform", "loss weights"):
        for key in ("target", "retain"):
            for gain in gains(LARGE, other, key):
                assert gain.signed() in PAGE, (other, key)
    assert (
        f"gains {points_of(LARGE, 'pretrained', 'target')} points over the pretrained network and "
        f"{points_of(LARGE, 'uniform', 'target')} over equal-size uniform tuning, and loses "
        f"{points_of(LARGE, 'pretrained', 'retain', -1)} on clean faces"
    ) in words
    assert f"gains {points_of('', 'pretrained', 'target')} points" in words
    assert f"and loses {points_of('', 'pretrained', 'retain', -1)}." in words
    assert f"{shifts['night' + LARGE]['people']:,} people and {shifts['night' + LARGE]['views']:,} views" in words


def test_the_gate_results_match_the_benchmark() -> None:
    results = read("gate")["results"]
    shipped = {row["shift"]: row["shipped"] for row in results}
    gains = [100 * shipped[name]["target at FMR 0.001"]["value"] for name in SHIFTS]
    loss = -min(100 * shipped[name]["retain at FMR 0.001"]["value"] for name in SHIFTS)
    words = " ".join(PAGE.split())
    assert f"shipped {min(gains):.1f} to {max(gains):.1f} points on the four shifts in the smaller pool" in words
    assert f"for at most {loss:.1f} lost" in words
    assert {gate["share"] for row in results if "turn" in row["shift"] for gate in row["gates"]} == {0}


def test_the_table_of_real_shifts_matches_the_benchmark() -> None:
    settings = read("real_shifts")
    of_each = {"young against": "age 5%", "CCTV against": "cctv 5%", "masks really": "masks 5%"}
    for words, name in of_each.items():
        found = settings["settings"][name]["figures"]
        values = {
            model: {method: row["target TAR at FMR 0.01"]["value"]["value"] for method, row in methods.items()}
            for model, methods in found.items()
        }
        peers = [
            value
            for method, value in values["sface"].items()
            if method.startswith("uniform, ") and method.endswith(", not whitened")
        ]
        ours = found["sface"]["rejection, whitening alone"]["target TAR at FMR 0.01"]
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| {words}"))
        expected = [values["dlib"]["pretrained"], values["sface"]["pretrained"]]
        expected += [values["sface"]["uniform, not whitened"], max(peers), ours["value"]["value"]]
        cells = row.replace("*", "").split(" | ")
        assert cells[1:6] == [f"{value:.3f}" for value in expected]
        assert cells[6].removesuffix(" |") == Interval(**ours["less untouched sface"]).signed()


def test_the_figures_of_the_fusion_match_the_benchmark() -> None:
    settings = read("real_dealings")
    metrics = settings["settings"]["age 0.05"]
    values, less = (metrics["target TAR at FMR 0.01"][key] for key in ("values", "differences"))
    gain = less["sface+dlib, whitened"]["sface"]
    kept = metrics["retain TAR at FMR 0.01"]["differences"]["sface+dlib, whitened"]["sface"]["value"]
    few = settings["settings"]["age 0.01"]["target TAR at FMR 0.01"]["values"]["sface+dlib, whitened"]["value"]
    words = " ".join(PAGE.split())
    untouched, whitened = (values[name]["value"] for name in ("sface+dlib", "sface+dlib, whitened"))
    assert f"has {untouched:.3f} on LAG untouched and {whitened:.3f} whitened" in words
    assert Interval(gain["value"], gain["low"], gain["high"]).signed() + " over SFace untouched" in words
    assert f"young still {few:.3f}; ordinary pictures gain {kept:+.3f}" in words
    assert f"five ways, {gain['least']:+.3f} to {gain['largest']:+.3f}" in words
