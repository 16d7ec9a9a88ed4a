import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rsft.errors import InputError
from rsft.face.evaluation.pairs import PairList, list_all_pairs
from rsft.face.evaluation.trials import Trial, cosine_scores
from rsft.face.evaluation.verification import tar_in_order, tars, verify


def trial(people: int, pictures: int, separation: float, seed: int = 0) -> Trial:
    """Return scores N(separation, 1) of genuine pairs and N(0, 1) of impostor pairs."""
    pairs = list_all_pairs(np.repeat(np.arange(people), pictures))
    scores = np.random.default_rng(seed).normal(size=len(pairs.a)) + separation * pairs.genuine
    return Trial(pairs, {"model": scores.astype(np.float32)})


def plain_tar(scores: np.ndarray, genuine: np.ndarray, fmr: float) -> float:
    """Return the TAR by its definition: the best of all thresholds whose FMR is at most the requested one."""
    thresholds = [threshold for threshold in scores[~genuine] if (scores[~genuine] > threshold).mean() <= fmr]
    return max((scores[genuine] > threshold).mean() for threshold in thresholds)


@given(st.integers(0, 1000), st.sampled_from([0.01, 0.1]))
def test_tar_equals_its_definition_and_the_fmr_is_never_exceeded(seed: int, fmr: float) -> None:
    some = trial(12, 3, 1.5, seed)
    scores, genuine = some.values["model"].round(1), some.pairs.genuine  # rounding makes many ties
    result = verify([Trial(some.pairs, {"model": scores})], fmrs=[fmr], draws=2).systems["model"]
    assert result.tar_at_fmr[fmr].value == pytest.approx(plain_tar(scores, genuine, fmr))
    assert (scores[~genuine] > result.thresholds[fmr]).mean() <= fmr


def test_an_fmr_may_be_reached_exactly() -> None:
    """Of ten impostors, one may lie above the threshold at FMR .1 and three at .3: the threshold is the next score."""
    pairs = list_all_pairs([0, 0, 1, 2, 3])  # one genuine, nine impostors
    pairs = PairList(np.append(pairs.a, 1), np.append(pairs.b, 4), pairs.identity)
    genuine = pairs.genuine
    scores = np.where(genuine, 0.85, 0.0)
    scores[~genuine] = np.arange(10) / 10  # up to .9
    trial = Trial(pairs, {"model": scores})
    result = verify([trial], fmrs=[0.1, 0.3], draws=2).systems["model"]
    assert result.thresholds == {0.1: 0.8, 0.3: pytest.approx(0.6)}
    rates = trial.scores("model", [0.1, 0.3])
    assert [rates.threshold(fmr) for fmr in (0.1, 0.3)] == [0.8, pytest.approx(0.6)]
    found, thresholds = tars(rates, np.ones((1, 4), np.float32), [0.1, 0.3])
    assert found.tolist() == [[1.0, 1.0]]  # .85 matches at threshold .8, but not at .9
    assert thresholds[0].tolist() == [0.8, pytest.approx(0.6)]
    order = np.argsort(-scores)
    assert tar_in_order(genuine[order], np.ones(11), [0.1]) == 1.0
    assert tar_in_order(genuine[order], np.ones(11), [0.09]) == 0.0


def test_tar_and_eer_of_known_distributions() -> None:
    result = verify([trial(150, 4, 2.0)], fmrs=[0.01], draws=2).systems["model"]
    expected = stats.norm.sf(stats.norm.isf(0.01) - 2)
    assert result.tar_at_fmr[0.01].value == pytest.approx(expected, abs=5 * np.sqrt(expected * (1 - expected) / 900))
    assert result.eer == pytest.approx(stats.norm.sf(1), abs=5 * np.sqrt(0.16 * 0.84 / 900))


