import json
from collections.abc import Callable
from pathlib import Path

from pages import Ran

from rsft.types import Interval

SHIFTS, LARGE = ("night", "mask", "low-resolution", "mixed"), " with more people"
README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_examples_with_features_end_in_a_plan_worth_trying(run_page: Callable[[str], Ran]) -> None:
    assert "worth trying" in str(run_page("README.md").names["plan"].verdict)


def test_the_gain_by_pool_size_matches_the_benchmark() -> None:
    rows = json.loads((Path(__file__).parents[1] / "benchmarks" / "results" / "budget.json").read_text())["rows"]
    small, large = min(row["views"] for row in rows), max(row["views"] for row in rows)
    ahead = {size: [row["uniform"] for row in rows if row["views"] == size] for size in (small, large)}
    clear = {size: sum(gain["low"] > 0 for gain in gains) for size, gains in ahead.items()}
    least, most = (100 * bound(gain["value"] for gain in ahead[large]) for bound in (min, max))
    words = " ".join(README.split())
    assert {len(gains) for gains in ahead.values()} == {6}
    assert f"with {large:,} views" in words
    assert f"by {least:.1f} to {most:.1f} points in six of six settings; with {small:,} views in one of six" in words
    assert clear == {small: 1, large: 6}


def test_the_table_matches_the_evidence() -> None:
    shifts = json.loads((Path(__file__).parents[1] / "benchmarks" / "results" / "evidence.json").read_text())["shifts"]
    words = " ".join(README.split())

    def gains(pool: str, other: str, key: str) -> list[Interval]:
        of_each = (shifts[name + pool]["comparison"]["differences"]["rejection"] for name in SHIFTS)
        return [Interval(**differences[other][f"{key} TAR at FMR 0.001"]) for differences in of_each]

    def points(pool: str, other: str, key: str, sign: int = 1) -> str:
        values = [100 * sign * (gain.value or 0) for gain in gains(pool, other, key)]
        return f"{min(values):.1f} to {max(values):.1f}"

    for other in ("pretrained", "uniform", "loss weights"):
        for key in ("target", "retain"):
            for gain in gains(LARGE, other, key):
                assert gain.signed() in README, (other, key)
    assert (
        f"gains {points(LARGE, 'pretrained', 'target')} points over the pretrained network and "
        f"{points(LARGE, 'uniform', 'target')} over equal-size uniform tuning, and loses "
        f"{points(LARGE, 'pretrained', 'retain', -1)} on clean faces"
    ) in words
    assert f"gains {points('', 'pretrained', 'target')} points" in words
    assert f"and loses {points('', 'pretrained', 'retain', -1)}." in words
    assert f"{shifts['night' + LARGE]['people']:,} people and {shifts['night' + LARGE]['views']:,} views" in words


def test_the_gate_results_match_the_benchmark() -> None:
    results = json.loads((Path(__file__).parents[1] / "benchmarks" / "results" / "gate.json").read_text())["results"]
    shipped = {row["shift"]: row["shipped"] for row in results}
    gains = [100 * shipped[name]["target at FMR 0.001"]["value"] for name in SHIFTS]
    loss = -min(100 * shipped[name]["retain at FMR 0.001"]["value"] for name in SHIFTS)
    words = " ".join(README.split())
    assert f"shipped {min(gains):.1f} to {max(gains):.1f} points on the four shifts in the smaller pool" in words
    assert f"for at most {loss:.1f} lost" in words
    assert {gate["share"] for row in results if "turn" in row["shift"] for gate in row["gates"]} == {0}


def test_the_table_of_real_shifts_matches_the_benchmark() -> None:
    settings = json.loads((Path(__file__).parents[1] / "benchmarks" / "results" / "real_shifts.json").read_text())
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
        row = next(line for line in README.splitlines() if line.startswith(f"| {words}"))
        expected = [values["dlib"]["pretrained"], values["sface"]["pretrained"]]
        expected += [values["sface"]["uniform, not whitened"], max(peers), ours["value"]["value"]]
        cells = row.replace("*", "").split(" | ")
        assert cells[1:6] == [f"{value:.3f}" for value in expected]
        assert cells[6].removesuffix(" |") == Interval(**ours["less untouched sface"]).signed()


def test_the_figures_of_the_fusion_match_the_benchmark() -> None:
    settings = json.loads((Path(__file__).parents[1] / "benchmarks" / "results" / "real_dealings.json").read_text())
    metrics = settings["settings"]["age 0.05"]
    values, less = (metrics["target TAR at FMR 0.01"][key] for key in ("values", "differences"))
    gain = less["sface+dlib, whitened"]["sface"]
    kept = metrics["retain TAR at FMR 0.01"]["differences"]["sface+dlib, whitened"]["sface"]["value"]
    few = settings["settings"]["age 0.01"]["target TAR at FMR 0.01"]["values"]["sface+dlib, whitened"]["value"]
    words = " ".join(README.split())
    untouched, whitened = (values[name]["value"] for name in ("sface+dlib", "sface+dlib, whitened"))
    assert f"has {untouched:.3f} on LAG untouched and {whitened:.3f} whitened" in words
    assert Interval(gain["value"], gain["low"], gain["high"]).signed() + " over SFace untouched" in words
    assert f"young still {few:.3f}; ordinary pictures gain {kept:+.3f}" in words
    assert f"five ways, {gain['least']:+.3f} to {gain['largest']:+.3f}" in words
