"""Fingerprints of pictures, by which the same picture is found in two sets."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsft.data.decoding import decoded
from rsft.data.duplicates import THUMBNAIL, difference_hash, near_duplicates, thumbnail
from rsft.data.images import ImageSet
from rsft.errors import UnreadableImageError
from rsft.face.runs.progress import Stages
from rsft.threads import cores

READ_AHEAD = 256


@dataclass(frozen=True)
class Prints:
    """Fingerprints of the pictures that could be read.

    Attributes:
        ids: Ids of the pictures (N,).
        digests: SHA-256 digests (N,) of the bytes of the files.
        hashes: Perceptual hashes (N,), uint64, from `difference_hash`.
        thumbnails: Grey thumbnails (N, THUMBNAIL, THUMBNAIL), uint8.
        unreadable: Id and reason of each picture that could not be read.
    """

    ids: Sequence[str]
    digests: Sequence[bytes]
    hashes: np.ndarray
    thumbnails: np.ndarray
    unreadable: Sequence[tuple[str, str]]


def read_prints(images: ImageSet, stages: Stages, stage: str) -> Prints:
    """Read all pictures and compute their fingerprints; `stage` is the name shown for the progress."""

    def read(index: int) -> tuple[bytes, int, np.ndarray] | str:
        try:
            content = images.read_bytes(index)
            with decoded(content) as picture:
                return hashlib.sha256(content).digest(), difference_hash(picture), thumbnail(picture)
        except UnreadableImageError as error:
            return str(error)

    found: list[tuple[bytes, int, np.ndarray] | str] = []
    with stages.stage(stage, len(images)) as advance, ThreadPoolExecutor(max_workers=cores()) as threads:
        for start in range(0, len(images), READ_AHEAD):
            found += threads.map(read, range(start, min(start + READ_AHEAD, len(images))))
            advance(len(found) - start)
    good = [(item, *told) for item, told in zip(images.ids, found, strict=True) if not isinstance(told, str)]
    return Prints(
        [item for item, _, _, _ in good],
        [digest for _, digest, _, _ in good],
        np.array([look for _, _, look, _ in good], np.uint64),
        np.array([small for _, _, _, small in good], np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL),
        [(item, told) for item, told in zip(images.ids, found, strict=True) if isinstance(told, str)],
    )


def near_in(prints: Prints) -> list[list[Any]]:
    """Find near duplicates, with one picture for each group of exact duplicates."""
    rows = list(_first_rows(prints).values())
    pairs = zip(
        *(values.tolist() for values in near_duplicates(prints.hashes[rows], prints.thumbnails[rows])), strict=True
    )
    return sorted(([prints.ids[rows[a]], prints.ids[rows[b]], bits] for a, b, bits in pairs), key=_bits)


def shared_pictures(pool: Prints, other: Prints) -> dict[str, Any]:
    """Find duplicates between the pool and another set, with one picture for each group of exact duplicates."""
    of_pool, of_other = _first_rows(pool), _first_rows(other)
    exact = [[pool.ids[row], other.ids[of_other[key]]] for key, row in of_pool.items() if key in of_other]
    rows = list(of_pool.values())
    others = [row for key, row in of_other.items() if key not in of_pool]
    first, second, bits = near_duplicates(
        np.concatenate([pool.hashes[rows], other.hashes[others]]),
        np.concatenate([pool.thumbnails[rows], other.thumbnails[others]]),
    )
    across = (first < len(rows)) & (second >= len(rows))
    pairs = zip(first[across].tolist(), second[across].tolist(), bits[across].tolist(), strict=True)
    near = [[pool.ids[rows[a]], other.ids[others[b - len(rows)]], distance] for a, b, distance in pairs]
    return {"exact_duplicates": exact, "near_duplicates": sorted(near, key=_bits)}


def _bits(pair: list[Any]) -> int:
    return pair[2]


def _first_rows(prints: Prints) -> dict[bytes, int]:
    """Map each digest to the row of the first picture that has it."""
    rows: dict[bytes, int] = {}
    for row, digest in enumerate(prints.digests):
        rows.setdefault(digest, row)
    return rows
