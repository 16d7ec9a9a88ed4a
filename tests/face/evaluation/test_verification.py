from collections.abc import Sequence
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rsft.errors import InputError
from rsft.face.evaluation.bootstrap import draw_identities, interval, interval_around, pair_counts
from rsft.face.evaluation.folds import best_threshold, fold_accuracy, folds_of
from rsft.face.evaluation.pairs import PairList, list_all_pairs
from rsft.face.evaluation.rule_of_30 import is_supported, note_for
from rsft.face.evaluation.scores import Scores
from rsft.face.evaluation.trials import Trial, cosine_scores
from rsft.face.evaluation.verification import identity_weights, tar_in_order, tars, verify
from rsft.types import Interval


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


def test_trials_count_by_their_genuine_comparisons() -> None:
    """TAR and EER of two trials are the means of those of each, weighted so; thresholds are plain means."""
    trials = [trial(30, 2, 1.5, 0), trial(20, 4, 0.5, 1)]  # 30 and 120 genuine comparisons
    both = verify(trials, fmrs=[0.1], draws=5).systems["model"]
    each = [verify([one], fmrs=[0.1], draws=5).systems["model"] for one in trials]
    tar = [one.tar_at_fmr[0.1].value or 0.0 for one in each]
    assert both.tar_at_fmr[0.1].value == pytest.approx(0.2 * tar[0] + 0.8 * tar[1])
    assert both.eer == pytest.approx(0.2 * each[0].eer + 0.8 * each[1].eer)
    assert both.thresholds[0.1] == pytest.approx((each[0].thresholds[0.1] + each[1].thresholds[0.1]) / 2)
    assert (both.pairs_genuine, both.pairs_impostor) == (150, sum(one.pairs_impostor for one in each))
    assert (both.accuracy, both.folds) == (None, None)


def test_a_rate_needs_enough_impostors_in_every_trial() -> None:
    few, many = trial(5, 2, 1.0), trial(60, 2, 1.0)  # 40 and 7,080 impostor comparisons
    result = verify([many, few], fmrs=[0.1, 0.01], draws=5).systems["model"]
    assert "30 / FMR" in (result.tar_at_fmr[0.1].note or "")
    assert result.tar_at_fmr[0.01] == Interval(None, None, None, "insufficient data")


def test_a_difference_is_the_one_tar_less_the_other() -> None:
    base = trial(40, 3, 1.5)
    better = base.values["model"] + base.pairs.genuine
    report = verify([Trial(base.pairs, {"a": better, "b": base.values["model"]})], fmrs=[0.1, 1e-5], draws=100)
    tar = {name: report.systems[name].tar_at_fmr[0.1].value or 0.0 for name in ("a", "b")}
    difference = report.difference("a", "b", 0.1)
    assert difference.value == pytest.approx(tar["a"] - tar["b"])
    assert (difference.low or 0) > 0
    assert report.difference("b", "a", 0.1).value == pytest.approx(tar["b"] - tar["a"])
    assert report.difference("a", "b", 1e-5) == Interval(None, None, None, "insufficient data")
    assert report.differences("a", "b") == {
        "0.1": difference.to_dict(),
        "1e-05": report.difference("a", "b", 1e-5).to_dict(),
    }


def test_a_verification_is_json_with_rates_as_text() -> None:
    result = verify([trial(30, 3, 1.5)], fmrs=[0.1, 0.01], draws=5).systems["model"]
    assert result.to_dict() == {
        "tar_at_fmr": {"0.1": result.tar_at_fmr[0.1].to_dict(), "0.01": result.tar_at_fmr[0.01].to_dict()},
        "eer": result.eer,
        "accuracy": None,
        "folds": None,
        "thresholds": {"0.1": result.thresholds[0.1], "0.01": result.thresholds[0.01]},
        "pairs_genuine": 90,
        "pairs_impostor": 90 * 89 // 2 - 90,
        "people": 30,
    }


@pytest.mark.parametrize("seed", range(5))
def test_drawn_people_count_with_all_their_comparisons(seed: int) -> None:
    """By the slow way: each comparison as many times as its people were drawn, impostors by the product."""
    some = trial(8, 3, 1.5, seed)
    generator = np.random.default_rng(seed)
    weights = identity_weights(some.pairs, 10, generator)
    assert weights.shape == (11, 8)
    assert (weights[0] == 1).all()
    assert (weights.sum(1) == 8).all()
    values, pairs = some.values["model"], some.pairs
    found, thresholds = tars(some.scores("model", [0.05, 0.2]), weights, [0.05, 0.2])
    for row, weight in enumerate(weights):
        genuine, impostor = [], []
        for a, b, score in zip(pairs.a, pairs.b, values, strict=True):
            first, second = pairs.identity[[a, b]]
            if first == second:
                genuine += [score] * int(weight[first])
            else:
                impostor += [score] * int(weight[first] * weight[second])
        for column, fmr in enumerate((0.05, 0.2)):
            threshold = min(t for t in impostor if np.mean(np.array(impostor) > t) <= fmr)
            assert thresholds[row, column] == pytest.approx(threshold)
            assert found[row, column] == pytest.approx(np.mean(np.array(genuine) > threshold))


