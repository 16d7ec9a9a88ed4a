"""The widest errors are those of a plain search, also where the pairs are scored in blocks."""

import numpy as np
import pytest

from rsft.face.evaluation import hardest
from rsft.face.evaluation.hardest import hardest_errors
from rsft.face.evaluation.pairs import AllPairs
from rsft.face.evaluation.trials import EmbeddedTrial, Trial, scored

FMR = 0.05


def trial(seed: int) -> Trial:
    generator = np.random.default_rng(seed)
    identity = np.repeat(np.arange(12), 5)
    rows = generator.normal(size=(12, 8))[identity] + 1.2 * generator.normal(size=(60, 8))
    made = scored({"x": rows}, AllPairs(identity))
    assert isinstance(made, Trial)
    return made


def test_errors_are_those_of_a_plain_search() -> None:
    made = trial(0)
    scores, genuine = made.values["x"], made.pairs.genuine
    threshold = made.scores("x", [FMR]).threshold(FMR)
    found = hardest_errors([made], "x", FMR, shown=5)
    missed = np.sort(scores[genuine & (scores <= threshold)])[:5]
    matched = np.sort(scores[~genuine & (scores > threshold)])[::-1][:5]
    assert [pair.score for pair in found["genuine"]] == pytest.approx(missed)
    assert [pair.score for pair in found["impostor"]] == pytest.approx(matched)
    for kind, pairs in found.items():
        for pair in pairs:
            [place] = np.flatnonzero((made.pairs.a == pair.a) & (made.pairs.b == pair.b))
            assert scores[place] == pytest.approx(pair.score)
            assert genuine[place] == (kind == "genuine")


def test_blocks_find_the_same_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardest, "BLOCK", 7)
    made = trial(1)
    identity = made.pairs.identity
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(12, 8))[np.repeat(np.arange(12), 5)] + 1.2 * generator.normal(size=(60, 8))
    listed, blocks = (hardest_errors([one], "x", FMR) for one in (made, EmbeddedTrial(AllPairs(identity), {"x": rows})))
    for kind, pairs in listed.items():
        assert [{pair.a, pair.b} for pair in pairs] == [{pair.a, pair.b} for pair in blocks[kind]]


def test_each_trial_has_its_own_threshold_and_the_widest_margin_comes_first() -> None:
    trials = [trial(2), trial(3)]
    found = hardest_errors(trials, "x", FMR, shown=6)
    for kind, sign in (("genuine", -1), ("impostor", 1)):
        margins = [pair.margin for pair in found[kind]]
        assert margins == sorted(margins, reverse=True)
        assert all(sign * (pair.score - pair.threshold) >= 0 for pair in found[kind])
        assert {pair.trial for pair in found[kind]} <= {0, 1}
    assert len({pair.threshold for pairs in found.values() for pair in pairs}) == 2


def test_a_perfect_system_has_no_genuine_error() -> None:
    identity = np.repeat(np.arange(4), 3)
    perfect = scored({"x": np.eye(4)[identity]}, AllPairs(identity))
    assert hardest_errors([perfect], "x", FMR) == {"genuine": [], "impostor": []}
