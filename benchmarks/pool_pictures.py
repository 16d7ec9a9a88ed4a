"""Pools of 10^4, 10^5 and 10^6 labelled face photographs, made of LFW by small moves, crops and compression.

    RSFT_DATA=... python benchmarks/pool_pictures.py --sizes 10000 100000 1000000

Half of the LFW people with two pictures or more are evaluated. The others, and the people with one picture who are not
among the 400 of the target, are in the pools. Nobody is on two sides. A picture of a pool is a photograph turned,
zoomed, moved, relit and compressed by other amounts; a share of the pool carries a shift. That is drawn on a photograph
whose face fills about as much of it as of a chip. Its face is often not found, so the five points come with the
pictures: those found in the original, moved along. The seed, the kind and the number of a picture tell all of it, so
pools are nested: the first pictures of a large one are those of a small one.

What these pools cannot show: since the same face under two names would be a false label, all sizes have the same people
and photographs. A larger pool has more pictures of a person, and more alike. It shows what size costs, and whether a
small share is found in it; not what more people are worth.

    shards/2000/ordinary-0000.tar, night-0000.tar ...     person/photograph-number[-shift].jpg; beside each, its points
    pools/100000/night-0.02/shard-0000.tar ...            hard links, the shifted shards last; landmarks.parquet
    target/night/0000-night.jpg ...                       a picture of each person of the target, without labels
    evaluation/clean, evaluation/night                    a folder per person
    plain/night-0.02/list.parquet                         a pool of 10^4 as plain files with a manifest

Whole shards, sets and pools are not made again. The decoded photographs stay in memory, about 0.7 GB.
"""

import argparse
import io
import json
import os
import shutil
import tarfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image
from shifted_faces import MAX_EVALUATED_PICTURES, MAX_POOL_PICTURES, TARGET_PICTURES

from rsft.data.convert import convert
from rsft.data.images import decode, find_images
from rsft.disk.whole import replace_file
from rsft.errors import NoFaceError
from rsft.face.networks.chip_points import DLIB, scaled, similarity_transform
from rsft.face.networks.load import load_model
from rsft.face.pictures.drawn_shifts import TEMPLATE_SIZE, low_resolution, night
from rsft.face.pictures.embedding import face_reader
from rsft.face.pictures.landmarks import COLUMNS

ORDINARY, CLEAN = "ordinary", "clean"
# those of `SHIFTS` that need no face on the template
SHIFTS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "night": night,
    "low-resolution": low_resolution,
}
SIZES, SHARES = (10_000, 100_000), (0.02, 0.06)
SHARD_PICTURES, MIN_SHARDS = 2000, 50  # a share of 2 % is whole shards of the smallest pool too
PLAIN_SIZE = 10_000  # as plain files, larger pools would be too many

SIDE = 160  # pixels
TEMPLATE = np.array(scaled(DLIB, SIDE / TEMPLATE_SIZE))
ZOOM = (0.85, 1.0)  # size of the face, of that on dlib's template; the whole face stays in the picture
MAX_TURN_DEGREES, MAX_SHIFT = 6.0, 0.03  # besides its own turn; of the side
MAX_LIGHT, MAX_TINT = 0.1, 0.03  # how far gain and gamma, and the gains of the channels, are from 1
QUALITY = (70, 95)  # of JPEG; the target's likewise
EVALUATED_QUALITY = 95  # of pictures with a shift; those without are LFW's files
SETTINGS = {"side": SIDE, "zoom": ZOOM, "turn": MAX_TURN_DEGREES, "shift": MAX_SHIFT, "light": MAX_LIGHT} | {
    "tint": MAX_TINT,
    "quality": (QUALITY, EVALUATED_QUALITY),
    "pictures": (MAX_POOL_PICTURES, MAX_EVALUATED_PICTURES, TARGET_PICTURES),
}


class Key(NamedTuple):
    """What tells a pool of a seed from another."""

    size: int
    shift: str
    share: float