def test_a_draw_without_genuine_comparisons_has_no_tar() -> None:
    pairs = list_all_pairs([0, 0, 1, 2, 3])
    scores = Trial(pairs, {"model": np.arange(10.0)}).scores("model", [0.1])
    found, _ = tars(scores, np.array([[1, 1, 1, 1], [0, 2, 1, 1]], np.float32), [0.1])
    assert np.isnan(found[:, 0]).tolist() == [False, True]


@pytest.mark.parametrize("genuine", [True, False])
def test_the_mean_tar_needs_weight_of_both_kinds(genuine: bool) -> None:
    assert np.isnan(tar_in_order(np.full(3, genuine), np.ones(3), [0.1]))
    kinds = np.array([True, False, True])
    assert np.isnan(tar_in_order(kinds, np.where(kinds == genuine, 1.0, 0.0), [0.1]))


def test_people_are_drawn_with_replacement_each_as_often() -> None:
    counts = draw_identities(10, 4000, np.random.default_rng(0))
    assert (counts.shape, counts.dtype) == ((4001, 10), np.float32)
    assert counts[0].tolist() == [1] * 10
    assert set(counts.sum(1)) == {10}
    # binomial of 10 tries at .1: variance .9
    assert np.abs(counts[1:].mean(0) - 1).max() < 5 * np.sqrt(0.9 / 4000)
    assert np.abs(counts[1:].var(0) - 0.9).max() < 0.2
    assert draw_identities(0, 3, np.random.default_rng(0)).shape == (4, 0)


def test_an_interval_is_the_middle_95_percent_of_the_draws_that_could_be_scored() -> None:
    draws = np.random.default_rng(0).permutation(np.arange(1001.0))
    found = interval(7.0, np.append(draws, [np.nan] * 10), "a note")
    assert (found.value, found.low, found.high) == pytest.approx((7, 25, 975))
    assert found.note == "a note"
    found = interval_around(7.0, draws)
    assert (found.value, found.low, found.high) == pytest.approx((7, 32, 982))
    assert found.note is None
    assert interval_around(7.0, draws[:0]) == Interval(None, None, None, "insufficient data")


def test_a_genuine_pair_counts_as_often_as_its_person_and_an_impostor_by_the_product() -> None:
    first, second = np.array([[2.0, 3.0], [0.0, 1.0]]), np.array([[2.0, 5.0], [0.0, 4.0]])
    assert pair_counts(np.array([True, False]), first, second).tolist() == [[2.0, 15.0], [0.0, 4.0]]


@given(st.integers(0, 1000))
def test_the_best_threshold_is_right_as_often_as_any(seed: int) -> None:
    """By the slow way over all scores, many of them equal; it lies halfway between two scores."""
    generator = np.random.default_rng(seed)
    scores, genuine = generator.integers(0, 8, 20) / 10, generator.random(20) < 0.5
    threshold = best_threshold(scores, genuine)
    levels = np.unique(scores)
    right = {level: int(((scores > level) == genuine).sum()) for level in (-np.inf, *levels)}
    assert ((scores > threshold) == genuine).sum() == max(right.values())
    between = [float(pair.mean()) for pair in np.lib.stride_tricks.sliding_window_view(levels, 2)]
    assert min(abs(threshold - level) for level in (levels[-1], *between)) < 1e-12 or threshold == -np.inf


def test_the_best_threshold_accepts_nothing_or_everything_where_that_is_right() -> None:
    scores = np.array([0.1, 0.9, 0.5])
    assert best_threshold(scores, np.zeros(3, bool)) == 0.9
    assert best_threshold(scores, np.ones(3, bool)) == -np.inf


