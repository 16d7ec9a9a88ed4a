"""What it costs to list a large pool: a manifest of ten million rows, and a folder of a million files.

    python benchmarks/listing.py --work /tmp

All names exist, 50 in a folder; they are hard links to a few files of a byte, so that a file system with fewer inodes
than names will do. The rows of the manifest are shuffled, and its time includes the search for the files that it names,
which is also measured alone. The reference of the folder is a bare recursion of `os.scandir` over it. Each figure is of
a process of its own; seconds are of the wall clock, with directories in the cache, and the peak of memory is that of
the whole process, imports included. Writes `benchmarks/results/listing.json` and removes all else that it wrote; at the
default sizes it takes a quarter of an hour and 3 GB of the disk, nearly all to make and to remove the names.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from rsft.data.columns import Strings
from rsft.data.folder import absent_files
from rsft.data.images import find_images

RESULTS = Path(__file__).parent / "results" / "listing.json"
OF_A_PERSON = 50
LINKS = 50_000  # names of a file, fewer than ext4 allows
ROUNDS = 5
ROWS_A_GROUP = 1 << 17


def person_of(number: int) -> str:
    return f"p{number // OF_A_PERSON:07d}"


def write_names(root: Path, files: int) -> None:
    for number in range(files):
        if number % OF_A_PERSON == 0:
            folder = root / person_of(number)
            folder.mkdir(parents=True)
        if number % LINKS == 0:
            first = folder / f"{number:08d}.jpg"
            first.write_bytes(b"x")
        else:
            os.link(first, f"{folder}/{number:08d}.jpg")


def write_manifest(path: Path, rows: int) -> None:
    order = np.random.default_rng(0).permutation(rows)
    schema = pyarrow.schema({"path": pyarrow.string(), "identity": pyarrow.string()})
    with pyarrow.parquet.ParquetWriter(path, schema) as file:
        for start in range(0, rows, ROWS_A_GROUP):
            people = [person_of(number) for number in order[start : start + ROWS_A_GROUP]]
            names = [f"{person}/{number:08d}.jpg" for person, number in zip(people, order[start:], strict=False)]
            file.write_table(pyarrow.table({"path": names, "identity": people}, schema))


def scan(root: Path) -> int:
    waiting, files = [str(root)], 0
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    files += 1
    return files


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux counts in KiB


def measure_listing(path: Path) -> Iterator[tuple[str, float]]:
    listing, images = seconds(lambda: find_images(path, labelled=True))
    yield "rows", len(images)
    yield "list_s", listing
    yield "fingerprint_s", seconds(images.fingerprint)[0]
    yield "subset_s", seconds(lambda: images.subset(np.arange(0, len(images), 2)))[0]


def measure_search(path: Path) -> Iterator[tuple[str, float]]:
    paths = Strings(pyarrow.parquet.read_table(path, columns=["path"])["path"])
    taken, absent = seconds(lambda: absent_files(path.parent, paths))
    assert not len(absent)
    yield "search_s", taken


def measure_scan(path: Path) -> Iterator[tuple[str, float]]:
    taken, files = seconds(lambda: scan(path))
    yield "files", files
    yield "scan_s", taken


MEASURES = {"listing": measure_listing, "search": measure_search, "scan": measure_scan}


def measured(what: str, path: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", what, str(path)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path, help="an existing folder on the disk that names are made on")
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "PATH"), help="measure once, in this process")
    options = parser.parse_args()
    if options.measure:
        what, path = options.measure
        before = peak_gb()
        print(json.dumps({"imports_gb": before, **dict(MEASURES[what](Path(path))), "peak_gb": peak_gb()}))
        return
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        root = Path(folder)
        write_names(root / "faces", options.files)
        scan(root / "faces")  # so that the first round finds its directories in the cache
        rounds = [measured("scan", root / "faces") | measured("listing", root / "faces") for _ in range(ROUNDS)]
        of_folder = medians(rounds)
        ratios = [figures["list_s"] / figures["scan_s"] for figures in rounds]
        of_folder |= {"times_scan": statistics.median(ratios), "times_scan_most": max(ratios)}
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        root = Path(folder)
        write_names(root, options.rows)
        write_manifest(root / "list.parquet", options.rows)
        of_manifest = medians([measured("listing", root / "list.parquet") for _ in range(3)])
        del of_manifest["imports_gb"]  # Linux gives a process the peak of the one that started it, which wrote the rows
        of_manifest["search_s"] = measured("search", root / "list.parquet")["search_s"]
    RESULTS.write_text(json.dumps({"folder": of_folder, "manifest": of_manifest}, indent=1))
    print("| form | rows | list, s | fingerprint, s | subset of half, s | peak memory, GB |\n|---|---|---|---|---|---|")
    for form, told in {"folder": of_folder, "manifest": of_manifest}.items():
        print(
            f"| {form} | {told['rows']} | {told['list_s']:.2f} | {told['fingerprint_s']:.2f} | "
            f"{told['subset_s']:.2f} | {told['peak_gb']:.2f} |"
        )
    print(
        f"\nOf the memory, imports take {of_folder['imports_gb']:.2f} GB. The folder takes "
        f"{of_folder['times_scan']:.2f} times its bare scan of {of_folder['scan_s']:.2f} s (at most, of "
        f"{ROUNDS} rounds, {of_folder['times_scan_most']:.2f}). To look for the files that the manifest names takes "
        f"{of_manifest['search_s']:.1f} s of its time."
    )


if __name__ == "__main__":
    main()
