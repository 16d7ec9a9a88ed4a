"""Scoring in blocks equals scoring a list of pairs; with a thinned tail, up to sampling error."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from rsft.errors import InputError
from rsft.face.evaluation import all_pairs, scores, trials, verification
from rsft.face.evaluation.all_pairs import genuine_scores, impostor_blocks, normalised
from rsft.face.evaluation.pairs import AllPairs
from rsft.face.evaluation.scores import all_pairs_scores
from rsft.face.evaluation.trials import EmbeddedTrial, scored
from rsft.face.evaluation.verification import VerificationReport, verify

FMRS = (0.05, 0.01, 0.001)


def people(sizes: list[int], width: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return shuffled embeddings around one centre per person, and the identity of each."""
    generator = np.random.default_rng(seed)
    identity = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = generator.normal(size=(len(sizes), width))
    return (centres[identity] + generator.normal(size=(len(identity), width))).astype(np.float32), identity


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_pairs, "ROWS", 7)
    monkeypatch.setattr(all_pairs, "COLUMNS", 11)


@pytest.mark.usefixtures("small_blocks")
def test_blocks_hold_every_comparison_once() -> None:
    embeddings, identity = people([1, 9, 3, 1, 20, 2, 1, 1, 5])
    order = np.argsort(identity, kind="stable")
    unit, identity = normalised(embeddings)[order], identity[order]
    times = np.zeros((len(unit), len(unit)), int)
    for block, rows, columns in impostor_blocks(unit, identity):
        there = block > all_pairs.LEFT_OUT
        times[rows, columns] += there
        np.testing.assert_allclose(block[there], (unit[rows] @ unit[columns].T)[there], atol=1e-6)
    np.testing.assert_array_equal(times, np.triu(identity[:, None] != identity))
    plain = [(unit[i] @ unit[j], identity[i]) for i in range(len(unit)) for j in range(i) if identity[i] == identity[j]]
    values, whose = genuine_scores(unit, identity)
    np.testing.assert_allclose(np.sort(values), np.sort([value for value, _ in plain]), atol=1e-6)
    assert sorted(whose.tolist()) == sorted(int(person) for _, person in plain)


def cosines(embeddings: np.ndarray, identity: np.ndarray) -> np.ndarray:
    return trials.cosine_scores(embeddings, AllPairs(identity).listed())


def both(embeddings: np.ndarray, identity: np.ndarray, draws: int = 100) -> tuple[VerificationReport, ...]:
    """Return the reports from listed pairs and from blocks."""
    everyone = AllPairs(identity)
    listed = scored({"x": embeddings}, everyone)
    assert not isinstance(listed, EmbeddedTrial)
    return tuple(verify([t], fmrs=FMRS, draws=draws) for t in (listed, EmbeddedTrial(everyone, {"x": embeddings})))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("sizes", [[5] * 60, [1] * 30 + [40, 2, 2], [2, 1]])
def test_scoring_in_blocks_equals_scoring_listed_pairs(sizes: list[int]) -> None:
    listed, blocks = both(*people(sizes))
    one, other = listed.systems["x"], blocks.systems["x"]
    assert (one.pairs_genuine, one.pairs_impostor) == (other.pairs_genuine, other.pairs_impostor)
    for fmr in FMRS:
        assert one.tar_at_fmr[fmr] == other.tar_at_fmr[fmr]  # value and both ends of the interval
        assert one.thresholds[fmr] == pytest.approx(other.thresholds[fmr], abs=1e-6)
        np.testing.assert_array_equal(listed.draws["x"][fmr], blocks.draws["x"][fmr])
    assert one.eer == pytest.approx(other.eer, abs=0.5 / one.pairs_genuine)


def test_large_sets_are_scored_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, identity = people([3] * 20)
    monkeypatch.setattr(trials, "MAX_LISTED", 1000)
    trial = scored({"x": embeddings}, AllPairs(identity))
    assert isinstance(trial, EmbeddedTrial)
    assert verify([trial], fmrs=FMRS, draws=2).systems["x"].accuracy is None


