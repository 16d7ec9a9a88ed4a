"""The choice of the share of the way to the tuned weights, and the intervals of its gain and loss."""

from collections.abc import Sequence
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from rsft.face.adaptation.gate import (
    DRAWS,
    OTHERS_FMRS,
    TARGET_FMRS,
    Gate,
    HeldOut,
    decide,
    hold_out,
    pair_scores,
    pair_weights,
    within_bound,
    worth_in_people,
)
from rsft.face.evaluation.pairs import list_all_pairs
from rsft.face.evaluation.verification import tar_in_order
from rsft.types import Interval

SHARES = (0.0, 0.5, 1.0)


def held_out(
    effect: float, elsewhere: float, *, seed: int, people: int = 30, likeness: float = 1.0, spread: float = 0.0
) -> HeldOut:
    """Return normal scores; tuned weights add `effect` to genuine pairs like the target, `elsewhere` to the others.

    Half of the pictures are like the target. An additional effect of each person has standard deviation `spread`.
    """
    generator = np.random.default_rng(seed)
    pairs = list_all_pairs(np.arange(people).repeat(6))
    weights = pair_weights(pairs, np.tile(np.arange(6) < 3, people) * likeness)
    genuine = pairs.genuine
    noise = generator.normal(size=len(genuine))
    personal = spread * generator.normal(size=people)[pairs.identity[pairs.a]]

    def score(share: float) -> np.ndarray:
        return noise + genuine * (2 + share * (np.where(weights[0] > 0, effect, elsewhere) + personal))

    return hold_out(pairs, weights, score, SHARES, seed=seed)


def gate(*folds: HeldOut) -> Gate:
    return decide(folds, 0.01, seed=0)


def test_a_clear_gain_is_taken_with_an_interval_above_zero() -> None:
    result = gate(held_out(1.0, 0.0, seed=0), held_out(1.0, 0.0, seed=1))
    assert (result.share, result.candidate) == (1.0, 1.0)
    assert result.gain.low is not None
    assert result.loss.high is not None
    assert result.gain.low > 0 == result.loss.high  # pairs unlike the target have the same scores
    assert result.gain.value == pytest.approx(result.path[2].target - result.path[0].target)


def test_a_gain_that_costs_more_than_the_bound_is_not_taken() -> None:
    result = gate(held_out(1.0, -2.0, seed=0))
    assert (result.share, result.candidate) == (0.0, 1.0)
    assert "costs more than 0.01" in result.reason
    assert result.loss.value is not None
    assert result.loss.value > 0.01


def test_no_gain_and_too_few_people_have_different_reasons() -> None:
    assert "no tuned weights did better" in gate(held_out(-1.0, 0.0, seed=0)).reason
    few = gate(held_out(1.0, 0.0, seed=0, likeness=0.0))
    assert (few.share, few.gain) == (0.0, Interval(None, None, None, "insufficient data"))
    assert "equivalent to 0 people, and 5 are needed" in few.reason


def test_a_gain_by_chance_is_rarely_taken() -> None:
    """Both networks favour random people, with the same distribution: the tuned one is taken one time in forty.

    The bound is 5 standard errors over 60 cases. A rule that takes the better network would take it in half of them.
    """
    shipped, better = [], []
    pairs = list_all_pairs(np.arange(30).repeat(3))
    for seed in range(60):
        generator = np.random.default_rng(seed)
        noise, favour = generator.normal(size=len(pairs)), generator.normal(size=(2, 30))
        personal = pairs.genuine * (2 + favour[:, pairs.identity[pairs.a]])
        of_each = dict(zip((0.0, 1.0), noise + personal, strict=True))
        weights = pair_weights(pairs, np.ones(90))
        result = decide([hold_out(pairs, weights, of_each.__getitem__, list(of_each), seed=seed)], 1.0, seed=seed)
        shipped.append(result.share > 0)
        better.append((result.gain.value or 0) > 0)
    assert np.mean(shipped) < 0.025 + 5 * np.sqrt(0.025 * 0.975 / 60) < np.mean(better)


