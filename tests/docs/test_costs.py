"""The tables of time, disk and memory are those of the benchmarks."""

import json
import re
from typing import Any

from documents import ROOT

COSTS, MILLION = ((ROOT / "docs" / f"{name}.md").read_text() for name in ("costs", "million"))


def read(name: str) -> Any:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())


def row(page: str, begins: str) -> list[str]:
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {begins}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_costs_of_a_picture() -> None:
    listing, gpu, overlap = read("listing"), read("gpu"), read("tuning")["overlap"]
    folder, manifest = (listing[of]["list_s"] / listing[of]["rows"] * 1e6 for of in ("folder", "manifest"))
    assert row(COSTS, "list it")[1] == f"{folder:.1f} us; {manifest:.1f} us"
    reading = sum(overlap["seconds"][part] for part in ("decode", "align", "views", "covariates"))
    of_threads = re.search(r"^\| photographs \|((?: \d+ \|){5})$", (ROOT / "docs" / "gpu.md").read_text(), re.M)
    assert of_threads is not None
    fastest = max(map(int, re.findall(r"\d+", of_threads[1])))
    assert row(COSTS, "decode, find")[1] == f"{1000 * reading / overlap['pictures']:.0f} ms"
    assert row(COSTS, "decode, find")[2] == f"{1000 / fastest:.1f} ms"
    assert row(COSTS, "embed a photograph")[1:3] == [
        f"{1000 * overlap['wall'] / overlap['pictures']:.0f} ms",
        f"{1000 / gpu['embed photographs']['embed']:.1f} ms",
    ]
    assert row(COSTS, "embed a chip")[2] == f"{1000 / gpu['embed chips']['embed']:.1f} ms"
    pairs = read("verification")
    assert row(COSTS, "a comparison")[1] == f"{1e6 / pairs['comparisons_per_second']['verified']:.2f} us"
    memory = read("memory")
    expected = "; ".join(f"{memory[of]['bytes_a_further_picture']} bytes" for of in ("plan", "fit"))
    assert row(COSTS, "memory for a further")[1] == expected
    cuts = read("cuts")["cuts"]
    sizes = ", ".join(f"{cuts[cut]['kilobytes']:.0f} kB" for cut in ("-5", "-8", "-12"))
    assert row(COSTS, "of it, a view")[1] == sizes
    peak = max(run["make_plan"]["peak_anonymous_bytes"] for run in read("plan_scale")["runs"])
    assert row(COSTS, "memory at the peak of a plan")[1] == f"{peak / 1e9:.1f} GB"


def test_the_runs_by_size_of_the_pool() -> None:
    runs = [run for run in read("pool_size")["runs"] if run["way"] == "rejection"]
    kept = sorted(run["bytes_kept"] / 1e6 for run in runs)
    peaks = sorted(run["peak_bytes"] / 1e9 for run in runs)
    looks = [run["features"]["compared"][0]["seconds_of_a_picture"] for run in runs[:1]]
    assert row(COSTS, "what `fit` keeps")[1] == f"{kept[0]:.0f} to {kept[-1]:.0f} MB"
    assert row(COSTS, "memory at the peak of such")[1] == f"{peaks[0]:.1f} to {peaks[-1]:.1f} GB"
    assert row(COSTS, "look at it")[1] == f"{1000 * looks[0]:.1f} ms"
    of_size = {(run["size"], run["share"]): run for run in runs}
    training = of_size[10_000, 0.06]
    assert row(COSTS, "a sample of training")[1] == f"{1000 * training['seconds']['tune'] / training['trained']:.1f} ms"
    rows = re.findall(r"^\| ([\d,]+) \| (\d) % \| (.+) \|$", MILLION, re.M)
    assert len(rows) == 5
    for size, share, cells in rows:
        run = of_size[int(size.replace(",", "")), int(share) / 100]
        seconds = [run["seconds"][stage] for stage in ("list", "pilot", "look at pictures", "embed pool", "tune")]
        expected = [f"{second:.0f} s" for second in seconds] + [f"{run['looked_at']:,}"]
        expected += [f"{run['bytes_kept'] / 1e6:.0f} MB", f"{run['peak_bytes'] / 1e9:.1f} GB"]
        assert cells.split(" | ") == expected


def test_the_pictures_that_each_of_many_machines_opens() -> None:
    page, told = (ROOT / "docs" / "many-machines.md").read_text(), read("many_machines")
    lost = []
    for name, alone in told["opened_by_one_process"].items():
        opened = [told["machines"][number][name] for number in ("2", "4")]
        shown = [" + ".join(map(str, of["pictures_opened"])) for of in opened]
        assert row(page, f"`{name}` | {alone} |")[1:] == [str(alone), *shown]
        assert all(of["same"] and sum(of["pictures_opened"]) == alone for of in opened)
        lost += [of[key] for of in opened for key in of if key.startswith("with_process")]
    assert f"{sum(run['same'] for run in lost)} of {len(lost)} runs" in page
    for number in ("2", "4"):
        assert f"{1e6 * told['machines'][number]['fit']['weights_apart']:.1f} millionths" in page
