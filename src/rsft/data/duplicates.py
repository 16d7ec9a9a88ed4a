"""Pictures that occur twice: the same bytes, or nearly the same look."""

import itertools

import numpy as np
from PIL import Image

HASH_BITS = 64
NEAR = 4  # bits in which near duplicates differ at the most
THUMBNAIL = 16  # pixels a side
# Of 28 pairs of LFW within 4 bits, the 7 that are duplicates correlate by .97 or more, the others by .89 or less.
ALIKE = 0.95
BLOCK = 1 << 11  # hashes of a bucket that are compared at a time


def difference_hash(image: np.ndarray) -> int:
    """64 bits: whether brightness rises from each of 8 x 9 cells to the next on its right (N. Krawetz, 2013).

    It hardly changes with size, compression, brightness or contrast; it does with cropping, rotation and mirroring.

    Args:
        image: (H, W, 3) uint8 RGB.

    >>> difference_hash(np.zeros((40, 40, 3), np.uint8))
    0
    """
    small = Image.fromarray(image).convert("L").resize((9, 8), Image.Resampling.BOX)
    cells = np.asarray(small, int)
    return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes(), "big")


def thumbnail(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB -> (THUMBNAIL, THUMBNAIL) uint8, grey."""
    return np.asarray(Image.fromarray(image).convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))


def near_duplicates(hashes: np.ndarray, thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs within `NEAR` bits whose thumbnails correlate by `ALIKE` or more; flat ones only with flat ones.

    The hash alone finds all of them quickly, but takes portraits before a dark wall for one another.

    Args:
        hashes: (N,) uint64, of `difference_hash`.
        thumbnails: (N, THUMBNAIL, THUMBNAIL) uint8.

    Returns:
        As `near_pairs`.
    """
    first, second, bits = near_pairs(hashes)
    flat = thumbnails.reshape(len(thumbnails), THUMBNAIL**2)
    correlation = np.array([_correlation(flat[a], flat[b]) for a, b in zip(first, second, strict=True)])
    alike = correlation >= ALIKE
    return first[alike], second[alike], bits[alike]


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length else float(not a.any() and not b.any())


def near_pairs(hashes: np.ndarray, most: int = NEAR) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of hashes that differ in at most so many bits.

    The bits are cut into `most + 1` bands: two hashes that differ in `most` bits agree in one band at least, so only
    those with a band in common are compared.

    Args:
        hashes: (N,) uint64.
        most: at least 0, below 64.

    Returns:
        (P,) index of the first, (P,) of the second, which is larger, and (P,) in how many bits they differ; sorted.

    >>> near_pairs(np.array([0b0000, 0b11111, 0b0101], np.uint64))
    (array([0, 1]), array([2, 2]), array([2, 3]))
    """
    edges = np.linspace(0, HASH_BITS, most + 2).round().astype(int)
    found = [np.zeros((0, 2), int)]
    for low, high in itertools.pairwise(edges):
        band = (hashes >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order], prepend=-1.0, append=np.inf))
        for start, end in itertools.pairwise(starts):
            if end - start > 1:
                found.extend(_near_in(hashes, order[start:end], most))
    pairs = np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1], _bits(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]])


def _near_in(hashes: np.ndarray, bucket: np.ndarray, most: int) -> list[np.ndarray]:
    """(P, 2) indices of near pairs within a bucket of indices, in blocks of rows."""
    found = []
    for start in range(0, len(bucket), BLOCK):
        rows = bucket[start : start + BLOCK]
        for other in range(start, len(bucket), BLOCK):
            columns = bucket[other : other + BLOCK]
            near = _bits(hashes[rows, None] ^ hashes[None, columns]) <= most
            if other == start:
                near = np.triu(near, 1)
            first, second = np.nonzero(near)
            found.append(np.column_stack([rows[first], columns[second]]))
    return found


def _bits(words: np.ndarray) -> np.ndarray:
    """How many bits of each uint64 are set."""
    one, two, four = (np.uint64(mask) for mask in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F))
    words = words - ((words >> np.uint64(1)) & one)
    words = (words & two) + ((words >> np.uint64(2)) & two)
    words = (words + (words >> np.uint64(4))) & four
    return ((words * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(int)
