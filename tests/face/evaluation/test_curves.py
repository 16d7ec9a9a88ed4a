"""DET curves, folds and thresholds against other libraries and known distributions."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_curve
from sklearn.model_selection import KFold
from torchmetrics.classification import BinaryROC

from rsft.errors import InputError
from rsft.face.evaluation.all_pairs import normalised
from rsft.face.evaluation.det import det_curve
from rsft.face.evaluation.folds import folds_of
from rsft.face.evaluation.pairs import AllPairs, PairList, list_all_pairs
from rsft.face.evaluation.scores import all_pairs_scores, false_match_rates, false_non_match_rates, listed_scores
from rsft.face.evaluation.thresholds import thresholds_for
from rsft.face.evaluation.trials import EmbeddedTrial, Trial, cosine_scores
from rsft.face.evaluation.verification import verify


def normal_trial(genuine: int, impostor: int, seed: int = 0) -> Trial:
    """Return pairs of pictures that occur once each; scores are N(.5, .2^2) if genuine, N(0, .2^2) if impostor."""
    total = genuine + impostor
    identity = np.arange(2 * total)
    identity[1 : 2 * genuine : 2] = identity[0 : 2 * genuine : 2]
    pairs = PairList(np.arange(0, 2 * total, 2), np.arange(1, 2 * total, 2), identity)
    scores = np.random.default_rng(seed).normal(0.5 * pairs.genuine, 0.2).clip(-1, 1)
    return Trial(pairs, {"x": scores})


def test_a_det_curve_lies_on_the_roc_curves_of_other_libraries() -> None:
    """The scores are mapped to [0, 1] for torchmetrics, which takes scores outside of it for logits."""
    trial = normal_trial(400, 3000)
    scores, genuine = trial.values["x"], trial.pairs.genuine
    curve = det_curve(listed_scores(scores, trial.pairs, [0.1]))
    mapped = torch.from_numpy((scores + 1) / 2)
    theirs = BinaryROC()(mapped, torch.from_numpy(genuine.astype(int)))
    roc_curves = {
        "sklearn": roc_curve(genuine, scores, drop_intermediate=False)[:2],
        "torchmetrics": [part.numpy() for part in theirs[:2]],
    }
    for fmr, tar in roc_curves.values():
        for ours, missed in zip(curve.fmr, curve.fnmr, strict=True):
            assert 1 - missed == pytest.approx(tar[np.isclose(fmr, ours, atol=1e-6)].max(), abs=1e-6)
    assert curve.fmr == sorted(curve.fmr)
    assert curve.fmr[0] <= 1 / 3000
    assert curve.fmr[-1] > 0.99
    for threshold, fmr in zip(curve.threshold, curve.fmr, strict=True):
        assert (scores[~genuine] > threshold).mean() == fmr


def test_torchmetrics_merges_different_scores_outside_of_0_to_1() -> None:
    """This is why the scores above are mapped: the sigmoid in single precision makes different scores equal."""
    scores = torch.tensor([-30.0, 0.5, 40.0, 41.0])
    assert len(BinaryROC()(scores, torch.tensor([0, 1, 0, 1]))[0]) < 5


def test_a_det_curve_in_blocks_counts_all_comparisons() -> None:
    generator = np.random.default_rng(0)
    identity = np.arange(200) // 4
    embeddings = generator.normal(size=(50, 16))[identity] + generator.normal(size=(200, 16))
    everybody = AllPairs(identity)
    scores = cosine_scores(embeddings, everybody.listed())
    genuine = everybody.listed().genuine
    curve = det_curve(all_pairs_scores(embeddings, everybody, [0.01]))
    for threshold, fmr, fnmr in zip(curve.threshold, curve.fmr, curve.fnmr, strict=True):
        assert (scores[~genuine] > threshold).mean() == pytest.approx(fmr, abs=2 / (~genuine).sum())
        assert (scores[genuine] <= threshold).mean() == pytest.approx(fnmr, abs=1 / genuine.sum())


@pytest.mark.parametrize("fmr", [0.1, 0.01, 0.001])
def test_tar_is_one_minus_the_fnmr_of_open_metric_learning(fmr: float) -> None:
    """Its FNMR is the share of positive pairs whose distance is not below a percentile of the negative distances."""
    trial = normal_trial(700, 10_001)  # FMR * 10,000 is whole, so the percentile is not interpolated
    distances = 1 - trial.values["x"]
    genuine = trial.pairs.genuine
    fnmr = (distances[genuine] >= np.percentile(distances[~genuine], 100 * fmr)).mean()
    tar = verify([trial], fmrs=[fmr], draws=2).systems["x"].tar_at_fmr[fmr].value
    assert tar == pytest.approx(1 - fnmr, abs=1e-12)


def insightface_accuracies(embeddings: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Compute the accuracies of ten folds of consecutive pairs as insightface and facenet do."""
    first, second = embeddings[0::2], embeddings[1::2]
    distances = np.sum(np.square(first - second), 1)
    thresholds = np.arange(0, 4, 0.01)
    accuracies = []
    for train, test in KFold(10, shuffle=False).split(same):
        right = [np.mean((distances[train] < threshold) == same[train]) for threshold in thresholds]
        accuracies.append(np.mean((distances[test] < thresholds[np.argmax(right)]) == same[test]))
    return np.array(accuracies)