@dataclass(frozen=True)
class Pool:
    """A pool with what belongs to it, as `find_images` and `read_landmarks` read it.

    Attributes:
        pictures: pattern of its shards.
        landmarks: the points in the pictures of all four sets.
        target: unlabelled pictures with the shift.
        evaluation: pictures of other people with the shift.
        retention: the same without the shift.
    """

    pictures: Path
    landmarks: Path
    target: Path
    evaluation: Path
    retention: Path


class Picture(NamedTuple):
    """A picture as it is stored, and the (5, 2) points of its face."""

    id: str
    content: bytes
    points: np.ndarray


class Division(NamedTuple):
    """Rows of the photographs on each side; nobody is on two."""

    pool: np.ndarray
    target: np.ndarray
    evaluated: np.ndarray


def divide(identities: Sequence[str], seed: int) -> Division:
    """Divide people once, as `shifted_faces.Cases` does with its pool of more people."""
    people = np.unique(identities, return_inverse=True)[1]
    generator, counts = np.random.default_rng(seed), np.bincount(people)
    pooled, evaluated = np.array_split(generator.permutation(np.flatnonzero(counts > 1)), 2)
    alone = generator.permutation(np.flatnonzero(counts == 1))
    seen: Counter[int] = Counter()
    place = np.empty(len(people), int)  # of a photograph among those of its person
    for row, person in enumerate(people.tolist()):
        place[row] = seen[person]
        seen[person] += 1
    pooled = np.concatenate([pooled, alone[TARGET_PICTURES:]])
    return Division(
        np.flatnonzero(np.isin(people, pooled) & (place < MAX_POOL_PICTURES)),
        np.flatnonzero(np.isin(people, alone[:TARGET_PICTURES])),
        np.flatnonzero(np.isin(people, evaluated) & (place < MAX_EVALUATED_PICTURES)),
    )


class Faces:
    """Makes the pictures of a seed; the points of the photographs are found once and kept.

    Args:
        work: where to keep them.
        seed: of all that is drawn.
    """

    def __init__(self, work: Path, seed: int) -> None:
        self._seed = seed
        images = find_images(Path(os.environ["RSFT_DATA"]) / "lfw-folds1-6.tar", labelled=True)
        kept = work / "points.npz"
        if not kept.exists():
            with _renamed(kept) as partial, open(partial, "wb") as file:
                rows, points = _found(images.read(row) for row in range(len(images)))
                np.savez(file, rows=rows, points=points)
        found = np.load(kept)
        self._images, self._points = images.subset(found["rows"].tolist()), found["points"]
        self._decoded: dict[int, np.ndarray] = {}
        self._orders: dict[tuple[str, int], np.ndarray] = {}
        self.division = divide(self._images.identities, seed)

    def pooled(self, kind: str, number: int) -> Picture:
        """A picture of the pools: all photographs come once, mixed, before one comes again."""
        rows = self.division.pool
        turn, place = divmod(number, len(rows))
        if (kind, turn) not in self._orders:
            self._orders[kind, turn] = self._generator(kind, turn, 0).permutation(rows)
        row = int(self._orders[kind, turn][place])
        person, photograph = self._name(row)
        return self._varied(f"{person}/{photograph}-{number:07d}", row, kind, self._generator(kind, number, 1))

    def of_target(self, shift: str, number: int) -> Picture:
        """A picture of a person of the target, made like those of the pools."""
        generator = self._generator(shift, number, 2)
        return self._varied(f"{number:04d}", int(self.division.target[number]), shift, generator)

    def evaluated(self, kind: str, number: int) -> Picture:
        """A picture of the evaluated people: LFW's file, or with a shift and no other change than the size."""
        row = int(self.division.evaluated[number])
        item = "/".join(self._name(row))
        if kind == CLEAN:
            return Picture(f"{item}.jpg", self._images.read_bytes(row), self._points[row])
        picture, points = framed(self._photograph(row), self._points[row], zoom=sum(ZOOM) / 2)
        content = compressed(SHIFTS[kind](picture, self._generator(kind, number, 3)), EVALUATED_QUALITY)
        return Picture(f"{item}-{kind}.jpg", content, points)

    def _varied(self, item: str, row: int, kind: str, generator: np.random.Generator) -> Picture:
        picture, points = framed(
            self._photograph(row),
            self._points[row],
            zoom=generator.uniform(*ZOOM),
            turn_degrees=generator.uniform(-MAX_TURN_DEGREES, MAX_TURN_DEGREES),
            shift=SIDE * generator.uniform(-MAX_SHIFT, MAX_SHIFT, 2),
        )
        picture = relit(picture, generator)
        if kind != ORDINARY:
            picture, item = SHIFTS[kind](picture, generator), f"{item}-{kind}"
        return Picture(f"{item}.jpg", compressed(picture, int(generator.integers(QUALITY[0], QUALITY[1] + 1))), points)

    def _name(self, row: int) -> tuple[str, str]:
        """Person, and number of the photograph."""
        person, _, name = self._images.ids[row].partition("/")
        return person, Path(name).stem.rpartition("_")[2]

    def _photograph(self, row: int) -> np.ndarray:
        if row not in self._decoded:
            self._decoded[row] = self._images.read(row)
        return self._decoded[row]

    def _generator(self, kind: str, number: int, use: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, zlib.crc32(kind.encode()), number, use])


