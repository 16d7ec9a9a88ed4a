"""What it costs to list a pool and to read the bytes of all its pictures, in each form; nothing is decoded.

    python benchmarks/readers.py --pictures 20000

The same pictures, 50 an identity, are converted to every form. The reference is a bare loop that walks the folder and
reads each file. CPU time, since files are in the page cache. Writes `benchmarks/results/readers.json`.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rsft.data.convert import convert
from rsft.data.images import find_images

RESULTS = Path(__file__).parent / "results" / "readers.json"
FORMS = ("pool", "pool.tar", "pool.rec", "csv/list.csv", "parquet/list.parquet", "s-{0..7}.tar")
SIZE = 5000  # bytes, as of a chip of 112 x 112
ROUNDS = 3


def write_pool(root: Path, pictures: int) -> None:
    generator = np.random.default_rng(0)
    for number in range(pictures):
        path = root / f"p{number // 50:05d}" / f"{number:07d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff\xd8\xff" + generator.bytes(SIZE - 3))


def read_bare(root: Path) -> int:
    return sum(len(Path(folder, name).read_bytes()) for folder, _, names in os.walk(root) for name in names)


def seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=20_000)
    pictures = parser.parse_args().pictures
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_pool(root / "pool", pictures)
        for form in FORMS[1:]:
            convert(root / "pool", root / form)
        sets = {form: find_images(root / form, labelled=True) for form in FORMS}
        whole = read_bare(root / "pool")
        timed: dict[str, list[tuple[float, float]]] = {form: [] for form in FORMS}
        bare = []
        for _ in range(ROUNDS):
            bare.append(seconds(lambda: read_bare(root / "pool")))
            for form, images in sets.items():
                assert sum(len(images.read_bytes(row)) for row in range(len(images))) == whole
                listing = seconds(lambda form=form: find_images(root / form, labelled=True))  # type: ignore[misc]
                reading = seconds(lambda images=images: [images.read_bytes(row) for row in range(len(images))])  # type: ignore[misc]
                timed[form].append((listing, reading))
    reference = statistics.median(bare)
    results = {
        form: {
            "list_us": 1e6 * statistics.median(listing for listing, _ in rounds) / pictures,
            "read_us": 1e6 * statistics.median(reading for _, reading in rounds) / pictures,
            "times_bare": statistics.median(sum(both) for both in rounds) / reference,
        }
        for form, rounds in timed.items()
    }
    RESULTS.write_text(json.dumps({"pictures": pictures, "bare_us": 1e6 * reference / pictures} | results, indent=1))
    print(
        f"{pictures} pictures of {SIZE} bytes; a bare loop over the folder: {1e6 * reference / pictures:.1f} us each\n"
    )
    print("| form | list, us a picture | read, us | list and read, of a bare loop |\n|---|---|---|---|")
    for form, figures in results.items():
        print(f"| {form} | {figures['list_us']:.1f} | {figures['read_us']:.1f} | {figures['times_bare']:.2f} |")


if __name__ == "__main__":
    main()