def test_accuracy_counts_drawn_people_and_keeps_the_share_of_genuine_comparisons() -> None:
    """Right are both genuine comparisons of person 0, none of person 1, and all impostors; one draw has no person 1."""
    identity = np.array([0, 0, 1, 1, 2, 3])
    a, b = np.array([0, 2, 0, 2, 0, 2, 0, 2]), np.array([1, 3, 4, 5, 4, 5, 1, 3])
    pairs = PairList(a, b, identity, fold=np.array([0, 0, 0, 1, 1, 1, 1, 1]))
    scores = np.array([0.9, 0.1, 0.2, 0.2, 0.2, 0.2, 0.9, 0.1])
    weights = np.array([[1, 1, 1, 1], [2, 0, 1, 1], [0, 2, 1, 1]], np.float32)
    found = fold_accuracy(scores, pairs, weights)
    assert found is not None
    # half of the comparisons are genuine: .5 * 2 / 4 + .5 by the data, 1 with person 0 alone, .5 with person 1 alone
    assert found.value == pytest.approx(0.75)
    assert (found.low, found.high) == pytest.approx((0.5 + 0.5 * 0.025, 0.5 + 0.5 * 0.975))
    assert fold_accuracy(scores, PairList(pairs.a, pairs.b, identity), weights) is None


def test_accuracy_and_folds_are_those_of_a_single_trial() -> None:
    pairs = PairList(
        np.array([0, 0, 0, 0]), np.array([1, 2, 1, 2]), np.array([0, 0, 1, 1]), fold=np.array([0, 0, 1, 1])
    )
    folded = Trial(pairs, {"model": np.array([1.0, 0.0, 1.0, 0.0])})
    one, two = (verify([folded] * count, draws=2).systems["model"] for count in (1, 2))
    assert one.accuracy is not None
    assert one.folds is not None
    assert one.accuracy.value == one.folds.exact.mean == 1
    assert (two.accuracy, two.folds) == (None, None)


def test_three_rates_a_thousand_draws_and_seed_zero_are_the_defaults() -> None:
    some = trial(25, 2, 1.5)
    plain, said = verify([some]), verify([some], fmrs=[0.01, 0.001, 0.0001], draws=1000, seed=0)
    assert plain.systems == said.systems
    assert list(plain.draws["model"]) == [0.01, 0.001, 0.0001]
    assert all(
        draws.shape == (1000,) and (draws == said.draws["model"][fmr]).all()
        for fmr, draws in plain.draws["model"].items()
    )


def test_a_difference_keeps_the_note_on_its_rate() -> None:
    base = trial(40, 3, 1.5)  # 7,020 impostor comparisons
    report = verify(
        [Trial(base.pairs, {"a": base.values["model"], "b": -base.values["model"]})], fmrs=[0.001], draws=20
    )
    assert report.difference("a", "b", 0.001).note == report.systems["a"].tar_at_fmr[0.001].note is not None


def test_genuine_scores_below_all_impostors_have_a_tar_of_zero() -> None:
    pairs = list_all_pairs([0, 0, 1, 1, 2])
    scores = Trial(pairs, {"model": np.where(pairs.genuine, -1.0, np.arange(10.0))}).scores("model", [0.1, 0.5])
    assert tars(scores, np.ones((1, 3), np.float32), [0.1, 0.5])[0].tolist() == [[0.0, 0.0]]
    last = np.array([False, True])
    assert [tar_in_order(last, np.ones(2), [fmr]) for fmr in (0.5, 1.0)] == [0.0, 1.0]
    assert tar_in_order(~last, np.ones(2), [0.5]) == 1.0


def test_the_interval_is_that_of_the_draws_alone() -> None:
    report = verify([trial(30, 3, 1.5)], fmrs=[0.1], draws=20)
    tar = report.systems["model"].tar_at_fmr[0.1]
    assert (tar.low, tar.high) == pytest.approx(tuple(np.quantile(report.draws["model"][0.1], [0.025, 0.975])))


def test_a_draw_of_one_person_alone_takes_the_lowest_threshold() -> None:
    """It has no impostor comparisons, so that no rate is exceeded."""
    pairs = list_all_pairs([0, 0, 1, 2, 3])
    values = np.where(pairs.genuine, 5.0, np.arange(10.0))
    found, thresholds = tars(
        Trial(pairs, {"model": values}).scores("model", [0.1]),
        np.array([[1, 1, 1, 1], [4, 0, 0, 0]], np.float32),
        [0.1],
    )
    assert (found[1, 0], thresholds[1, 0]) == (1.0, values[~pairs.genuine].min())


def test_a_rate_is_noted_below_30_expected_errors_and_left_out_below_three() -> None:
    assert [is_supported(0.001, comparisons) for comparisons in (2999, 3000)] == [False, True]
    assert note_for(0.001, 30_000) is None
    assert note_for(0.001, 29_999) == "fewer impostor comparisons than 30 / FMR"
    assert note_for(0.01, 2999, "few") == "few"


