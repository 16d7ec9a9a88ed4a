import numpy as np
import pytest

from rsft.face.evaluation.groups import by_group
from rsft.face.evaluation.pairs import AllPairs, PairList
from rsft.face.evaluation.trials import EmbeddedTrial, Trial, cosine_scores
from rsft.face.evaluation.verification import verify

THRESHOLDS = {0.05: 0.35, 0.01: 0.5}


def people(count: int = 60, pictures: int = 4) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return embeddings, identities and groups. The people of group "b" look alike, and one picture has no group."""
    generator = np.random.default_rng(0)
    identity = np.repeat(np.arange(count), pictures)
    centres = generator.normal(size=(count, 16))
    centres[count // 2 :] = 0.7 * centres[count // 2 :] + 0.7 * centres[0]
    embeddings = centres[identity] + 0.6 * generator.normal(size=(len(identity), 16))
    values = ["a" if person < count // 2 else "b" for person in identity]
    values[3] = ""
    return embeddings, identity, values


def test_rates_equal_a_plain_loop_for_listed_pairs_and_in_blocks() -> None:
    embeddings, identity, values = people()
    everybody = AllPairs(identity)
    listed = everybody.listed()
    scores = cosine_scores(embeddings, listed)
    found, blocks = (
        by_group(trial, "x", values, THRESHOLDS, draws=50)
        for trial in (Trial(listed, {"x": scores}), EmbeddedTrial(everybody, {"x": embeddings}))
    )
    assert found.unknown == 1
    assert set(found.groups) == {"a", "b"}
    for value, group in found.groups.items():
        inside = np.array([values[i] == value and values[j] == value for i, j in zip(listed.a, listed.b, strict=True)])
        of_group, genuine = scores[inside], listed.genuine[inside]
        assert (group.pairs_genuine, group.pairs_impostor) == (genuine.sum(), (~genuine).sum())
        for fmr, threshold in THRESHOLDS.items():
            assert group.fmr[fmr].value == pytest.approx((of_group[~genuine] > threshold).mean(), abs=1e-12)
            assert group.fnmr[fmr].value == pytest.approx((of_group[genuine] <= threshold).mean(), abs=1e-12)
            assert blocks.groups[value].fmr[fmr] == group.fmr[fmr]
            assert blocks.groups[value].fnmr[fmr] == group.fnmr[fmr]
    alike, other = found.groups["b"].fmr[0.05], found.groups["a"].fmr[0.05]
    assert alike.value is not None
    assert other.value is not None
    assert other.high is not None
    assert alike.low is not None
    assert alike.low > other.high
    assert found.ratio("fmr", 0.05) == other.value / alike.value


def test_a_threshold_for_each_group_would_hide_the_difference() -> None:
    """At its own threshold, every group has the requested FMR."""
    embeddings, identity, values = people()
    rates = []
    for value in "ab":
        rows = np.array(values) == value
        listed = AllPairs(identity[rows]).listed()
        trial = Trial(listed, {"x": cosine_scores(embeddings[rows], listed)})
        own = verify([trial], fmrs=[0.05], draws=2).systems["x"].thresholds
        group = by_group(trial, "x", [value] * rows.sum(), own, draws=2).groups[value]
        rates.append(group.fmr[0.05].value)
    assert rates == pytest.approx([0.05, 0.05], abs=0.001)


def test_intervals_cover_the_rates_of_the_population() -> None:
    """Impostor scores have an effect of each person. Fewer than 50 of 60 covering intervals have probability < 1e-4."""
    from scipy import stats

    truth = stats.norm.sf(1.5 / np.sqrt(1.5))
    covered = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        listed = AllPairs(np.arange(80) // 2).listed()
        effect = generator.normal(0, 0.5, 40)[listed.identity]
        scores = generator.normal(size=len(listed)) + effect[listed.a] + effect[listed.b]
        rate = by_group(Trial(listed, {"x": scores}), "x", ["g"] * 80, {0.1: 1.5}, draws=200).groups["g"].fmr[0.1]
        assert rate.low is not None
        assert rate.high is not None
        covered += rate.low <= truth <= rate.high
    assert covered >= 50


def test_rates_without_enough_comparisons_have_no_value() -> None:
    embeddings, identity, _ = people(8, 2)
    values = ["lone" if person == 0 else "few" for person in identity]
    listed = AllPairs(identity).listed()
    found = by_group(Trial(listed, {"x": cosine_scores(embeddings, listed)}), "x", values, {0.01: 0.5}, draws=5)
    assert found.groups["lone"].fmr[0.01].note == "insufficient data"
    assert found.groups["few"].fmr[0.01].note == "insufficient data"  # 84 impostor comparisons
    assert found.groups["few"].fnmr[0.01].value is not None
    assert found.ratio("fmr", 0.01) is None
    assert found.accuracies() is None


def test_accuracies_follow_the_definition_of_rfw() -> None:
    """Three groups have accuracies .9, .8 and .6 in every fold: mean .7667, deviation .1528, errors .4 over .1."""
    same = np.tile(np.arange(20) < 10, 6)
    count = len(same)
    identity = np.arange(2 * count)
    identity[1::2][same] = identity[0::2][same]
    group = np.repeat(["x", "y", "z"], 40)
    fold = np.tile(np.repeat([0, 1], 20), 3)
    scores = same * 1.0
    for value, wrong in {"x": 1, "y": 2, "z": 4}.items():
        for number in (0, 1):
            rows = np.flatnonzero((group == value) & (fold == number))
            # this number of each kind is on the wrong side, farther out than all correct scores
            scores[rows[:wrong]], scores[rows[10 : 10 + wrong]] = -1, 2
    pairs = PairList(np.arange(0, 2 * count, 2), np.arange(1, 2 * count, 2), identity, fold)
    values = np.repeat(group, 2).tolist()
    found = by_group(Trial(pairs, {"x": scores}), "x", values, {0.1: 0.5}, draws=2).accuracies()
    assert found is not None
    assert found["mean"] == pytest.approx(np.mean([0.9, 0.8, 0.6]))
    assert found["std"] == pytest.approx(np.std([0.9, 0.8, 0.6], ddof=1))
    assert found["ser"] == pytest.approx(4)