def test_a_pair_counts_for_the_target_if_one_picture_is_like_it() -> None:
    pairs = list_all_pairs(np.arange(20).repeat(3))
    likeness = np.tile([1.0, 0.5, 0.0], 20)
    alike, others, both = pair_weights(pairs, likeness)
    of_first = (pairs.identity[pairs.a] == 0) & pairs.genuine
    assert sorted(alike[of_first]) == [0.5, 1.0, 1.0]
    assert others.tolist() == (1 - alike).tolist()
    assert both[pairs.genuine].tolist() == alike[pairs.genuine].tolist()
    impostors = ~pairs.genuine
    np.testing.assert_allclose(both[impostors], (likeness[pairs.a] * likeness[pairs.b])[impostors])


@pytest.mark.parametrize(("alike", "enough"), [(14, False), (15, True)])
def test_impostors_of_two_pictures_like_the_target_need_a_weight_of_a_hundred(alike: int, enough: bool) -> None:
    """14 people have 91 impostor pairs, and 15 have 105."""
    pairs = list_all_pairs(np.arange(30).repeat(2))
    one, _, both = pair_weights(pairs, np.arange(60) % 2 * np.repeat(np.arange(30) < alike, 2))
    assert (both.tolist() == one.tolist()) is not enough


def test_a_network_that_only_tells_the_source_of_the_target_apart_gains_nothing() -> None:
    """The pictures like the target move to a place of their own, where their people are no longer told apart.

    Against impostors of which one picture is like the target it is better: by this rule alone it would be taken.
    """
    generator = np.random.default_rng(0)
    pairs, likeness = list_all_pairs(np.arange(40).repeat(4)), np.repeat(np.arange(40) < 20, 4).astype(float)
    weights = pair_weights(pairs, likeness)
    both, neither = (weights[0] > 0) & (likeness[pairs.a] == likeness[pairs.b]), weights[1] > 0
    noise = generator.normal(size=len(pairs))
    apart = ~(both | neither)
    start = noise + 1.5 * pairs.genuine
    # two pictures of the source score higher, whoever they are; across sources, lower
    fooled = np.where(both, noise + 3 + 1.2 * pairs.genuine, np.where(apart, noise - 3, start))
    of_each = {0.0: start, 1.0: fooled}
    taken = []
    for used in (weights, np.stack([weights[0], weights[1], weights[0]])):
        fold = hold_out(pairs, used, of_each.__getitem__, (0.0, 1.0), seed=0)
        points = [pair_scores(pairs, used, of_each[share]) for share in (0.0, 1.0)]
        taken.append(points[1][0] > points[0][0] + 0.05)
        assert fold.path[1].target == pytest.approx(points[1][0])
    assert taken == [False, True]


def test_a_gain_of_the_target_does_not_hide_a_loss_elsewhere() -> None:
    """The TAR over all pairs rises, but that of pairs unlike the target falls by more than the bound."""
    fold = held_out(2.0, -0.5, seed=0)
    order = [np.argsort(-fold.scores[share], kind="stable") for share in (0.0, 1.0)]
    before, after = (tar_in_order(fold.pairs.genuine[by], np.ones(len(by)), OTHERS_FMRS) for by in order)
    result = decide([fold], 0.01, seed=0)
    assert after > before
    assert result.share == 0.0
    assert "costs more than 0.01" in result.reason


def test_a_loss_at_small_fmrs_is_measured_in_full() -> None:
    """Half of the other genuine pairs fall below the top 1 % of impostors. The loss is .5, or .25 over FMRs up to 1."""
    pairs, strict = list_all_pairs(np.arange(30).repeat(6)), []
    weights = pair_weights(pairs, np.tile(np.arange(6) < 3, 30).astype(float))
    noise = np.random.default_rng(0).normal(size=len(pairs))
    falls = pairs.genuine & (weights[1] > 0) & (np.arange(len(noise)) % 2 == 0)
    gains = pairs.genuine & (weights[0] > 0)
    start = np.where(gains, noise + 1, np.where(pairs.genuine, 5.0, noise))
    of_each = {0.0: start, 1.0: np.where(falls, 1.8, np.where(gains, noise + 2, start))}
    for bound in (0.4, 0.6):
        result = decide([hold_out(pairs, weights, of_each.__getitem__, (0.0, 1.0), seed=0)], bound, seed=0)
        strict.append(result.share)
    assert strict == [0.0, 1.0]
    assert 0.03 < (noise > 1.8).mean() < 0.04  # the FMR from which nothing is lost


