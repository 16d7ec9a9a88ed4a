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
    figures = read("real_shifts")["settings"]["age 5%"]["figures"]["sface"]
    trained = {name: row[metric].get("less untouched sface") for name, row in figures.items()}
    ours, alike, both = "sface, whitened", "sface, whitened by all alike", "sface+dlib, whitened"
    assert f"SFace gains {signed(age[ours]['sface'])} by whitening" in FIRST_SCREEN
    assert f"{age[alike]['sface']['value']:+.3f} with all pairs alike" in FIRST_SCREEN
    assert f"with dlib beside it {signed(age[both]['sface'])}" in FIRST_SCREEN
    retained = read("real_dealings")["settings"]["age 0.05"]["retain TAR at FMR 0.01"]["differences"]
    assert all(retained[system]["sface"]["value"] > 0 for system in (ours, both))  # "lose nothing"
    fits = read("real_fits")["settings"]["age 0.05"]["figures"]
    alone, lost = (fits[f"{kind} 0.01"]["dlib, fitted"] for kind in ("target", "retain"))
    gain, loss = alone["less itself untouched"], lost["less itself untouched"]
    assert f"{signed(gain)} over itself, for {-100 * loss['value']:.1f} points lost on ordinary" in FIRST_SCREEN
    assert alone["less best"]["low"] < 0 < alone["less best"]["high"]  # "level with SFace untouched"
    assert f"**CCTV**: SFace gains {signed(cctv[ours]['sface'])}, as much by all pairs alike" in FIRST_SCREEN
    tie = cctv[ours][alike]
    assert tie["low"] < 0 < tie["high"]
    assert f"**Masks**: no clear gain, {signed(dealt['masks 0.06'][ours]['sface'])}" in FIRST_SCREEN
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
    settings = read("real_dealings")["settings"]
    of_each = {"young against": "age 0.05", "CCTV against": "cctv 0.06", "masks really": "masks 0.06"}
    for words, name in of_each.items():
        of = settings[name]["target TAR at FMR 0.01"]
        values = {system: f"{each['value']:.3f}" for system, each in of["values"].items()}
        gains = [signed(of["differences"][f"{system}, whitened"]["sface"]) for system in ("sface", "sface+dlib")]
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| {words}"))
        expected = [values[system] for system in ("dlib", "sface", "sface+dlib")]
        expected += [values["sface, whitened"], gains[0], values["sface+dlib, whitened"], gains[1]]
        assert row.replace("*", "").removesuffix(" |").split(" | ")[1:] == expected


def test_the_lines_on_real_shifts_match_the_benchmarks() -> None:
    settings, words = read("real_dealings")["settings"], " ".join(PAGE.split())
    target, strict, ordinary = (
        f"{of} TAR at FMR {fmr}" for of, fmr in (("target", 0.01), ("target", 0.001), ("retain", 0.01))
    )
    age, cctv, few = (settings[name] for name in ("age 0.05", "cctv 0.06", "age 0.01"))
    ours, alike, both = "sface, whitened", "sface, whitened by all alike", "sface+dlib, whitened"

    def gain(of: Any, system: str, metric: str = target) -> str:
        return signed(of[metric]["differences"][system]["sface"])

    less = age[target]["differences"][ours][alike]
    assert f"SFace gains {gain(age, alike)} on LAG, {less['value']:.3f} less; on CCTV {gain(cctv, alike)}." in words
    assert f"SFace still gains {gain(few, ours)}, by all pairs alike {gain(few, alike)}" in words
    assert f"SFace {gain(age, ours, ordinary)} on LAG, both {gain(age, both, ordinary)}" in words
    values, dealt = age[target]["values"], age[target]["differences"][both]["sface"]
    assert f"{values['sface+dlib']['value']:.3f} on LAG untouched and {values[both]['value']:.3f} whitened" in words
    assert f"{dealt['least']:+.3f} to {dealt['largest']:+.3f} over SFace untouched in the five dealings" in words
    at_strict = [f"{age[strict]['values'][name]['value']:.3f}" for name in (both, "sface")]
    assert "at FMR 0.001 {} where SFace has {}".format(*at_strict) in words
    assert f"young still {few[target]['values'][both]['value']:.3f}" in words
    trained = {
        method: row[target]["less untouched sface"]
        for method, row in read("real_shifts")["settings"]["age 5%"]["figures"]["sface"].items()
        if method.endswith(", not whitened")
    }
    best = max((row for name, row in trained.items() if name.startswith("uniform, ")), key=lambda row: row["value"])
    draws = [signed(trained[f"{name}, not whitened"]) for name in ("uniform", "rejection")]
    assert f"it has {draws[0]} by uniform draws, {draws[1]} by accepted ones, {signed(best)} by the best" in words


def test_what_a_whole_run_ships_matches_the_benchmark() -> None:
    found = read("real_fits")["settings"]["age 0.05"]
    fitted = {name: of["sface+dlib, fitted"] for name, of in found["figures"].items()}
    words = " ".join(PAGE.split())
    assert f"in {found['folds'][0]} of {found['folds'][1]} folds, {found['people']} people" in words
    for fmr in ("0.01", "0.001"):
        assert f"{signed(fitted[f'target {fmr}']['less best'])} over SFace untouched at FMR {fmr}" in words
    assert f"{signed(fitted['retain 0.01']['less best'])} on ordinary pictures" in words
    alone = {key: of["dlib, fitted"] for key, of in found["figures"].items()}
    target, retained = (signed(alone[f"{kind} 0.01"]["less itself untouched"]) for kind in ("target", "retain"))
    assert f"{target} over itself untouched, ordinary pictures {retained}" in words
    reached, swapped = alone["target 0.01"]["value"], found["figures"]["target 0.01"]["sface"]["value"]
    assert f"That is {reached['value']:.3f}, where SFace untouched has {swapped['value']:.3f}" in words
    for run in found["runs"]["sface+dlib"]:
        path = {point["share"]: point["target"] for point in run["validation"]["path"]}
        assert path[0.25] > path[0.0] + 0.08  # by whitening, which is a quarter of the way
        assert path[1.0] < path[0.25] + 0.005  # "nothing more by training"
