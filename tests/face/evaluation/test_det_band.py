"""A DET band is the TAR of `verify` at every FMR, with its intervals."""

import numpy as np
import pytest

from rsft.face.evaluation import det, verification
from rsft.face.evaluation.det import det_band
from rsft.face.evaluation.pairs import AllPairs
from rsft.face.evaluation.trials import AnyTrial, scored


def trial(seed: int, people: int = 30) -> AnyTrial:
    generator = np.random.default_rng(seed)
    identity = np.repeat(np.arange(people), 4)
    rows = generator.normal(size=(people, 16))[identity] + generator.normal(size=(4 * people, 16))
    return scored({"x": rows}, AllPairs(identity))


def test_a_band_agrees_with_verify_and_holds_its_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(det, "BAND_DRAWS", 1000)
    trials = [trial(0), trial(1, people=20)]
    band = det_band(trials, "x", seed=5)
    assert band is not None
    at = [band.fmr[place] for place in (0, 9, -1)]
    report = verification.verify(trials, fmrs=at, seed=5)
    for place, fmr in zip((0, 9, -1), at, strict=True):
        tar = report.systems["x"].tar_at_fmr[fmr]
        of_band = [1 - rate for rate in (band.fnmr[place], band.high[place], band.low[place])]
        assert of_band == pytest.approx([tar.value, tar.low, tar.high])
    assert band.fnmr == sorted(band.fnmr, reverse=True)
    assert all(low <= value <= high for low, value, high in zip(band.low, band.fnmr, band.high, strict=True))


def test_a_band_begins_at_the_lowest_fmr_that_is_supported() -> None:
    band = det_band([trial(0)], "x")
    assert band is not None
    assert band.fmr[0] == pytest.approx(3 / trial(0).pairs.counts[1])
    assert band.fmr[-1] == pytest.approx(0.1)


def test_too_few_impostors_have_no_band() -> None:
    identity = np.array([0, 0, 1, 1])
    assert det_band([scored({"x": np.eye(4)}, AllPairs(identity))], "x") is None