@pytest.mark.parametrize("people", [1, 3])
def test_the_pretrained_weights_are_kept_if_few_people_look_like_the_target(people: int) -> None:
    pairs = list_all_pairs(np.arange(30).repeat(6))
    weights = pair_weights(pairs, np.repeat(np.arange(30) < people, 6).astype(float))
    noise = np.random.default_rng(0).normal(size=len(pairs))
    fold = hold_out(pairs, weights, lambda share: noise + pairs.genuine * (1 + share), SHARES, seed=0)
    result = decide([fold], 1.0, seed=0)
    assert result.share == 0.0
    assert f"equivalent to {people} people" in result.reason


def test_the_bound_is_on_all_pairs_if_few_people_look_unlike_the_target() -> None:
    pairs = list_all_pairs(np.arange(30).repeat(6))
    for unlike in (0, 3):
        assert set(pair_weights(pairs, np.repeat(np.arange(30) >= unlike, 6).astype(float))[1]) == {1.0}


def test_a_smaller_share_is_taken_if_only_it_gains_clearly() -> None:
    """The larger share has a larger mean gain, but only through a few people."""
    pairs = list_all_pairs(np.arange(30).repeat(6))
    weights = pair_weights(pairs, np.ones(180))
    noise = np.random.default_rng(0).normal(size=len(pairs))
    person = pairs.identity[pairs.a]
    effect = {0.0: np.zeros(30), 0.5: np.full(30, 0.2), 1.0: np.where(np.arange(30) < 9, 6.0, -1.2)}
    fold = hold_out(pairs, weights, lambda share: noise + pairs.genuine * (1 + effect[share][person]), SHARES, seed=0)
    result = decide([fold], 1.0, seed=0)
    assert result.path[2].target > result.path[1].target
    assert (result.share, result.candidate, list(result.allowed)) == (0.5, 0.5, [0.5])


def test_the_width_of_the_interval_matches_the_variation_over_identities() -> None:
    """Each of 40 folds has 20 different people. A normal 95 % interval is 3.92 standard deviations wide."""
    gains, widths = [], []
    for seed in range(40):
        fold = held_out(0.5, 0.0, seed=seed, people=20, spread=1.0)
        fold = replace(fold, path=[fold.path[0], fold.path[2]])
        interval = decide([fold], 1.0, seed=seed).gain
        assert interval.value is not None
        assert interval.low is not None
        assert interval.high is not None
        gains.append(interval.value)
        widths.append(interval.high - interval.low)
    ratio = np.mean(widths) / (3.92 * np.std(gains, ddof=1))
    # 5 standard errors of a standard deviation from 40 draws, 1 / sqrt(2 * 39) each
    assert abs(np.log(ratio)) < 5 / np.sqrt(78)


def test_a_retention_set_steps_the_gate_back() -> None:
    first = gate(held_out(1.0, 0.0, seed=0))
    losses = {1.0: 0.03, 0.5: 0.008}
    back = within_bound(first, losses.__getitem__, 0.01)
    assert (back.share, back.candidate, back.retention) == (0.5, 0.5, [(1.0, 0.03), (0.5, 0.008)])
    assert back.gain.value == pytest.approx(first.path[1].target - first.path[0].target)
    assert within_bound(replace(first, allowed=[1.0]), losses.__getitem__, 0.01).share == 0.0
    kept = within_bound(first, lambda share: 0.02, 0.01)
    assert kept.share == 0.0
    assert "0.01 on the retention set" in kept.reason
    assert within_bound(first, lambda share: None, 0.01) is first
    pretrained = gate(held_out(-1.0, 0.0, seed=0))
    assert within_bound(pretrained, losses.__getitem__, 0.01) is pretrained