def test_both_kinds_of_errors_count_against_the_accuracy_of_folds() -> None:
    """In fold 1 the scores are moved up: one genuine score is rejected in fold 0, one impostor accepted in fold 1."""
    fold = np.array([0, 0, 1, 1])
    pairs = PairList(np.array([0, 0, 0, 0]), np.array([1, 2, 1, 2]), np.array([0, 0, 1, 1]), fold)
    folds = folds_of(np.array([1.0, 0.0, 11.0, 10.0]), pairs)
    assert folds is not None
    assert (folds.exact.mean, folds.exact.spread) == (0.5, 0.0)
    # unit vectors may be opposite: squared distances of 3.2 and 3.8
    folds = folds_of(np.array([-0.6, -0.9, -0.6, -0.9]), pairs)
    assert folds is not None
    assert (folds.grid.mean, folds.exact.mean) == (1.0, 1.0)


def test_a_genuine_comparison_counts_once_for_each_time_its_person_is_drawn() -> None:
    """Right for person 0 alone, who is drawn twice, and person 1 once: 2 of 3, where a product would say 4 of 5."""
    identity = np.array([0, 0, 1, 1, 2, 3])
    a, b = np.array([0, 2, 0, 2, 0, 2, 0, 2]), np.array([1, 3, 4, 5, 4, 5, 1, 3])
    pairs = PairList(a, b, identity, fold=np.array([0, 0, 0, 1, 1, 1, 1, 1]))
    scores = np.array([0.9, 0.1, 0.2, 0.2, 0.2, 0.2, 0.9, 0.1])
    found = fold_accuracy(scores, pairs, np.array([[1, 1, 1, 1], [2, 1, 1, 0]], np.float32))
    assert found is not None
    assert found.low == found.high == pytest.approx(0.5 * 2 / 3 + 0.5)


def test_a_draw_without_one_kind_of_comparison_is_left_out_of_the_accuracy() -> None:
    """With perfect scores every draw that can be judged is right; one without genuine pairs is left out."""
    identity = np.array([0, 0, 1, 2, 3, 4])
    pairs = PairList(np.array([0, 0, 2, 3]), np.array([1, 1, 3, 4]), identity, fold=np.array([0, 1, 0, 1]))
    accuracy = verify([Trial(pairs, {"model": np.array([0.9, 0.9, 0.1, 0.1])})]).systems["model"].accuracy
    assert accuracy is not None
    assert (accuracy.value, accuracy.low, accuracy.high) == (1.0, 1.0, 1.0)


def test_an_accuracy_is_json_with_its_folds() -> None:
    pairs = PairList(
        np.array([0, 0, 0, 0]), np.array([1, 2, 1, 2]), np.array([0, 0, 1, 1]), fold=np.array([0, 0, 1, 1])
    )
    result = verify([Trial(pairs, {"model": np.array([1.0, 0.0, 1.0, 0.0])})], draws=2).systems["model"]
    assert result.accuracy is not None
    assert result.folds is not None
    told = result.to_dict()
    assert (told["accuracy"], told["folds"]) == (result.accuracy.to_dict(), result.folds.to_dict())


def test_a_report_and_its_rates_cannot_be_changed() -> None:
    report = verify([trial(5, 2, 1.0)], fmrs=[0.1], draws=2)
    for record in (report, report.systems["model"]):
        with pytest.raises(FrozenInstanceError):
            setattr(record, next(iter(vars(record))), None)


def test_the_seed_of_the_draws_is_also_that_of_the_scores() -> None:
    """Scores of a large set are thinned at random, so that both depend on one number."""
    seeds = []

    class Seen(Trial):
        def scores(self, system: str, fmrs: Sequence[float], *, below: float | None = None, seed: int = 0) -> Scores:
            seeds.append(seed)
            return super().scores(system, fmrs, below=below, seed=seed)

    some = trial(5, 2, 1.0)
    verify([Seen(some.pairs, some.values)], fmrs=[0.1], draws=2, seed=7)
    assert seeds == [7]


def test_counts_of_people_are_small_numbers_one_column_up_to_the_largest_identity() -> None:
    pairs = PairList(np.array([0, 1]), np.array([1, 2]), np.array([2, 2, 5]))
    weights = identity_weights(pairs, 4, np.random.default_rng(0))
    assert (weights.shape, weights.dtype) == ((5, 6), np.float32)
    assert weights[0].tolist() == [0, 0, 1, 0, 0, 1]
    assert (weights.sum(1) == 2).all()