def framed(
    photograph: np.ndarray,
    points: np.ndarray,
    *,
    zoom: float,
    turn_degrees: float = 0.0,
    shift: np.ndarray | tuple[float, float] = (0.0, 0.0),
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a square of `SIDE` pixels around a face, which keeps its own turn: (picture, points in it).

    Args:
        photograph: (H, W, 3) uint8.
        points: (5, 2) points of the face.
        zoom: size of the face, of that on the template.
        turn_degrees: by which the face is turned further.
        shift: (2,) pixels, right and down.
    """
    to_template = similarity_transform(points, TEMPLATE)
    linear, middle = to_template[:, :2], np.full(2, SIDE / 2)
    centre = np.linalg.solve(linear, middle - to_template[:, 2])
    angle = np.radians(turn_degrees)
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned *= zoom * np.sqrt(np.linalg.det(linear))
    offset = middle + shift - turned @ centre
    matrix = np.column_stack([turned, offset])
    picture = cv2.warpAffine(photograph, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return picture, points @ turned.T + offset


def relit(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A little lighter or darker, of more or less contrast, and tinted."""
    gain, gamma = generator.uniform(1 - MAX_LIGHT, 1 + MAX_LIGHT, 2)
    tint = generator.uniform(1 - MAX_TINT, 1 + MAX_TINT, 3)
    levels = 255 * gain * tint * (np.arange(256) / 255)[:, None] ** gamma
    return cv2.LUT(picture, np.clip(np.rint(levels), 0, 255).astype(np.uint8)[None])


def compressed(picture: np.ndarray, quality: int) -> bytes:
    """As JPEG."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def make_pools(
    work: Path, sizes: Sequence[int], shifts: Sequence[str], shares: Sequence[float], seed: int = 0
) -> dict[Key, Pool]:
    """Make the pools of all sizes, shifts and shares with the sets that belong to them, as far as they are not there.

    Args:
        work: folder for all of it; `RSFT_DATA` says where LFW is.
        sizes: pictures in a pool.
        shifts: keys of `SHIFTS`.
        shares: of a pool that carries the shift, whole shards of it.
        seed: of all that is drawn; a folder has pictures of one seed.

    Raises:
        ValueError: `work` was made of another seed or with other settings, or a size or share is not whole shards.
    """
    cv2.setNumThreads(1)
    keys = [Key(size, shift, share) for size in sizes for shift in shifts for share in shares]
    shards = [shards_of(key) for key in keys]
    faces = Faces(work, seed)
    _check_settings(work / "settings.json", SETTINGS | {"seed": seed})
    evaluated = range(len(faces.division.evaluated))
    _make_set(work / "evaluation" / CLEAN, (faces.evaluated(CLEAN, number) for number in evaluated))
    for shift in shifts:
        targets = (faces.of_target(shift, number) for number in range(TARGET_PICTURES))
        _make_set(work / "target" / shift, targets)
        _make_set(work / "evaluation" / shift, (faces.evaluated(shift, number) for number in evaluated))
    return {key: _make_pool(work, faces, key, parts) for key, parts in zip(keys, shards, strict=True)}


def shards_of(key: Key) -> list[tuple[int, str, int]]:
    """The shards of a pool: pictures in it, kind, number.

    Raises:
        ValueError: The size or the share is not whole shards.

    >>> len(shards_of(Key(10_000, "night", 0.06))), shards_of(Key(10_000, "night", 0.06))[-4:-2]
    (50, [(200, 'ordinary', 46), (200, 'night', 0)])
    """
    pictures = min(SHARD_PICTURES, key.size // MIN_SHARDS)
    if key.shift not in SHIFTS or pictures < 1 or key.size % pictures:
        raise ValueError(f"{key} needs a shift of {', '.join(SHIFTS)} and a size of whole shards of {pictures}.")
    whole = key.size // pictures
    shifted = round(whole * key.share)
    if not 0 < shifted < whole or abs(shifted - whole * key.share) > 1e-6:
        raise ValueError(f"{key} needs a share of whole shards: {shifted} of {whole} are {shifted / whole:g}.")
    kinds = {ORDINARY: whole - shifted, key.shift: shifted}
    return [(pictures, kind, number) for kind, count in kinds.items() for number in range(count)]


def is_shifted(item: str) -> bool:
    """Whether a picture carries a shift, by its id; for measurement only."""
    return item.removesuffix(".jpg").endswith(tuple(f"-{shift}" for shift in SHIFTS))


def _make_pool(work: Path, faces: Faces, key: Key, parts: list[tuple[int, str, int]]) -> Pool:
    """Make what a pool lacks of shards, and link them into its folder."""
    shards = [_make_shard(work / "shards", faces, *part) for part in parts]
    folder = work / "pools" / str(key.size) / f"{key.shift}-{key.share:g}"
    sets = [work / "target" / key.shift, work / "evaluation" / key.shift, work / "evaluation" / CLEAN]
    pool = Pool(folder / f"shard-{{0000..{len(shards) - 1:04d}}}.tar", folder / "landmarks.parquet", *sets)
    if not folder.exists():
        with _renamed(folder) as partial:
            partial.mkdir()
            for number, shard in enumerate(shards):
                os.link(shard, partial / f"shard-{number:04d}.tar")
            tables = [pyarrow.parquet.read_table(path.with_suffix(".parquet")) for path in (*shards, *sets)]
            pyarrow.parquet.write_table(pyarrow.concat_tables(tables), partial / pool.landmarks.name)
    return pool


def _make_shard(shards: Path, faces: Faces, pictures: int, kind: str, number: int) -> Path:
    """Write pictures of a kind in the order of their numbers, with their points beside the shard."""
    path = shards / str(pictures) / f"{kind}-{number:04d}.tar"
    if not path.exists():
        started = time.monotonic()
        made = [faces.pooled(kind, row) for row in range(number * pictures, (number + 1) * pictures)]
        _write_points(path.with_suffix(".parquet"), made)
        with _renamed(path) as partial, tarfile.open(partial, "w") as archive:
            for picture in made:
                member = tarfile.TarInfo(picture.id)
                member.size = len(picture.content)
                archive.addfile(member, io.BytesIO(picture.content))
        print(f"{path}: {1000 * (time.monotonic() - started) / pictures:.2f} ms a picture", flush=True)
    return path


def _make_set(folder: Path, pictures: Iterable[Picture]) -> None:
    """Write pictures as plain files, with their points beside the folder."""
    if folder.exists():
        return
    with _renamed(folder) as partial:
        made = list(pictures)
        _write_points(folder.with_suffix(".parquet"), made)
        for picture in made:
            (partial / picture.id).parent.mkdir(parents=True, exist_ok=True)
            (partial / picture.id).write_bytes(picture.content)


def _write_points(path: Path, pictures: Sequence[Picture]) -> None:
    """In the form of `read_landmarks`, to hundredths of a pixel."""
    values = np.stack([picture.points for picture in pictures]).astype(float).round(2).reshape(len(pictures), -1)
    columns = {"path": [picture.id for picture in pictures]} | dict(zip(COLUMNS, values.T, strict=True))
    with _renamed(path) as partial:
        pyarrow.parquet.write_table(pyarrow.table(columns), partial)


@contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to, which becomes `path` when all is written; what lies there is removed first."""
    partial = path.with_name(f".{path.name}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial) if partial.is_dir() else partial.unlink(missing_ok=True)
    yield partial
    partial.rename(path)


def _check_settings(path: Path, settings: dict[str, object]) -> None:
    told = json.loads(json.dumps(settings))
    if not path.exists():
        replace_file(path, json.dumps(told).encode())
    elif json.loads(path.read_text()) != told:
        raise ValueError(f"'{path.parent}' has pictures of {path.read_text()}, not of {told}: choose another folder.")


def _found(photographs: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Rows in which a face is found, and its points."""
    find, rows, points = face_reader(load_model("dlib")), [], []
    for row, photograph in enumerate(photographs):
        try:
            face = find(photograph)
        except NoFaceError:
            continue
        assert face.points is not None
        rows.append(row)
        points.append(face.points)
    return np.array(rows), np.stack(points)


def detection(faces: Faces, kind: str, count: int) -> dict[str, float]:
    """How often YuNet finds the face in pictures of a pool; how far its points are off, in distances of the eyes."""
    pictures = [faces.pooled(kind, number) for number in range(count)]
    rows, points = _found(decode(picture.content) for picture in pictures)
    known = np.stack([pictures[row].points for row in rows])
    off = np.linalg.norm(points - known, axis=2).mean(1) / np.linalg.norm(known[:, 1] - known[:, 0], axis=1)
    quantiles = dict(zip(("median_off", "p95_off"), np.quantile(off, (0.5, 0.95)).tolist(), strict=True))
    return {"found_fraction": len(rows) / count} | quantiles


def check(key: Key, pool: Pool) -> dict[str, int]:
    """Count a pool as `find_images` lists it.

    Raises:
        ValueError: The size, the share or the landmarks are not as they should be.
    """
    images = find_images(pool.pictures, labelled=True)
    shifted = sum(map(is_shifted, images.ids))
    told = set(pyarrow.parquet.read_table(pool.landmarks, columns=["path"])["path"].to_pylist())
    if (len(images), shifted) != (key.size, round(key.size * key.share)) or not told.issuperset(images.ids):
        raise ValueError(f"{key} has {len(images)} pictures, {shifted} with the shift, and {len(told)} landmarks.")
    return {"pictures": len(images), "shifted": shifted, "people": len(set(images.identities))}


def make_plain(pool: Pool, folder: Path) -> Path:
    """A pool as plain files with a manifest, which is returned."""
    manifest = folder / "list.parquet"
    if not manifest.exists():
        convert(pool.pictures, manifest)
    return manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("evidence") / "pools")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--shifts", nargs="+", choices=SHIFTS, default=list(SHIFTS))
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--detection", type=int, metavar="N", help="only look for faces in N pictures of each kind")
    options = parser.parse_args()
    if options.detection:
        faces = Faces(options.work, options.seed)
        for kind in (ORDINARY, *options.shifts):
            print(kind, detection(faces, kind, options.detection), flush=True)
        return
    for size in options.sizes:
        pools = make_pools(options.work, [size], options.shifts, options.shares, options.seed)
        counts = {f"{key.shift}-{key.share:g}": check(key, pool) for key, pool in pools.items()}
        if size == PLAIN_SIZE:
            key, pool = next(iter(pools.items()))
            make_plain(pool, options.work / "plain" / f"{key.shift}-{key.share:g}")
        (options.work / f"READY-{size}").write_text(json.dumps(counts, indent=1))
        print(f"{size}: {counts}", flush=True)


if __name__ == "__main__":
    main()
