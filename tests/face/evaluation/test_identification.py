import numpy as np
import pytest
from scipy import stats

from rsft.errors import InputError
from rsft.face.evaluation.identification import Enrolment, enrol, identify


def people(sizes: list[int], noise: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings around one centre per person, and the identity of each."""
    generator = np.random.default_rng(seed)
    identity = np.repeat(np.arange(len(sizes)), sizes)
    return generator.normal(size=(len(sizes), 16))[identity] + noise * generator.normal(
        size=(len(identity), 16)
    ), identity


def plain(
    embeddings: np.ndarray, identity: np.ndarray, enrolment: Enrolment, distractors: np.ndarray, fpir: float
) -> tuple[list[int], float]:
    """Compute the ranks of the mates and the FNIR, one probe at a time."""
    unit = [row / np.linalg.norm(row) for row in embeddings]
    gallery = [(identity[row], unit[row]) for row in enrolment.gallery]
    gallery += [(-1, row / np.linalg.norm(row)) for row in distractors]
    best = sorted((max(unit[row] @ entry for _, entry in gallery) for row in enrolment.non_mated), reverse=True)
    threshold = best[int(fpir * len(best))]
    ranks, missed = [], 0
    for row in enrolment.mated:
        mate = next(unit[row] @ entry for person, entry in gallery if person == identity[row])
        rank = 1 + sum(unit[row] @ entry > mate for person, entry in gallery if person != identity[row])
        ranks.append(rank)
        missed += rank > 1 or mate <= threshold
    return ranks, missed / len(ranks)


@pytest.mark.parametrize("extra", [0, 25])
def test_rates_equal_a_plain_loop(extra: int) -> None:
    embeddings, identity = people([4] * 30 + [1] * 10)
    distractors = np.random.default_rng(1).normal(size=(extra, 16))
    enrolment = enrol(identity, seed=3)
    found = identify(embeddings, identity, enrolment, distractors=distractors, draws=20)
    ranks, fnir = plain(embeddings, identity, enrolment, distractors, 0.1)
    for rank, rate in found.hit_at_rank.items():
        assert rate.value == pytest.approx(np.mean([r <= rank for r in ranks]))
    assert found.fnir_at_fpir[0.1].value == pytest.approx(fnir)
    assert found.fnir_at_fpir[0.01].note == "insufficient data"
    assert "30 / FPIR" in (found.fnir_at_fpir[0.1].note or "")
    assert (found.gallery, found.distractors) == (15 + extra, extra)
    assert (found.probes_mated, found.probes_non_mated) == (45, 70)


def test_distractors_make_identification_harder() -> None:
    embeddings, identity = people([3] * 40, noise=1.5)
    enrolment = enrol(identity)
    distractors = np.random.default_rng(1).normal(size=(500, 16))
    alone, among = (identify(embeddings, identity, enrolment, distractors=d, draws=2) for d in (None, distractors))
    assert (among.hit_at_rank[1].value or 0) < (alone.hit_at_rank[1].value or 0) - 0.1
    assert among.thresholds[0.1] > alone.thresholds[0.1]


def test_random_embeddings_are_identified_by_chance() -> None:
    """The mate has rank 1 in one of G searches, and FNIR is 1 - FPIR / G, within 5 standard errors."""
    generator = np.random.default_rng(0)
    identity = np.repeat(np.arange(400), 6)
    found = identify(generator.normal(size=(2400, 64)), identity, enrol(identity, fraction=0.05), draws=2)
    probes = found.probes_mated
    for rank in (1, 5):
        chance = rank / found.gallery
        error = np.sqrt(chance * (1 - chance) / probes)
        assert found.hit_at_rank[rank].value == pytest.approx(chance, abs=5 * error)
    missed = 1 - 0.1 / found.gallery
    low = stats.binom.ppf(1e-6, probes, missed) / probes
    assert low <= (found.fnir_at_fpir[0.1].value or 0) <= 1


def test_a_tie_counts_against_the_mate() -> None:
    embeddings = np.array([[1.0, 0], [1, 0], [1, 0], [1, 0], [0, 1]])
    identity = np.array([0, 0, 1, 1, 2])
    found = identify(embeddings, identity, enrol(identity, fraction=1), draws=2)
    assert found.hit_at_rank[1].value == 0
    assert found.hit_at_rank[5].value == 1


def test_the_seed_decides_who_is_enrolled() -> None:
    identity = np.repeat(np.arange(30), 3)
    one, again, other = (enrol(identity, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.gallery, again.gallery)
    assert not np.array_equal(one.gallery, other.gallery)
    everything = np.sort(np.concatenate([one.gallery, one.mated, one.non_mated]))
    np.testing.assert_array_equal(everything, np.arange(90))
    assert not set(identity[one.non_mated]) & set(identity[one.gallery])
    assert set(identity[one.mated]) == set(identity[one.gallery])


def test_intervals_cover_the_rate_of_the_population() -> None:
    """The probes surround 60 fixed gallery entries, and the truth is measured on many more probes.

    Fewer than 50 covering intervals of 60 have probability below 1e-4.
    """
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(60, 8))

    def rank_one(pictures: int, seed: int) -> tuple[float, float, float]:
        identity = np.repeat(np.arange(60), pictures + 1)
        noise = np.random.default_rng(seed).normal(size=(len(identity), 8))
        noise[:: pictures + 1] = 0  # the gallery is fixed
        found = identify(centres[identity] + noise, identity, enrol(identity, fraction=1), draws=200).hit_at_rank[1]
        assert found.value is not None
        assert found.low is not None
        assert found.high is not None
        return found.value, found.low, found.high

    truth = rank_one(2000, 1)[0]
    covered = sum(low <= truth <= high for _, low, high in (rank_one(3, seed) for seed in range(2, 62)))
    assert covered >= 50


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="none of 3 has"):
        enrol(np.arange(3))
    with pytest.raises(ValueError, match="above 0 and at most 1, got 0"):
        enrol(np.array([0, 0]), fraction=0)
