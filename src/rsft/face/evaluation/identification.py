"""1:N identification in the terms of ISO/IEC 19795: search a probe in a gallery of enrolled people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsft.errors import InputError
from rsft.face.evaluation.all_pairs import normalised
from rsft.face.evaluation.bootstrap import INSUFFICIENT, draw_identities, interval
from rsft.face.evaluation.rule_of_30 import FEW_PROBES, is_supported, note_for
from rsft.types import Interval

RANKS = (1, 5, 20)
FPIRS = (0.1, 0.01)
ENROLLED_FRACTION = 0.5
BLOCK_VALUES = 1 << 24


@dataclass(frozen=True)
class Enrolment:
    """The pictures in the gallery, and the probes that are searched in it.

    Attributes:
        gallery: (G,) row of the single gallery picture of each enrolled person.
        mated: (M,) rows of the mated probes, the other pictures of the enrolled people.
        non_mated: (K,) rows of the non-mated probes, the pictures of people who are not enrolled.
    """

    gallery: np.ndarray
    mated: np.ndarray
    non_mated: np.ndarray


@dataclass(frozen=True)
class Identification:
    """Hit rates and error rates of the searches.

    Attributes:
        hit_at_rank: Rank -> share of the mated probes whose mate is among that number of best candidates. In a tie, the
            mate is ranked last.
        fnir_at_fpir: FPIR -> share of the mated probes whose mate is not the best candidate or not above the threshold.
            The threshold is the lowest at which at most a share FPIR of the non-mated probes has a candidate above it.
        thresholds: FPIR -> threshold, for the FPIRs that the data support.
        gallery: Number of gallery entries, including distractors.
        distractors: Number of gallery entries that are the mate of no probe.
        probes_mated: Number of searches for a person who is enrolled.
        probes_non_mated: Number of searches for a person who is not enrolled.
    """

    hit_at_rank: Mapping[int, Interval]
    fnir_at_fpir: Mapping[float, Interval]
    thresholds: Mapping[float, float]
    gallery: int
    distractors: int
    probes_mated: int
    probes_non_mated: int

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary, with ranks and FPIRs as text."""
        return {
            "hit_at_rank": {str(rank): rate.to_dict() for rank, rate in self.hit_at_rank.items()},
            "fnir_at_fpir": {f"{fpir:g}": rate.to_dict() for fpir, rate in self.fnir_at_fpir.items()},
            "thresholds": {f"{fpir:g}": threshold for fpir, threshold in self.thresholds.items()},
            "gallery": self.gallery,
            "distractors": self.distractors,
            "probes_mated": self.probes_mated,
            "probes_non_mated": self.probes_non_mated,
        }


