"""Scores of all pairs of a large set, computed in blocks because the pairs are too many to list."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rsft.errors import InputError

ROWS, COLUMNS = 1024, 4096  # size of a block
BINS = 1 << 17  # histogram bins per unit of score; a power of two, so that no score is rounded into another bin
MARGIN = 8  # extra bins at each end, because rounding may take a cosine beyond 1
LEFT_OUT = np.float32(-2)  # marks entries that are not impostor comparisons; below every cosine
SAMPLED = 2048  # pictures on each side of the sample that predicts where the tail begins
MAX_GENUINE = 1 << 26


@dataclass(frozen=True)
class Tail:
    """The largest impostor scores, unordered, and a histogram of all impostor scores.

    Attributes:
        scores: (T,) float32 scores of the comparisons that were kept.
        first: (T,) int32 identity of one picture of each comparison.
        second: (T,) int32 identity of the other picture.
        copies: (T,) number of comparisons that each score stands for; all 1 if none was left out.
        thinned: Whether any comparison of the tail was left out.
        below: Lower end of the tail. Scores below it are counted in the histogram only.
        histogram: (E,) int64 number of impostor scores in each bin. The bins begin at `bin_edges()`.
    """

    scores: np.ndarray
    first: np.ndarray
    second: np.ndarray
    copies: np.ndarray
    thinned: bool
    below: float
    histogram: np.ndarray


def bin_edges() -> np.ndarray:
    """Return the lower edges (E,) float32 of the bins of the histogram, in ascending order."""
    return (np.arange(-BINS - MARGIN, BINS + MARGIN) / BINS).astype(np.float32)


def normalised(embeddings: np.ndarray) -> np.ndarray:
    """Scale embeddings (N, D) to length 1, as float32.

    Raises:
        InputError: If an embedding has length 0 or is not finite, so that it has no cosine.
    """
    # float64, because the squares may overflow float32 if training has wrecked the network
    lengths = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings, dtype=np.float64))[:, None]
    wrong = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(wrong):
        raise InputError(
            f"{len(wrong)} embeddings have no direction, such as row {wrong[0]} of length {lengths[wrong[0], 0]}: "
            "leave these pictures out, or check the model."
        )
    return (embeddings / lengths).astype(np.float32, copy=False)


def genuine_scores(unit: np.ndarray, identity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the scores of all genuine comparisons.

    Args:
        unit: (N, D) embeddings of length 1, sorted by identity.
        identity: (N,) int identity of each embedding, sorted.

    Returns:
        (G,) float32 scores, and (G,) int32 identity of each.

    Raises:
        InputError: If there are more than `MAX_GENUINE` genuine comparisons.
    """
    people, starts, sizes = np.unique(identity, return_index=True, return_counts=True)
    total = int((sizes * (sizes - 1) // 2).sum())
    if total > MAX_GENUINE:
        raise InputError(
            f"{total} genuine comparisons are more than {MAX_GENUINE}, the largest identity has {sizes.max()} "
            "pictures: keep fewer pictures of an identity."
        )
    scores, whose = [np.zeros(0, np.float32)], [np.zeros(0, np.int32)]
    for person, start, size in zip(people, starts, sizes, strict=True):
        if size > 1:
            own = unit[start : start + size]
            scores.append((own @ own.T)[np.triu_indices(size, 1)])
            whose.append(np.full(len(scores[-1]), person, np.int32))
    return np.concatenate(scores), np.concatenate(whose)


def impostor_blocks(unit: np.ndarray, identity: np.ndarray) -> Iterator[tuple[np.ndarray, slice, slice]]:
    """Yield blocks of scores that together hold every impostor comparison once.

    Entries that are not impostor comparisons, or that belong to another block, have the score `LEFT_OUT`.

    Args:
        unit: (N, D) embeddings of length 1, sorted by identity.
        identity: (N,) int identity of each embedding, sorted.

    Yields:
        The (R, C) float32 scores of a block, and the slices of its rows and columns in `unit`.
    """
    # row i is compared with the columns from others[i] on, which hold the identities after its own
    others = np.searchsorted(identity, identity, side="right")
    for top in range(0, len(unit), ROWS):
        rows = slice(top, min(top + ROWS, len(unit)))
        for left in range(int(others[top]), len(unit), COLUMNS):
            columns = slice(left, min(left + COLUMNS, len(unit)))
            block = unit[rows] @ unit[columns].T
            for row in np.flatnonzero(others[rows] > left):
                block[row, : others[top + row] - left] = LEFT_OUT
            yield block, rows, columns


def impostor_tail(
    unit: np.ndarray,
    identity: np.ndarray,
    sizes: np.ndarray,
    *,
    at_least: int,
    budget: int,
    below: float | None,
    generator: np.random.Generator,
) -> Tail:
    """Find the largest impostor scores, and count all impostor scores in a histogram.

    The tail consists of layers: the largest `sizes[0]` scores, the next ones up to `sizes[1]`, and so on. If the tail
    fits the budget, every layer is kept whole. Otherwise the comparisons of a layer are kept with equal probability,
    at most about `budget / L` of them, and those that are kept stand for the whole layer.

    Args:
        unit: (N, D) embeddings of length 1, sorted by identity.
        identity: (N,) int identity of each embedding, sorted.
        sizes: (L,) approximate number of scores down to the end of each layer, ascending.
        at_least: Number of largest scores that the tail must cover.
        budget: Number of comparisons up to which the tail is not thinned.
        below: Score down to which the tail must reach, or None.
        generator: Generator for the sample that predicts the tail and for the thinning.
    """
    guess = _sampled_scores(unit, identity, generator)
    share = np.minimum(1.0, sizes / _impostors(identity))
    while True:
        cuts = np.quantile(guess, 1 - share)
        cuts = np.where(share < 1, cuts, LEFT_OUT + 0.5)
        cuts[-1] = min(cuts[-1], cuts[-1] if below is None else np.nextafter(np.float32(below), np.float32(-2)))
        tail, found = _scan(unit, identity, cuts.astype(np.float32), sizes, budget, generator)
        if found >= at_least:
            return tail
        share[-1] = min(1.0, 2 * share[-1])  # the sample put the end of the tail too high


def _impostors(identity: np.ndarray) -> int:
    """Return the number of impostor comparisons."""
    pictures = np.bincount(identity).astype(object)
    return int((len(identity) ** 2 - (pictures**2).sum()) // 2)


def _sampled_scores(unit: np.ndarray, identity: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the scores of the impostor comparisons between two random sets of pictures."""
    rows, columns = (generator.permutation(len(unit))[:SAMPLED] for _ in range(2))
    scores = unit[rows] @ unit[columns].T
    return scores[identity[rows][:, None] != identity[columns]]


def _scan(
    unit: np.ndarray,
    identity: np.ndarray,
    cuts: np.ndarray,
    sizes: np.ndarray,
    budget: int,
    generator: np.random.Generator,
) -> tuple[Tail, int]:
    """Scan all blocks once; return the tail, and the number of scores at or above the last cut."""
    expected = np.diff(sizes, prepend=0)
    kept_share = np.ones(len(cuts))
    if sizes[-1] > budget:
        kept_share = np.minimum(1.0, budget / len(cuts) / np.maximum(expected, 1))
    histogram = np.zeros(2 * (BINS + MARGIN), np.int64)
    looked_at = np.zeros(len(cuts), np.int64)
    parts: list[tuple[np.ndarray, ...]] = []
    for block, rows, columns in impostor_blocks(unit, identity):
        flat = block.ravel()
        bins = np.floor(flat * np.float32(BINS)).astype(np.int32) + 2 * BINS  # LEFT_OUT is in bin 0
        histogram += np.bincount(bins, minlength=3 * BINS + MARGIN)[BINS - MARGIN :]
        hits = np.flatnonzero(flat >= cuts[-1])
        layer = np.searchsorted(-cuts, -flat[hits], side="left")
        looked_at += np.bincount(layer, minlength=len(cuts))
        if (kept_share < 1).any():
            chosen = generator.random(len(hits)) < kept_share[layer]
            hits, layer = hits[chosen], layer[chosen]
        row, column = np.divmod(hits, block.shape[1])
        parts.append(
            (
                flat[hits],
                identity[rows.start + row].astype(np.int32),
                identity[columns.start + column].astype(np.int32),
                layer.astype(np.int8),
            )
        )
    scores, first, second, layer = (np.concatenate(column) for column in zip(*parts, strict=True))
    kept = np.bincount(layer, minlength=len(cuts))
    copies = (looked_at / np.maximum(kept, 1))[layer]
    thinned = bool((kept < looked_at).any())
    return Tail(scores, first, second, copies, thinned, float(cuts[-1]), histogram), int(looked_at.sum())