@pytest.mark.parametrize("seed", range(3))
def test_a_thinned_tail_is_exact_at_the_threshold_and_close_in_its_draws(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tail of 180,000 comparisons is thinned to about 12,000."""
    embeddings, identity = people([4] * 150, seed=seed)
    whole, _ = both(embeddings, identity, draws=200)
    monkeypatch.setattr(scores, "MIN_TAIL", 100)
    thinned = all_pairs_scores(embeddings, AllPairs(identity), FMRS, max_tail=12_000, seed=seed)
    assert thinned.copies is not None
    assert len(thinned.impostor) < 16_000
    weights = verification.identity_weights(AllPairs(identity), 200, np.random.default_rng(0))
    tars, thresholds = verification.tars(thinned, weights, FMRS)
    plain = np.sort(cosines(embeddings, identity)[~AllPairs(identity).listed().genuine])
    for column, fmr in enumerate(FMRS):
        false = (plain > thresholds[0, column]).sum()
        allowed = int(fmr * len(plain))
        # over all comparisons, the FMR never exceeds the requested one, and falls short of it by one bin at most
        assert allowed - max(3, 0.01 * allowed) <= false <= allowed
        assert tars[0, column] == pytest.approx(whole.systems["x"].tar_at_fmr[fmr].value, abs=2 / 900)
        expected = whole.draws["x"][fmr]
        assert np.corrcoef(tars[1:, column], expected)[0, 1] > 0.9
        assert tars[1:, column].std() == pytest.approx(expected.std(), rel=0.15)


def test_counting_thinned_comparisons_once_would_bias_the_draws() -> None:
    """If each comparison of a thinned tail counts once, the thresholds of the draws are too low."""
    embeddings, identity = people([4] * 150)
    thinned = all_pairs_scores(embeddings, AllPairs(identity), FMRS, max_tail=12_000)
    weights = verification.identity_weights(AllPairs(identity), 20, np.random.default_rng(0))
    right, _ = verification.tars(thinned, weights, FMRS)
    wrong, _ = verification.tars(
        scores.Scores(**{**vars(thinned), "copies": np.ones(len(thinned.impostor))}), weights, FMRS
    )
    assert (wrong[1:, 0] > right[1:, 0] + 0.05).all()


def test_impostor_weights_are_the_same_with_and_without_a_list() -> None:
    embeddings, identity = people([1, 4, 2, 7])
    weights = verification.identity_weights(AllPairs(identity), 30, np.random.default_rng(0))
    one = scores.listed_scores(cosines(embeddings, identity), AllPairs(identity).listed(), FMRS)
    other = all_pairs_scores(embeddings, AllPairs(identity), FMRS)
    np.testing.assert_array_equal(one.impostor_weight(weights), other.impostor_weight(weights))


def test_all_pairs_have_the_same_interface_as_a_list() -> None:
    _, identity = people([1, 4, 2, 7])
    everybody = AllPairs(identity)
    listed = everybody.listed()
    for name in ("a", "b", "genuine", "people"):
        np.testing.assert_array_equal(getattr(everybody, name), getattr(listed, name))
    assert (len(everybody), everybody.counts) == (len(listed), listed.counts)
    row = np.array([3, -1, 0, 1, -1, 2, *[-1] * 8])
    kept = everybody.restricted_to(row)
    old = np.array([2, 3, 5, 0])  # old row of each new row
    np.testing.assert_array_equal(kept.identity, identity[old])
    part = listed.restricted_to(row)
    found = {frozenset(pair) for pair in zip(part.a.tolist(), part.b.tolist(), strict=True)}
    assert found == {frozenset(pair) for pair in zip(kept.a.tolist(), kept.b.tolist(), strict=True)}
    np.testing.assert_array_equal(part.identity, kept.identity)


def test_embeddings_without_a_direction_are_refused() -> None:
    embeddings, identity = people([3, 3])
    embeddings[2] = 0
    with pytest.raises(InputError, match="1 embeddings have no direction, such as row 2 of length 0"):
        all_pairs_scores(embeddings, AllPairs(identity), FMRS)
    embeddings[2] = np.nan
    with pytest.raises(InputError, match="row 2 of length nan"):
        scored({"x": embeddings}, AllPairs(identity))


def test_too_many_genuine_comparisons_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_pairs, "MAX_GENUINE", 5)
    with pytest.raises(InputError, match="6 genuine comparisons are more than 5, the largest identity has 4"):
        all_pairs_scores(*people([4, 1])[:1], AllPairs(people([4, 1])[1]), FMRS)


def test_the_fmr_of_a_thinned_tail_counts_each_comparison_as_often_as_it_stands_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embeddings, identity = people([4] * 150)
    everybody = AllPairs(identity)
    listed = scores.listed_scores(cosines(embeddings, identity), everybody.listed(), FMRS)
    monkeypatch.setattr(scores, "MIN_TAIL", 100)
    thinned = all_pairs_scores(embeddings, everybody, FMRS, max_tail=12_000)
    assert thinned.copies is not None
    assert thinned.copies.max() > 3
    weights = verification.identity_weights(everybody, 20, np.random.default_rng(0))
    for fmr in FMRS[:2]:
        threshold = listed.threshold(fmr)
        exact = scores.false_match_rates(listed, weights, threshold)
        found = scores.false_match_rates(thinned, weights, threshold)
        assert exact[0] == pytest.approx(fmr, rel=0.01)
        np.testing.assert_allclose(found, exact, rtol=0.1)
    # all that were kept stand for all that were there
    lowest = float(np.nextafter(thinned.impostor[-1], np.float32(-2)))
    assert thinned.copies.sum() == pytest.approx(thinned.false_matches(lowest), rel=0.001)


def test_the_tail_covers_at_least_twice_the_largest_rate_however_bad_its_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three pictures on each side predict where the tail begins, which is often far too high."""
    monkeypatch.setattr(all_pairs, "SAMPLED", 3)
    monkeypatch.setattr(scores, "MIN_TAIL", 10)
    embeddings, identity = people([3] * 20)
    tails = [len(all_pairs_scores(embeddings, AllPairs(identity), [0.05], seed=seed).impostor) for seed in range(100)]
    impostors = AllPairs(identity).counts[1]
    assert min(tails) >= int(2 * 0.05 * impostors)
    assert min(tails) < 3 * 0.05 * impostors


@pytest.mark.parametrize(("below", "reaches"), [(None, 0.25), (0.9, 0.25), (0.2, 0.8)])
def test_a_list_keeps_five_times_the_largest_rate_or_down_to_a_score(
    below: float | None, reaches: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Impostor scores are 1/n, 2/n, ..., 1."""
    monkeypatch.setattr(scores, "MIN_TAIL", 10)
    pairs = AllPairs(people([2] * 30)[1]).listed()
    values, count = np.full(len(pairs), 0.5), int((~pairs.genuine).sum())
    values[~pairs.genuine] = (np.random.default_rng(0).permutation(count) + 1) / count
    found = scores.listed_scores(values, pairs, [0.05, 0.01], below)
    assert len(found.impostor) == int(reaches * count + 1e-9)
    np.testing.assert_allclose(found.impostor, np.arange(count, count - len(found.impostor), -1) / count)


def test_scores_cannot_be_changed() -> None:
    embeddings, identity = people([2, 2])
    with pytest.raises(FrozenInstanceError):
        all_pairs_scores(embeddings, AllPairs(identity), FMRS).eer = 0.0  # type: ignore[misc]
