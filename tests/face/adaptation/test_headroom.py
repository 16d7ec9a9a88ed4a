"""Whether the model already handles the target, on clusters with a known TAR."""

import numpy as np
import pytest
from small_pools import features_of

from rsft.face.adaptation.alike import FMR
from rsft.face.adaptation.headroom import MAX_GAP, MIN_TAR, find_headroom, with_headroom
from rsft.plan import plan_from_ratio
from rsft.ratio.attributes import attribute_ratio
from rsft.verdict import Outcome

PEOPLE, PICTURES, WIDTH = 60, 8, 24


def pool(noise_alike: float, seed: int = 0, usual_noise: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return embeddings, people and a mask of target-like pictures: every fourth picture, with noise of its own."""
    generator = np.random.default_rng(seed)
    people = np.repeat(np.arange(PEOPLE), PICTURES)
    alike = np.arange(len(people)) % 4 == 0
    noise = np.where(alike, noise_alike, usual_noise)[:, None] * generator.normal(size=(len(people), WIDTH))
    return generator.normal(size=(PEOPLE, WIDTH))[people] + noise, people, alike


def tar(embeddings: np.ndarray, people: np.ndarray, rows: np.ndarray) -> float:
    """Compute the TAR of the items in the mask `rows` (N,) against all other items, by sorting."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    scores = unit[rows] @ unit.T
    same = people[rows][:, None] == people
    others = np.flatnonzero(rows)[:, None] != np.arange(len(people))
    impostors = np.sort(scores[~same])[::-1]
    return float((scores[same & others] > impostors[int(FMR * len(impostors))]).mean())


@pytest.mark.parametrize("noise", [0.3, 1.0, 1.6])
def test_the_gap_equals_that_of_all_comparisons(noise: float) -> None:
    embeddings, people, alike = pool(noise)
    found = find_headroom(embeddings, people, alike.astype(float))
    assert found is not None
    for interval, rows in ((found.alike, alike), (found.usual, np.ones(len(people), bool))):
        assert interval.value is not None
        assert interval.value == pytest.approx(tar(embeddings, people, rows), abs=0.02)
    assert found.usual.value is not None
    assert found.alike.value is not None
    assert found.gap.value == pytest.approx(found.usual.value - found.alike.value)


def test_the_interval_covers_the_gap_of_the_population() -> None:
    """At least 34 of 40 intervals cover it: 95 % minus three standard errors. The population is all pools together."""
    drawn = [pool(1.0, seed) for seed in range(40)]
    gaps = [
        tar(embeddings, people, people >= 0) - tar(embeddings, people, alike) for embeddings, people, alike in drawn
    ]
    held = 0
    for embeddings, people, alike in drawn:
        found = find_headroom(embeddings, people, alike.astype(float))
        assert found is not None
        assert found.gap.low is not None
        assert found.gap.high is not None
        held += bool(found.gap.low <= np.mean(gaps) <= found.gap.high)
    assert held >= 34


@pytest.mark.parametrize(
    ("noise", "usual_noise", "outcome", "hardly_worse"),
    [
        (0.3, 0.3, Outcome.MODEL_COPES, False),
        (1.6, 0.3, Outcome.WORTH_TRYING, False),
        (1.2, 1.2, Outcome.WORTH_TRYING, True),  # equally bad on all pictures
    ],
)
def test_a_model_that_handles_the_target_needs_no_training(
    noise: float, usual_noise: float, outcome: Outcome, hardly_worse: bool
) -> None:
    embeddings, people, alike = pool(noise, usual_noise=usual_noise)
    plan = plan_from_ratio(attribute_ratio(alike.tolist(), {True: 0.9, False: 0.1}), envelope="max_tv=0.1")
    judged = with_headroom(plan, features_of(embeddings, people))
    assert plan.verdict.outcome is Outcome.WORTH_TRYING
    assert judged.verdict.outcome is outcome
    assert ("uniform training may gain as much" in judged.verdict.reason) == hardly_worse
    assert (judged.diagnostics["alike_tar"] >= MIN_TAR) == (outcome is Outcome.MODEL_COPES)
    assert (judged.diagnostics["tar_gap"] < MAX_GAP) == (outcome is Outcome.MODEL_COPES or hardly_worse)
    assert "TAR at FMR 0.01" in judged.verdict.reason
    assert judged.diagnostics.keys() >= plan.diagnostics.keys()


def test_a_negative_verdict_is_kept() -> None:
    embeddings, people, _ = pool(0.3)
    plan = plan_from_ratio(attribute_ratio([0] * len(people), {0: 1.0}))
    judged = with_headroom(plan, features_of(embeddings, people))
    assert judged.verdict == plan.verdict
    assert judged.verdict.outcome is Outcome.POOL_MATCHES


@pytest.mark.parametrize("people", [np.arange(40), np.zeros(40, int)], ids=["one picture each", "one person"])
def test_pools_without_both_kinds_of_comparisons_have_no_headroom(people: np.ndarray) -> None:
    embeddings = np.random.default_rng(0).normal(size=(40, WIDTH))
    assert find_headroom(embeddings, people, np.ones(40)) is None
    assert find_headroom(embeddings, people, np.zeros(40)) is None
    plan = plan_from_ratio(attribute_ratio([0, 1] * 20, {0: 0.9, 1: 0.1}))
    assert with_headroom(plan, features_of(embeddings, people)) is plan
