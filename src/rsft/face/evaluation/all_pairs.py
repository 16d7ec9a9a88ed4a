"""AllPairs against everybody, scored in blocks: too many comparisons to be listed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rsft.errors import InputError

ROWS, COLUMNS = 1024, 4096  # of a block
BINS = 1 << 17  # of the histogram, for each unit of the score; a power of two, so that no score is rounded into another
MARGIN = 8  # bins beyond a cosine of 1, which rounding may exceed
LEFT_OUT = np.float32(-2)  # the score of what is no impostor comparison: below every cosine
SAMPLED = 2048  # pictures, of which scores are sampled to guess where the tail begins
MAX_GENUINE = 1 << 26


@dataclass(frozen=True)
class Tail:
    """The largest impostor scores, in no order, and how many scores lie where.

    Attributes:
        scores: (T,) float32, of the comparisons kept.
        first: (T,) int32 identity of the one picture.
        second: (T,) of the other.
        copies: (T,) how many comparisons each stands for; all 1 where none was left out.
        thinned: whether any was left out.
        below: scores below this one were not looked at.
        histogram: (E,) how many scores are in each bin, which begin at `bin_edges()`.
    """

    scores: np.ndarray
    first: np.ndarray
    second: np.ndarray
    copies: np.ndarray
    thinned: bool
    below: float
    histogram: np.ndarray


def bin_edges() -> np.ndarray:
    """(E,) float32 scores, rising, where the bins of the histogram begin."""
    return (np.arange(-BINS - MARGIN, BINS + MARGIN) / BINS).astype(np.float32)


def normalised(embeddings: np.ndarray) -> np.ndarray:
    """(N, D) -> the same of length 1, float32.

    Raises:
        InputError: one has length 0 or is not finite: it has no cosine.
    """
    # in float64, since squares of a network that training has wrecked do not fit float32
    lengths = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings, dtype=np.float64))[:, None]
    wrong = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(wrong):
        raise InputError(
            f"{len(wrong)} embeddings have no direction, such as row {wrong[0]} of length {lengths[wrong[0], 0]}: "
            "leave these pictures out, or check the model."
        )
    return (embeddings / lengths).astype(np.float32, copy=False)


def genuine_scores(unit: np.ndarray, identity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the comparisons within an identity: (G,) float32, and (G,) whose.

    Args:
        unit: (N, D) of length 1, those of an identity one after the other.
        identity: (N,) int, sorted.

    Raises:
        InputError: there are more than `MAX_GENUINE`.
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
    """Blocks that hold every impostor comparison once, and which rows and columns they are of.

    What is no impostor comparison, or one of another block, has the score `LEFT_OUT`. A block is overwritten by the
    next.

    Args:
        unit: (N, D) of length 1, those of an identity one after the other.
        identity: (N,) int, sorted.
    """
    # of row i, the columns from others[i] on are other people that were no row before
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
    """The largest impostor scores, and the histogram of all.

    The tail has one layer for each size: the largest so many, those that follow up to the next size, and so on. A layer
    is kept whole if the tail fits the budget. Otherwise each of its comparisons is kept with one probability, about
    `budget / layers` in all, and those kept stand for the layer.

    Args:
        unit: (N, D) of length 1, those of an identity one after the other.
        identity: (N,) int, sorted.
        sizes: (L,) rising: how many of the largest scores the layers end with, about.
        at_least: so many of the largest must be looked at.
        budget: how many comparisons may be kept without thinning.
        below: a score down to which the tail must reach.
        generator: of what is kept.
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
        share[-1] = min(1.0, 2 * share[-1])  # the sample was no good guide


def _impostors(identity: np.ndarray) -> int:
    pictures = np.bincount(identity).astype(object)
    return int((len(identity) ** 2 - (pictures**2).sum()) // 2)


def _sampled_scores(unit: np.ndarray, identity: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Scores of impostor comparisons between some pictures and some others."""
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
    """One pass over all blocks; also how many scores were at or above the last cut."""
    expected = np.diff(sizes, prepend=0)
    kept_share = np.ones(len(cuts))
    if sizes[-1] > budget:
        kept_share = np.minimum(1.0, budget / len(cuts) / np.maximum(expected, 1))
    histogram = np.zeros(2 * (BINS + MARGIN), np.int64)
    looked_at = np.zeros(len(cuts), np.int64)
    parts: list[tuple[np.ndarray, ...]] = []
    for block, rows, columns in impostor_blocks(unit, identity):
        flat = block.ravel()
        bins = np.floor(flat * np.float32(BINS)).astype(np.int32) + 2 * BINS  # that of LEFT_OUT is 0
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