def copied_tar(fold: HeldOut, share: float, kind: int, times: np.ndarray, fmrs: Sequence[float]) -> float:
    """Compute the TAR with every person copied as often as drawn, by repetition of the pairs.

    Impostor pairs are those between every copy of one person and every copy of another. Genuine pairs are those within
    each copy.
    """
    rows: list[int] = []
    for row, (a, b) in enumerate(zip(fold.pairs.a, fold.pairs.b, strict=True)):
        first, second = fold.pairs.identity[[a, b]]
        rows += [row] * int(times[first] if first == second else times[first] * times[second])
    order = sorted(rows, key=lambda row: -fold.scores[share][row])
    genuine, weights = fold.pairs.genuine[order], fold.weights[kind][order]
    false = np.cumsum(np.where(genuine, 0, weights))
    true = np.cumsum(np.where(genuine, weights, 0))
    if not (len(order) and false[-1] and true[-1]):
        return float("nan")
    tars = []
    for fmr in fmrs:
        allowed = np.flatnonzero(false <= fmr * false[-1])  # the longest prefix with at most that share
        tars.append(true[allowed[-1]] if len(allowed) else 0.0)
    return float(np.mean(tars) / true[-1])


@pytest.mark.parametrize("seed", range(3))
def test_intervals_equal_a_bootstrap_by_copies_of_people(seed: int) -> None:
    fold = held_out(0.8, -0.3, seed=seed, people=7, spread=0.5)
    result = decide([fold], 1.0, seed=seed)
    people = 7
    draws = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), size=DRAWS)
    for place, kinds, fmrs, sign in ((0, (0, 2), TARGET_FMRS, 1), (1, (1,), OTHERS_FMRS, -1)):
        changes = np.array(
            [
                [
                    sign * (copied_tar(fold, 1.0, kind, times, fmrs) - copied_tar(fold, 0.0, kind, times, fmrs))
                    for kind in kinds
                ]
                for times in (np.ones(people, int), *draws)
            ]
        ).mean(1)
        interval = result.effects[1.0][place]
        around = changes[1:][~np.isnan(changes[1:])] - changes[0]  # around the value over all pairs
        assert (interval.low, interval.high) == pytest.approx(
            tuple((interval.value or 0.0) + np.quantile(around, [0.025, 0.975]))
        )
        over_all = fold.path[2].target - fold.path[0].target, fold.path[0].others - fold.path[2].others
        assert interval.value == pytest.approx(over_all[place])


@pytest.mark.parametrize(("people", "told"), [(4, False), (5, True)])
def test_a_gain_needs_five_people_who_look_like_the_target(people: int, told: bool) -> None:
    pairs = list_all_pairs(np.arange(30).repeat(6))
    weights = pair_weights(pairs, np.repeat(np.arange(30) < people, 6).astype(float))
    noise = np.random.default_rng(0).normal(size=len(pairs))
    fold = hold_out(pairs, weights, lambda share: noise + pairs.genuine * (1 + 2 * share), SHARES, seed=0)
    result = decide([fold], 1.0, seed=0)
    assert ("are equivalent to" not in result.reason) is told
    assert (result.share > 0) is told


@pytest.mark.parametrize(("unlike", "told"), [(4, False), (5, True)])
def test_five_people_who_look_unlike_the_target_are_the_fewest_held_to_the_bound_alone(unlike: int, told: bool) -> None:
    pairs = list_all_pairs(np.arange(30).repeat(6))
    others = pair_weights(pairs, np.repeat(np.arange(30) >= unlike, 6).astype(float))[1]
    expected = (pairs.identity[pairs.a] < unlike) & (pairs.identity[pairs.b] < unlike)
    assert others.tolist() == (expected.astype(float).tolist() if told else [1.0] * len(pairs))


def test_pairs_without_weight_are_worth_nobody() -> None:
    pairs = list_all_pairs(np.arange(4).repeat(3))
    assert worth_in_people(pairs, np.zeros(len(pairs))) == 0
    one = (pairs.genuine & (pairs.identity[pairs.a] == 0)).astype(float)
    assert worth_in_people(pairs, one) == 1
    assert worth_in_people(pairs, one * 0.1) == pytest.approx(0.3)  # at most the sum of the weights


def test_folds_of_different_shares_are_not_put_together() -> None:
    fold = held_out(1.0, 0.0, seed=0, people=10)
    with pytest.raises(ValueError, match="shorter"):
        gate(fold, replace(fold, path=fold.path[:2]))


