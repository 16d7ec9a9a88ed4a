"""The walk-throughs of the docs: their commands on small parts of real sets of faces, and what these print.

`RSFT_DATA` names the folder with the archives. Pictures are unpacked below `--work`, with lists of pool, target and
pairs beside them; people are dealt out by a hash of their names. The commands are those of the pages in docs/walks, and
what they print goes to results/walks.json, which a test compares with the pages. About ten minutes on two cores.
"""

import argparse
import csv
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from runs import about, data_folder

RESULTS = Path(__file__).with_name("results") / "walks.json"
PAGES = Path(__file__).parents[1] / "docs" / "walks"
LFW = "lfw-folds1-6"
COMMAND = re.compile(r"^\$ (rsft .*?)(?:  +#.*)?$", re.MULTILINE)
IMPOSTORS = 40_000  # pairs of a list: enough for an FMR of 0.001 by the rule of 30


@dataclass(frozen=True)
class Walk:
    """One set of faces.

    Attributes:
        archive: Name of its files, `NAME.tar` and `NAME.csv` with path, identity and domain.
        shift: Domain of the pictures with the shift.
        evaluated: Share of the people who are evaluated.
        target: Share of the people whose pictures of the shift are the target.
        carries: Largest share of the pool with the shift.
        lfw: Share of LFW's people who are in the pool too.
    """

    archive: str
    shift: str
    evaluated: float
    target: float
    carries: float
    lfw: float


WALKS = {
    "age": Walk("lag-dev", "young", 0.4, 0.2, 0.1, 0.0),
    "camera": Walk("frmdb-dev", "cctv", 0.5, 0.3, 0.02, 0.3),
    "masks": Walk("mfr2-dev", "masked", 0.5, 0.3, 0.02, 0.3),
}


def place_of(name: str) -> float:
    """Return a number in [0, 1) that depends on a name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) / 2**32


def write(path: Path, header: str, rows: Iterable[Iterable[object]]) -> None:
    """Write a table."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])


def pairs_of(shifted: list[str], others: list[str]) -> list[tuple[str, str, int]]:
    """Return the pairs of one picture of each list: all of one person, and some of two."""
    both = itertools.combinations(others, 2) if shifted is others else itertools.product(shifted, others)
    pairs = [(a, b, int(a.split("/")[0] == b.split("/")[0])) for a, b in both]
    genuine, impostor = ([pair for pair in pairs if pair[2] == same] for same in (1, 0))
    some = np.random.default_rng(0).permutation(len(impostor))[:IMPOSTORS]
    return genuine + [impostor[index] for index in np.sort(some)]


def prepare(walk: Walk, data: Path, folder: Path) -> dict[str, int]:
    """Unpack the pictures, write the lists, and return how many rows each has."""
    folder.mkdir(parents=True)
    with tarfile.open(data / f"{walk.archive}.tar") as archive:
        archive.extractall(folder, filter="data")
    with (data / f"{walk.archive}.csv").open(newline="") as file:
        rows = [(row["path"], row["identity"], row["domain"] == walk.shift) for row in csv.DictReader(file)]
    order = sorted({person for _, person, _ in rows}, key=place_of)
    ends = [round(share * len(order)) for share in (walk.evaluated, walk.evaluated + walk.target)]
    evaluated, target, pool = (set(part) for part in (order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] :]))
    plain = [(path, person) for path, person, shifted in rows if person in pool and not shifted]
    if walk.lfw:
        plain += unpack_lfw(walk.lfw, data, folder, {person.lower().replace("_", "") for person in order})
    carry = [(path, person) for path, person, shifted in rows if person in pool and shifted]
    few = sorted(carry, key=lambda row: place_of(row[0]))[: round(walk.carries / (1 - walk.carries) * len(plain))]
    theirs = [(path, has) for path, person, has in rows if person in evaluated]
    shifted, ordinary = ([path for path, has in theirs if has == of] for of in (True, False))
    lists = {
        "pool.csv": ("path,identity", sorted([*plain, *few])),
        "target.csv": ("path", [(path,) for path, person, has in rows if person in target and has]),
        "across.csv": ("a,b,same", pairs_of(shifted, ordinary)),
        "ordinary.csv": ("a,b,same", pairs_of(ordinary, ordinary)),
    }
    for name, (header, table) in lists.items():
        write(folder / name, header, table)
    counts = {name: len(table) for name, (_, table) in lists.items()}
    return counts | {"pool with the shift": len(few), "people evaluated": len(evaluated)}


def unpack_lfw(share: float, data: Path, folder: Path, others: set[str]) -> list[tuple[str, str]]:
    """Unpack a share of LFW's people, but not those with a name among `others`, and return path and person of each."""
    found = []
    with tarfile.open(data / f"{LFW}.tar") as archive:
        for member in archive:
            person = member.name.split("/")[0]
            if member.isfile() and place_of(person) < share and person.lower().replace("_", "") not in others:
                archive.extract(member, folder, filter="data")
                found.append((member.name, person))
    return found


def walk(name: str, data: Path, work: Path) -> dict[str, object]:
    """Run the commands of a page, and return what they print."""
    folder = work / name
    counts = prepare(WALKS[name], data, folder)
    outputs = {}
    for command in COMMAND.findall((PAGES / f"{name}.md").read_text()):
        words = [sys.executable, "-m", *command.split(), "--quiet"]
        done = subprocess.run(
            words, cwd=folder, env={**os.environ, "COLUMNS": "80"}, stdout=subprocess.PIPE, text=True, check=True
        )
        outputs[command] = [line.rstrip() for line in done.stdout.rstrip().splitlines()]
        print(f"$ {command}", done.stdout, sep="\n", flush=True)
    return {"lists": counts, "printed": outputs}


def main() -> None:
    """Run the walks that are named, by default all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(WALKS))
    parser.add_argument("--work", type=Path, default=Path("evidence/walks"))
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in options.names:
        results[name] = {"about": about(), **walk(name, data_folder(parser), options.work)}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
