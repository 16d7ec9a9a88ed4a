"""What a run fetches of a pool in a bucket: of an indexed shard the accepted pictures, against all of it.

    python benchmarks/remote_pool.py

A web server on this machine stands for the bucket. It waits before each answer, as a store does, and in half of the
runs sends all answers together at the rate of a network of 1 Gbit/s. One in ten pictures is accepted, and decoded;
three ways to get at them are compared. Writes `benchmarks/results/remote_pool.json`. Takes half a minute.
"""

import io
import json
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rsft import RejectionSampler, RejectionStream
from rsft.data.archives import expand
from rsft.data.decoding import decode
from rsft.data.images import find_images
from rsft.data.remote import RemotePath, to_path
from rsft.data.shard_index import index_shards
from rsft.threads import FAR_READERS

sys.path.append(str(Path(__file__).parents[1] / "tests" / "data"))

from web_store import WebStore, serving

RESULTS = Path(__file__).parent / "results" / "remote_pool.json"
SHARDS, PICTURES = 8, 250  # of each shard
RATE = 0.1  # of the pictures that are accepted
LATENCY = 0.020  # s, before each answer
LINK = 125e6  # bytes/s
REPEATS = 5
PATTERN = f"{{0..{SHARDS - 1}}}.tar"


def write_shards(folder: Path) -> None:
    """Write shards of noise, which does not compress: 112 x 112 pixels, 38 kB each."""
    random = np.random.default_rng(0)
    for shard in range(SHARDS):
        with tarfile.open(folder / f"{shard}.tar", "w") as archive:
            for number in range(PICTURES):
                file = io.BytesIO()
                Image.fromarray(random.integers(0, 256, (112, 112, 3), np.uint8)).save(file, "PNG")
                content = {"png": file.getvalue(), "json": json.dumps({"identity": f"p{number % 50}"}).encode()}
                for kind, told in content.items():
                    member = tarfile.TarInfo(f"{shard}-{number:05d}.{kind}")
                    member.size = len(told)
                    archive.addfile(member, io.BytesIO(told))
    index_shards(expand(folder / PATTERN))


def indexed(url: str, accepted: list[int]) -> int:
    """List the pool by its indexes, and fetch the accepted pictures."""
    images = find_images(f"{url}/{PATTERN}", labelled=True)
    with ThreadPoolExecutor(FAR_READERS) as threads:
        return sum(1 for _ in threads.map(images.read, accepted))


def whole(url: str, accepted: list[int]) -> int:
    """Fetch the shards, and read the accepted pictures from the disk."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(FAR_READERS) as threads:

        def fetch(path: Path) -> None:
            assert isinstance(path, RemotePath)
            Path(folder, path.name).write_bytes(path.read_range(0, 1 << 40))

        list(threads.map(fetch, expand(to_path(f"{url}/{PATTERN}"))))
        images = find_images(Path(folder, PATTERN), labelled=True)
        return sum(1 for _ in threads.map(images.read, accepted))


def streamed(url: str, accepted: list[int]) -> int:
    """Read through every member of each shard, and decode the accepted ones; a thread for each shard."""
    names = sorted(f"{shard}-{number:05d}.png" for shard in range(SHARDS) for number in range(PICTURES))
    images = sorted(names, key=lambda name: (f"p{int(name[2:7]) % 50}", name))  # as ids are sorted
    kept = {images[row] for row in accepted}

    def members(path: Path) -> Iterator[tuple[str, bytes]]:
        assert isinstance(path, RemotePath)
        with path.open_binary() as file, tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                opened = archive.extractfile(member)
                if member.name.endswith(".png") and opened is not None:
                    yield member.name, opened.read()

    def read(path: Path) -> int:
        stream = RejectionStream(members(path), lambda item: float(item[0] in kept))
        return sum(1 for _, content in stream if decode(content).size)

    with ThreadPoolExecutor(FAR_READERS) as threads:
        return sum(threads.map(read, expand(to_path(f"{url}/{PATTERN}"))))


WAYS: dict[str, Callable[[str, list[int]], int]] = {"indexed": indexed, "whole": whole, "streamed": streamed}


def measure(store: WebStore, way: Callable[[str, list[int]], int], accepted: list[int]) -> dict[str, Any]:
    """Return bytes and requests of one way, and the least and the median seconds of `REPEATS` times."""
    seconds = []
    for _ in range(REPEATS):
        store.forget()
        began = time.perf_counter()
        if way(store.url, accepted) != len(accepted):
            raise RuntimeError("other pictures were read than were accepted")
        seconds.append(time.perf_counter() - began)
    return {
        "bytes": store.sent,
        "requests": store.requests.total(),
        "seconds": round(min(seconds), 3),
        "seconds_median": round(float(np.median(seconds)), 3),
    }


def main() -> None:
    accepted = list(RejectionSampler(np.full(SHARDS * PICTURES, RATE), seed=0))
    with tempfile.TemporaryDirectory() as folder:
        write_shards(Path(folder))
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    found: dict[str, Any] = {
        "pictures": SHARDS * PICTURES,
        "shards": SHARDS,
        "accepted": len(accepted),
        "bytes_of_shards": sum(len(content) for name, content in files.items() if name.endswith(".tar")),
        "bytes_of_indexes": sum(len(content) for name, content in files.items() if not name.endswith(".tar")),
        "threads": FAR_READERS,
        "latency_s": LATENCY,
        "link_bytes_per_s": LINK,
        "runs": {},
    }
    for kind, rate in (("latency", 0.0), ("latency and link", LINK)):
        with serving(WebStore(files, latency=LATENCY, bytes_per_s=rate)) as store:
            found["runs"][kind] = {name: measure(store, way, accepted) for name, way in WAYS.items()}
            for name, told in found["runs"][kind].items():
                print(kind, name, told, flush=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