def test_a_gate_without_a_retention_set_says_so_in_json() -> None:
    result = gate(held_out(1.0, 0.0, seed=0))
    told = result.to_dict()
    assert told["retention"] == []
    assert (told["share"], told["candidate"], told["reason"]) == (result.share, result.candidate, result.reason)
    assert (told["gain"], told["loss"]) == (result.gain.to_dict(), result.loss.to_dict())
    assert within_bound(result, lambda share: 0.0, 0.01).to_dict()["retention"] == [[1.0, 0.0]]


def test_the_candidate_of_a_gate_without_gains_is_the_best_of_the_tuned_weights() -> None:
    result = gate(held_out(-1.0, 0.0, seed=0))
    assert (result.share, result.candidate) == (0.0, 0.5)  # half of the way loses less than all of it
    assert (result.gain, result.loss) == result.effects[0.5]


def test_a_gain_that_costs_nothing_meets_a_bound_of_zero() -> None:
    assert decide([held_out(1.0, 0.0, seed=0)], 0.0, seed=0).share == 1.0


def test_what_was_measured_and_decided_cannot_be_changed() -> None:
    fold = held_out(1.0, 0.0, seed=0, people=10)
    for record in (fold, fold.path[0], gate(fold)):
        with pytest.raises(FrozenInstanceError):
            setattr(record, next(iter(vars(record))), None)


def test_the_intervals_use_all_genuine_and_some_different_impostor_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsft.face.adaptation.gate.MAX_IMPOSTORS", 100)
    pairs = list_all_pairs(np.arange(10).repeat(3))
    monkeypatch.setattr("rsft.face.adaptation.gate.ALIKE_IMPOSTORS", 50)
    weights, scores = np.random.default_rng(0).random((3, len(pairs))), np.arange(len(pairs)) / 100
    seen = set()
    for seed in (0, 0, 1):
        fold = hold_out(pairs, weights, lambda share: scores, SHARES, seed=seed)
        every = (fold.scores[0.5] * 100).round().astype(int)  # each score tells the row of its pair
        rows, drawn = every[:-50], every[-50:]
        assert len(rows) == len(set(rows)) == pairs.genuine.sum() + 100
        assert set(rows[fold.pairs.genuine[:-50]]) == set(np.flatnonzero(pairs.genuine))
        assert (fold.pairs.a.tolist(), fold.pairs.b.tolist()) == (pairs.a[every].tolist(), pairs.b[every].tolist())
        np.testing.assert_array_equal(fold.weights[:2, :-50], weights[:2, rows])
        np.testing.assert_array_equal(fold.weights[2, :-50], weights[2, rows] * pairs.genuine[rows])
        assert not pairs.genuine[drawn].any()
        np.testing.assert_array_equal(fold.weights[:, -50:], np.array([[0.0], [0.0], [1.0]]).repeat(50, 1))
        of_all = [tar_in_order(pairs.genuine[::-1], weights[kind][::-1], TARGET_FMRS) for kind in (0, 2)]
        assert fold.path[0].target == pytest.approx(np.mean(of_all))
        seen.add(frozenset(every))
    assert len(seen) == 2


def test_pairs_like_the_target_are_scored_at_three_decades_of_rates_and_others_at_one() -> None:
    np.testing.assert_allclose(TARGET_FMRS, 10 ** (np.arange(-30, 0) / 10))
    np.testing.assert_allclose(OTHERS_FMRS, 10 ** (np.arange(-27, -17) / 9))


def test_a_gain_of_one_person_is_not_clear_of_zero() -> None:
    """A third of the draws do not have this person, and there nothing is gained: the interval begins at 0."""
    pairs = list_all_pairs(np.arange(30).repeat(3))
    noise = np.random.default_rng(0).normal(size=len(pairs))
    one = pairs.genuine & (pairs.identity[pairs.a] == 0)
    start = np.where(one, -9.0, noise + 3 * pairs.genuine)
    weights = pair_weights(pairs, np.ones(90))
    fold = hold_out(pairs, weights, lambda share: np.where(one & (share > 0), 9.0, start), (0.0, 1.0), seed=0)
    result = decide([fold], 1.0, seed=0)
    assert result.gain.value is not None
    assert result.gain.value > 0.01
    assert result.gain.low == pytest.approx(0, abs=1e-12)
    assert (result.share, result.reason) == (0.0, "on held-out identities the gain is not clear of zero")
