"""A fingerprint of a set of pictures that is taken without reading them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rsft.data.columns import BLOCK, Strings
from rsft.data.sources import Part, Row, Source

PROBES = 64


def set_fingerprint(ids: Strings, sources: Sequence[Source]) -> str:
    """Return 16 hexadecimal digits that tell apart sets of pictures; see `ImageSet.fingerprint`.

    Args:
        ids: (N,) ids of the pictures.
        sources: (N,) places of their bytes.
    """
    digest = hashlib.blake2b(digest_size=8)
    add_text(digest, ids)
    for row in np.unique(np.linspace(0, len(ids) - 1, PROBES).astype(int)) if len(ids) else ():
        digest.update(repr(_look(sources[row])).encode())
    return digest.hexdigest()


def ids_fingerprint(ids: Strings) -> str:
    """Return 16 hexadecimal digits that tell apart lists of ids, by the ids and their order alone."""
    digest = hashlib.blake2b(digest_size=8)
    add_text(digest, ids)
    return digest.hexdigest()


def add_text(digest: "hashlib._Hash | hashlib.blake2b", values: Strings) -> None:
    """Add text, in its order, to a digest."""
    digest.update(len(values).to_bytes(8, "little"))
    _, ends, letters = values.array.buffers()
    place = np.frombuffer(ends, np.int64)[values.array.offset :][: len(values) + 1]
    for start in range(0, len(values), BLOCK):  # the lengths, so that values which only join to the same text differ
        digest.update(np.diff(place[start : start + BLOCK + 1]).astype("<i8").tobytes())
    if letters is not None and len(values):
        digest.update(letters[int(place[0]) : int(place[-1])])


def _look(source: Source) -> tuple[int, ...]:
    """Return the size of a picture in bytes and, if it is a file, the time of its last change; -1 if it is missing."""
    if isinstance(source, Part):
        return (source.size,)
    if isinstance(source, Row):
        return (source.table.version,)
    if not isinstance(source, Path):
        return (len(source),)
    try:
        told = source.stat()
    except OSError:
        return (-1,)
    return (told.st_size, told.st_mtime_ns)