@pytest.mark.parametrize("seed", range(3))
def test_fold_accuracies_equal_those_of_the_reference_code(seed: int) -> None:
    generator = np.random.default_rng(seed)
    same = generator.random(600) < 0.5
    first = generator.normal(size=(600, 24))
    second = np.where(same[:, None], first, generator.normal(size=(600, 24))) + generator.normal(size=(600, 24))
    embeddings = normalised(np.stack([first, second], 1).reshape(1200, 24)).astype(float)
    expected = insightface_accuracies(embeddings, same)
    identity = np.arange(1200)
    identity[1::2][same] = identity[0::2][same]
    pairs = PairList(np.arange(0, 1200, 2), np.arange(1, 1200, 2), identity, np.arange(600) // 60)
    folds = folds_of(cosine_scores(embeddings, pairs), pairs)
    assert folds is not None
    assert folds.count == 10
    assert folds.grid.mean == pytest.approx(expected.mean(), abs=1e-12)
    assert folds.grid.spread == pytest.approx(expected.std(), abs=1e-12)
    assert folds.grid.standard_error == pytest.approx(stats.sem(expected), abs=1e-12)
    assert folds.exact.mean == pytest.approx(folds.grid.mean, abs=0.02)


def effects(people: int, seed: int) -> Trial:
    """Return scores that depend on who is compared: impostors are N(0, 1) plus an effect N(0, .7^2) of each person."""
    pairs = list_all_pairs(np.repeat(np.arange(people), 2))
    generator = np.random.default_rng(seed)
    effect = generator.normal(0, 0.7, people)[pairs.identity]
    scores = generator.normal(3 * pairs.genuine) + effect[pairs.a] + effect[pairs.b]
    return Trial(pairs, {"x": scores})


def test_safe_thresholds_and_bounds_hold_as_often_as_stated() -> None:
    """More than 8 violations of a 97.5 % bound in 60 sets have probability below 1e-4.

    The plain threshold, and the bound for independent comparisons, are violated more often.
    """
    wished = 0.05
    spread = np.sqrt(1 + 2 * 0.7**2)
    safe, plain, bounded, independent = 0, 0, 0, 0
    for seed in range(60):
        (found,) = thresholds_for(effects(60, seed), "x", [wished], draws=200, seed=seed)
        safe += stats.norm.sf(found.safe / spread) <= wished
        plain += stats.norm.sf(found.threshold / spread) <= wished
        truth = stats.norm.sf(found.threshold / spread)
        bounded += truth <= found.bound
        false, total = found.false_matches, found.pairs_impostor
        independent += truth <= stats.beta.ppf(0.975, false + 1, total - false)
    assert safe >= 52
    assert bounded >= 52
    assert plain < 45
    assert independent < 45


def test_without_false_matches_the_bound_is_that_of_clopper_and_pearson() -> None:
    pairs = list_all_pairs(np.repeat(np.arange(12), 2))
    genuine = pairs.genuine
    scores = np.where(genuine, 1.0, 0.0)  # all impostors tie, so none lies above the largest
    (found,) = thresholds_for(Trial(pairs, {"x": scores}), "x", [0.02], draws=50)
    assert found.false_matches == 0
    assert found.bound == pytest.approx(1 - 0.025 ** (1 / found.pairs_impostor))


def test_a_threshold_in_blocks_equals_that_of_listed_pairs() -> None:
    generator = np.random.default_rng(0)
    identity = np.arange(300) // 3
    embeddings = generator.normal(size=(100, 16))[identity] + generator.normal(size=(300, 16))
    everybody = AllPairs(identity)
    listed = Trial(everybody.listed(), {"x": cosine_scores(embeddings, everybody.listed())})
    one, other = (
        thresholds_for(trial, "x", [0.01], draws=50)[0]
        for trial in (listed, EmbeddedTrial(everybody, {"x": embeddings}))
    )
    assert one.fmr == other.fmr
    assert (one.false_matches, one.bound) == (other.false_matches, other.bound)
    assert (one.threshold, one.safe) == pytest.approx((other.threshold, other.safe), abs=1e-6)


def test_rates_without_enough_comparisons_are_refused() -> None:
    trial = normal_trial(100, 500)
    with pytest.raises(InputError, match=r"FMR 0\.001 needs 3000 impostor comparisons"):
        thresholds_for(trial, "x", [0.001])
    with pytest.raises(ValueError, match="above 0 and below 1, got 1"):
        thresholds_for(trial, "x", [1.0])
    assert "30 / FMR" in (thresholds_for(trial, "x", [0.01], draws=10)[0].fmr.note or "")


def test_thresholds_of_a_model_without_a_folder_cannot_be_written(tmp_path: Path) -> None:
    from rsft.face.threshold import write_thresholds

    with pytest.raises(InputError, match=r"no bundle.json to write thresholds into"):
        write_thresholds(tmp_path, [])


@pytest.mark.parametrize("tail", [5, 40, 20_000])
def test_rates_of_drawn_people_are_those_of_their_listed_comparisons(
    tail: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the slow way: a comparison counts as often as its people were drawn, an impostor by the product of both."""
    monkeypatch.setattr("rsft.face.evaluation.scores.MIN_TAIL", tail)
    generator = np.random.default_rng(0)
    pairs = list_all_pairs(np.repeat(np.arange(10), 2))
    values = (generator.normal(size=len(pairs)) + 2 * pairs.genuine).round(1)  # many equal scores
    first, second = pairs.identity[pairs.a], pairs.identity[pairs.b]
    scores = listed_scores(values, pairs, [0.02])
    weights = np.vstack([np.ones(10), generator.multinomial(10, np.full(10, 0.1), size=5), np.zeros(10)])
    genuine, impostor = values[pairs.genuine], values[~pairs.genuine]
    assert scores.impostors == len(impostor) == 180
    assert len(scores.impostor) == min(180, max(tail, int(5 * 0.02 * 180)))
    assert scores.impostor.tolist() == sorted(impostor, reverse=True)[: len(scores.impostor)]
    assert scores.genuine.tolist() == sorted(genuine, reverse=True)
    of_all = [sum(w[a] * w[b] for a, b in zip(first, second, strict=True) if a != b) for w in weights]
    np.testing.assert_allclose(scores.impostor_weight(weights), of_all)
    for threshold in (float(scores.impostor[-1]), float(scores.impostor[3]), 9.0):
        false = [
            sum(w[a] * w[b] for a, b, s in zip(first, second, values, strict=True) if a != b and s > threshold)
            for w in weights
        ]
        np.testing.assert_allclose(
            false_match_rates(scores, weights, threshold), np.array(false) / np.maximum(of_all, 1)
        )
        missed = [
            sum(w[a] for a, b, s in zip(first, second, values, strict=True) if a == b and s <= threshold)
            for w in weights
        ]
        np.testing.assert_allclose(false_non_match_rates(scores, weights, threshold)[:-1], np.array(missed[:-1]) / 10)
        assert np.isnan(false_non_match_rates(scores, weights, threshold)[-1])
        assert scores.false_matches(threshold) == (impostor > threshold).sum()
        assert scores.matches(np.array([threshold])).tolist() == [(genuine > threshold).sum()]
    for level in np.unique(impostor):  # also below a short tail, counted over all
        assert scores.false_matches(level) == (impostor > level).sum()
    for fmr in (0.0, 1 / 180, 0.1, 0.5, 1.0):
        expected = min(t for t in impostor if (impostor > t).mean() <= fmr)
        assert scores.threshold(fmr) == expected


def test_a_tail_reaches_down_to_a_wished_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsft.face.evaluation.scores.MIN_TAIL", 5)
    trial = normal_trial(50, 400)
    values, impostor = trial.values["x"], trial.values["x"][~trial.pairs.genuine]
    for below in (0.0, 0.2, 2.0):
        scores = listed_scores(values, trial.pairs, [0.01], below)
        assert len(scores.impostor) == max(20, (impostor > below).sum())


def test_the_equal_error_rate_of_a_small_case() -> None:
    """Two of four genuine scores lie below four of eight impostors: half of each are wrong at a threshold between."""
    identity = np.arange(24)
    identity[1:8:2] = identity[0:8:2]
    pairs = PairList(np.arange(0, 24, 2), np.arange(1, 24, 2), identity)
    values = np.array([0.9, 0.8, 0.3, 0.2, 0.7, 0.6, 0.55, 0.5, 0.1, 0.0, -0.1, -0.2])
    assert listed_scores(values, pairs, [0.1]).eer == 0.5
    assert listed_scores(np.where(pairs.genuine, 1.0, 0.0), pairs, [0.1]).eer == 0