def test_intervals_cover_the_truth() -> None:
    """Of 100 sets, about 95 intervals should hold the true TAR; fewer than 85 has probability below 1e-4."""
    truth = stats.norm.sf(stats.norm.isf(0.1) - 1.5)
    covered = 0
    for seed in range(100):
        tar = verify([trial(30, 3, 1.5, seed)], fmrs=[0.1], draws=200, seed=seed).systems["model"].tar_at_fmr[0.1]
        assert tar.low is not None
        assert tar.high is not None
        covered += tar.low <= truth <= tar.high
    assert covered >= 85


def test_unsupported_rates_are_insufficient_data() -> None:
    result = verify([trial(10, 3, 1.0)], fmrs=[0.1, 0.01, 0.001], draws=2).systems["model"]  # 405 impostors
    assert result.tar_at_fmr[0.1].note is None
    assert "30 / FMR" in (result.tar_at_fmr[0.01].note or "")
    assert result.tar_at_fmr[0.001].value is None
    assert result.tar_at_fmr[0.001].note == "insufficient data"


def test_a_difference_is_paired() -> None:
    """Equal scores, and scores in the same order, differ by exactly 0 in every draw."""
    base = trial(30, 3, 1.5)
    scores = base.values["model"]
    report = verify([Trial(base.pairs, {"a": scores, "b": scores, "c": scores * 2 + 1})], fmrs=[0.1])
    for other in ("b", "c"):
        difference = report.difference("a", other, 0.1)
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)


def test_each_trial_has_its_own_threshold() -> None:
    """A constant that is added to all scores of one trial changes nothing."""
    one, two = trial(20, 3, 1.5, 0), trial(20, 3, 1.5, 1)
    moved = Trial(two.pairs, {"model": two.values["model"] + 100})
    plain, shifted = (verify([one, t], fmrs=[0.1], draws=2).systems["model"].tar_at_fmr[0.1] for t in (two, moved))
    assert plain.value == shifted.value


def test_accuracy_takes_each_threshold_from_the_other_folds() -> None:
    """Scores are higher in fold 1. A fold's own best threshold is always right, that of the other on half the pairs."""
    identity = np.array([0, 0, 1, 1])
    pairs = PairList(np.array([0, 0, 0, 0]), np.array([1, 2, 1, 2]), identity, fold=np.array([0, 0, 1, 1]))
    result = verify([Trial(pairs, {"model": np.array([1.0, 0.0, 11.0, 10.0])})], draws=2).systems["model"]
    assert result.accuracy is not None
    assert result.accuracy.value == 0.5


def test_comparisons_of_a_single_kind_are_refused() -> None:
    with pytest.raises(InputError, match="at least two identities"):
        verify([Trial(list_all_pairs([0, 0]), {"model": np.array([1.0])})])


@given(st.integers(0, 1000))
def test_a_whole_weight_counts_like_that_number_of_copies(seed: int) -> None:
    generator = np.random.default_rng(seed)
    genuine = generator.permutation(40) % 2 == 0  # by descending score
    weights = np.where(genuine, generator.integers(1, 4, 40), 1)
    expected = tar_in_order(np.repeat(genuine, weights), np.ones(weights.sum()), fmrs=[0.1, 0.3])
    assert tar_in_order(genuine, weights, [0.1, 0.3]) == pytest.approx(expected)


@pytest.mark.parametrize("values", [400, 1 << 24])
def test_cosines_by_a_matrix_product_equal_those_of_single_pairs(values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsft.face.evaluation.trials.BLOCK_VALUES", values)
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(90, 8)).astype(np.float32)
    every = list_all_pairs(np.arange(90))
    some = generator.choice(len(every.a), 30, replace=False)  # unordered, and too few for a matrix product
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    for rows in (np.arange(len(every.a)), some):
        pairs = PairList(every.a[rows], every.b[rows], every.identity)
        expected = np.array([unit[a] @ unit[b] for a, b in zip(pairs.a, pairs.b, strict=True)])
        np.testing.assert_allclose(cosine_scores(embeddings, pairs), expected, atol=1e-6)
