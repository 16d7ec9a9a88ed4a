"""Search for near duplicates: pictures with different bytes that look nearly the same."""

import itertools

import numpy as np
from PIL import Image

HASH_BITS = 64
NEAR = 4  # maximum number of bits in which the hashes of near duplicates differ
THUMBNAIL = 16  # pixels per side
# LFW has 28 pairs within 4 bits: the 7 true duplicates correlate at 0.97 or more, the others at 0.89 or less.
ALIKE = 0.95
BLOCK = 1 << 11  # number of hashes of a bucket that are compared at a time


def difference_hash(image: np.ndarray) -> int:
    """Compute the 64-bit difference hash of a picture (N. Krawetz, 2013).

    The picture is averaged to 8 rows of 9 grey cells. Each bit states whether a cell is darker than the next cell to
    its right. Size, compression, brightness and contrast hardly change the hash; cropping, rotation and mirroring do.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        The hash, an integer in [0, 2^64).

    >>> difference_hash(np.zeros((40, 40, 3), np.uint8))
    0
    """
    small = Image.fromarray(image).convert("L").resize((9, 8), Image.Resampling.BOX)
    cells = np.asarray(small, int)
    return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes(), "big")


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Shrink a picture (H, W, 3) uint8 RGB to a grey thumbnail (THUMBNAIL, THUMBNAIL) uint8."""
    return np.asarray(Image.fromarray(image).convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))


def near_duplicates(hashes: np.ndarray, thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the pairs of pictures that look nearly the same.

    The hashes of a pair differ in at most `NEAR` bits, and its thumbnails have a correlation of at least `ALIKE`. A
    thumbnail of a single grey level matches only another such thumbnail. The hash alone is fast and finds all
    duplicates, but it also pairs different portraits in front of a dark wall.

    Args:
        hashes: (N,) uint64, from `difference_hash`.
        thumbnails: (N, THUMBNAIL, THUMBNAIL) uint8, from `thumbnail`.

    Returns:
        Three (P,) integer arrays: the index of the first picture of each pair, the larger index of the second, and the
        number of bits in which their hashes differ; sorted by the first and then the second index.
    """
    first, second, bits = near_pairs(hashes)
    flat = thumbnails.reshape(len(thumbnails), THUMBNAIL**2)
    correlation = np.array([_correlation(flat[a], flat[b]) for a, b in zip(first, second, strict=True)])
    alike = correlation >= ALIKE
    return first[alike], second[alike], bits[alike]


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Compute Pearson's correlation of two vectors: 1 if both are constant, 0 if only one is."""
    a, b = a - a.mean(), b - b.mean()
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length else float(not a.any() and not b.any())


def near_pairs(hashes: np.ndarray, most: int = NEAR) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find all pairs of hashes that differ in at most `most` bits.

    The bits are split into `most + 1` bands. Two hashes that differ in at most `most` bits agree in at least one band,
    so only hashes that share a band are compared.

    Args:
        hashes: (N,) uint64.
        most: Maximum number of differing bits, at least 0 and below 64.

    Returns:
        Three (P,) integer arrays: the index of the first hash of each pair, the larger index of the second, and the
        number of bits in which they differ; sorted by the first and then the second index.

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
    """Find the near pairs (P, 2) within a bucket of indices, one block of hashes at a time to limit memory."""
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
    """Count the bits that are set in each uint64."""
    one, two, four = (np.uint64(mask) for mask in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F))
    words = words - ((words >> np.uint64(1)) & one)
    words = (words & two) + ((words >> np.uint64(2)) & two)
    words = (words + (words >> np.uint64(4))) & four
    return ((words * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(int)
