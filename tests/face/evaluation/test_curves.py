"""DET curves, folds and thresholds against other libraries, and thresholds against the law."""

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
from rsft.face.evaluation.scores import all_pairs_scores, listed_scores
from rsft.face.evaluation.thresholds import thresholds_for
from rsft.face.evaluation.trials import EmbeddedTrial, Trial, cosine_scores
from rsft.face.evaluation.verification import verify


def normal_trial(genuine: int, impostor: int, seed: int = 0) -> Trial:
    """Pairs of pictures that occur once each; scores N(.5, .2^2) of genuine ones, N(0, .2^2) of impostors."""
    total = genuine + impostor
    identity = np.arange(2 * total)
    identity[1 : 2 * genuine : 2] = identity[0 : 2 * genuine : 2]
    pairs = PairList(np.arange(0, 2 * total, 2), np.arange(1, 2 * total, 2), identity)
    scores = np.random.default_rng(seed).normal(0.5 * pairs.genuine, 0.2).clip(-1, 1)
    return Trial(pairs, {"x": scores})


def test_a_det_curve_is_on_the_roc_curves_of_others() -> None:
    """scikit-learn's, and torchmetrics' on scores mapped to [0, 1]: outside of it, it takes them for logits."""
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


def test_torchmetrics_on_scores_as_they_are_is_another_curve() -> None:
    """Why the scores above are mapped: its sigmoid in single precision joins scores that are apart."""
    scores = torch.tensor([-30.0, 0.5, 40.0, 41.0])
    assert len(BinaryROC()(scores, torch.tensor([0, 1, 0, 1]))[0]) < 5


def test_a_det_curve_in_blocks_counts_all() -> None:
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
def test_tar_is_one_less_open_metric_learnings_fnmr(fmr: float) -> None:
    """Its formula: the percentile of the distances of negative pairs, and the positive ones that are not below it."""
    trial = normal_trial(700, 10_001)  # with FMR * 10,000 whole, its interpolation between two distances does nothing
    distances = 1 - trial.values["x"]
    genuine = trial.pairs.genuine
    fnmr = (distances[genuine] >= np.percentile(distances[~genuine], 100 * fmr)).mean()
    tar = verify([trial], fmrs=[fmr], draws=2).systems["x"].tar_at_fmr[fmr].value
    assert tar == pytest.approx(1 - fnmr, abs=1e-12)


def insightface_accuracies(embeddings: np.ndarray, same: np.ndarray) -> np.ndarray:
    """As `verification.py` of insightface and `lfw.py` of facenet compute them, for ten folds of consecutive pairs."""
    first, second = embeddings[0::2], embeddings[1::2]
    distances = np.sum(np.square(first - second), 1)
    thresholds = np.arange(0, 4, 0.01)
    accuracies = []
    for train, test in KFold(10, shuffle=False).split(same):
        right = [np.mean((distances[train] < threshold) == same[train]) for threshold in thresholds]
        accuracies.append(np.mean((distances[test] < thresholds[np.argmax(right)]) == same[test]))
    return np.array(accuracies)


@pytest.mark.parametrize("seed", range(3))
def test_folds_are_those_of_the_reference(seed: int) -> None:
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
    """Impostor scores that depend on who is compared: N(0, 1) and an effect N(0, .7^2) of each of the two people."""
    pairs = list_all_pairs(np.repeat(np.arange(people), 2))
    generator = np.random.default_rng(seed)
    effect = generator.normal(0, 0.7, people)[pairs.identity]
    scores = generator.normal(3 * pairs.genuine) + effect[pairs.a] + effect[pairs.b]
    return Trial(pairs, {"x": scores})


def test_a_safe_threshold_keeps_to_the_rate_and_the_bound_holds() -> None:
    """Of 60 sets at most 8 may break a promise of 97.5 % (probability below 1e-4); the plain rules break it often."""
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


def test_nothing_above_the_threshold_leaves_the_bound_of_clopper_and_pearson() -> None:
    pairs = list_all_pairs(np.repeat(np.arange(12), 2))
    genuine = pairs.genuine
    scores = np.where(genuine, 1.0, 0.0)  # all impostors tie: none lies above the largest
    (found,) = thresholds_for(Trial(pairs, {"x": scores}), "x", [0.02], draws=50)
    assert found.false_matches == 0
    assert found.bound == pytest.approx(1 - 0.025 ** (1 / found.pairs_impostor))


def test_a_threshold_in_blocks_is_that_of_listed_comparisons() -> None:
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


def test_rates_that_nothing_supports_are_refused() -> None:
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