def enrol(identity: np.ndarray, *, fraction: float = ENROLLED_FRACTION, seed: int = 0) -> Enrolment:
    """Enrol the first picture of a random share of the people who have at least two pictures.

    Args:
        identity: (N,) int identity of every picture.
        fraction: Share of these people, in (0, 1]. With 1, only people with a single picture are non-mated.
        seed: Seed for the choice of people.

    Raises:
        InputError: If nobody has two pictures.
        ValueError: If `fraction` is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"enrol(fraction=...) needs a fraction above 0 and at most 1, got {fraction}.")
    people, first, pictures = np.unique(identity, return_index=True, return_counts=True)
    several = np.flatnonzero(pictures > 1)
    if not len(several):
        raise InputError(
            f"identification needs people with two pictures, one to enrol and one to search for: none of {len(people)} "
            "has."
        )
    count = max(1, round(fraction * len(several)))
    chosen = np.sort(np.random.default_rng(seed).permutation(several)[:count])
    gallery = first[chosen]
    enrolled = np.isin(identity, people[chosen])
    mated = np.setdiff1d(np.flatnonzero(enrolled), gallery)
    return Enrolment(gallery, mated, np.flatnonzero(~enrolled))


def identify(
    embeddings: np.ndarray,
    identity: np.ndarray,
    enrolment: Enrolment,
    *,
    distractors: np.ndarray | None = None,
    ranks: Sequence[int] = RANKS,
    fpirs: Sequence[float] = FPIRS,
    draws: int = 1000,
    seed: int = 0,
) -> Identification:
    """Search every probe in the gallery, and compute hit rates and FNIR with 95 % intervals.

    The intervals come from a bootstrap over the identities of the probes; the gallery is fixed. FNIR at an FPIR is
    "insufficient data" with fewer than 3 / FPIR non-mated probes, and carries a note with fewer than 30 / FPIR.

    Args:
        embeddings: (N, D) embeddings.
        identity: (N,) int identity of every picture.
        enrolment: Gallery and probes among these N pictures.
        distractors: (E, D) embeddings of further gallery entries, which show other people.
        ranks: Ranks, at least 1.
        fpirs: False positive identification rates, in (0, 1).
        draws: Number of bootstrap draws.
        seed: Seed for the bootstrap.

    Raises:
        InputError: If an embedding has length 0 or is not finite.
    """
    unit = normalised(embeddings)
    gallery = unit[enrolment.gallery]
    if distractors is not None and len(distractors):
        gallery = np.concatenate([gallery, normalised(distractors)])
    place = {person: row for row, person in enumerate(identity[enrolment.gallery].tolist())}
    mates = np.array([place[person] for person in identity[enrolment.mated].tolist()], int)
    mate_scores, better = _search(unit[enrolment.mated], gallery, mates)
    best, _ = _search(unit[enrolment.non_mated], gallery, None)
    generator = np.random.default_rng(seed)
    of_mated, of_non_mated = (
        _draws(identity[rows], draws, generator) for rows in (enrolment.mated, enrolment.non_mated)
    )
    hits = {rank: _weighted(better < rank, of_mated) for rank in ranks}
    thresholds, fnir = {}, {}
    for fpir in fpirs:
        if not is_supported(fpir, len(best)):
            fnir[fpir] = INSUFFICIENT
            continue
        drawn = _thresholds(best, of_non_mated, fpir)
        # one draw at a time, because (1 + B, M) values at once may not fit into memory
        rates = np.array(
            [
                _weighted((better > 0) | (mate_scores <= threshold), weight[None])[0]
                for threshold, weight in zip(drawn, of_mated, strict=True)
            ]
        )
        thresholds[fpir] = float(drawn[0])
        fnir[fpir] = interval(rates[0], rates[1:], note_for(fpir, len(best), FEW_PROBES))
    return Identification(
        {rank: interval(rates[0], rates[1:]) for rank, rates in hits.items()},
        fnir,
        thresholds,
        len(gallery),
        0 if distractors is None else len(distractors),
        len(mate_scores),
        len(best),
    )


def _search(probes: np.ndarray, gallery: np.ndarray, mates: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Score probes against the gallery.

    Returns:
        (P,) score of the mate, or the best score if `mates` is None; and (P,) the number of other entries that score at
        least as high.
    """
    scores, better = np.empty(len(probes), np.float32), np.empty(len(probes), int)
    block = max(1, BLOCK_VALUES // len(gallery))
    for start in range(0, len(probes), block):
        part = slice(start, start + block)
        block_scores = probes[part] @ gallery.T
        if mates is None:
            scores[part] = block_scores.max(1)
        else:
            scores[part] = block_scores[np.arange(len(block_scores)), mates[part]]
        better[part] = (block_scores >= scores[part][:, None]).sum(1) - 1
    return scores, better


def _draws(identity: np.ndarray, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Return how often each probe counts (1 + B, P): once, and then as often as its identity is drawn."""
    people, whose = np.unique(identity, return_inverse=True)
    return draw_identities(len(people), draws, generator)[:, whose]


def _weighted(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean (W,) of values (P,) under each row of weights (W, P)."""
    return weights @ values / weights.sum(1)


def _thresholds(best: np.ndarray, weights: np.ndarray, fpir: float) -> np.ndarray:
    """Return the lowest score above which at most a share `fpir` of the weight lies, for each row of weights: (W,)."""
    order = np.argsort(-best, kind="stable")
    cumulative = np.cumsum(weights[:, order], axis=1)
    at = (cumulative <= fpir * cumulative[:, -1:]).sum(1).clip(max=len(best) - 1)
    return best[order][at]
