"""Networks side by side, from made-up trainings: intervals paired by seeds and draws, and none for other pictures."""

import json
from pathlib import Path

import numpy as np
import pytest

from rsft.compare import Comparison, Trained
from rsft.data.features import Features
from rsft.evaluation.seeds import interval_over_seeds
from rsft.face.compare_models import ModelsCompared
from rsft.face.runs.measured import MEASURED_FILE, differ_in, note_measured
from rsft.types import Interval

METRIC, OTHER = "target TAR at FMR 0.01", "retain TAR at FMR 0.01"
SEEDS, DRAWS = 4, 300


def measured(level: float, people: np.ndarray, noise: np.ndarray) -> list[float]:
    """Return a value and its draws: what the draw of people does to every network, and what is the network's own."""
    return [level, *(level + people + 0.005 * noise)]


def comparison(start: float, tuned: float, seed: int, metrics: tuple[str, ...] = (METRIC, OTHER)) -> Comparison:
    """Return a comparison with these levels. All have the same draws of people."""
    people = 0.1 * np.random.default_rng(0).normal(size=DRAWS)
    own = np.random.default_rng(seed)

    def trained(method: str, level: float, number: int) -> Trained:
        values = {metric: measured(level + 0.003 * number, people, own.normal(size=DRAWS)) for metric in metrics}
        return Trained(method, 1e-5, number, 32, 32, 1.0, 0.0, values)

    runs = {
        method: [trained(method, level, number) for number in range(SEEDS)]
        for method, level in (("uniform", start), ("rejection", tuned))
    }
    return Comparison(runs, {}, {metric: measured(start, people, own.normal(size=DRAWS)) for metric in metrics})


@pytest.fixture
def compared() -> ModelsCompared:
    return ModelsCompared({"a": comparison(0.47, 0.52, 1), "b": comparison(0.59, 0.57, 2)})


def plain(compared: ModelsCompared, system: tuple[str, str], reference: tuple[str, str]) -> Interval:
    """Return the difference of two systems, seed by seed and draw by draw."""
    rows = []
    for seed in range(SEEDS):
        values = []
        for name, method in (system, reference):
            of_model = compared.comparisons[name]
            stored = of_model.start if method == "pretrained" else of_model.runs[method][seed].measured
            values.append(np.array(stored[METRIC]))
        rows.append(values[0] - values[1])
    return interval_over_seeds(rows)


def test_differences_between_networks_are_paired(compared: ModelsCompared) -> None:
    """Unpaired ends would be far wider, since most of the draws is in the people of both."""
    assert compared.difference("b", "a", METRIC) == plain(compared, ("b", "pretrained"), ("a", "pretrained"))
    tuned = compared.difference("a, tuned", "b", METRIC)
    assert tuned == plain(compared, ("a", "rejection"), ("b", "pretrained"))
    apart = [compared.value(system, METRIC) for system in ("a, tuned", "b")]
    assert tuned.low is not None
    assert tuned.high is not None
    width = sum((one.high or 0.0) - (one.low or 0.0) for one in apart)
    assert width > 5 * (tuned.high - tuned.low)


def test_the_gain_counts_over_the_best_untouched_network(compared: ModelsCompared) -> None:
    """Tuning helps the first network and harms the second, which is better untouched than any tuned one."""
    assert (compared.best(tuned=False), compared.best(tuned=True)) == ("b", "b, tuned")
    gain = compared.difference("b, tuned", "b", METRIC)
    assert compared.to_dict()["verdict"] == compared.verdict()
    assert f"worse than b untouched: {gain.signed()}" in compared.verdict()
    assert f"better than a: {compared.difference('b', 'a', METRIC).signed()}" in compared.verdict()


def test_networks_that_used_other_pictures_have_no_interval_of_their_difference(compared: ModelsCompared) -> None:
    apart = ModelsCompared(compared.comparisons, {"b": "other pictures of the target set could be used"})
    for one, other in (("b", "a"), ("a", "b, tuned"), ("a, tuned", "b")):
        found = apart.difference(one, other, METRIC)
        assert (found.low, found.high, found.note) == (None, None, apart.unpaired["b"])
        assert found.value == pytest.approx(compared.difference(one, other, METRIC).value)
    assert apart.difference("b, tuned", "b", METRIC) == compared.difference("b, tuned", "b", METRIC)
    assert "not comparable to a: other pictures" in apart.verdict()
    json.dumps(apart.to_dict(), allow_nan=False)


def test_only_metrics_of_all_networks_are_compared(compared: ModelsCompared) -> None:
    less = comparison(0.5, 0.5, 3, (METRIC,))
    assert ModelsCompared(dict(compared.comparisons) | {"c": less}).metrics == [METRIC]
    assert compared.metrics == [METRIC, OTHER]


def test_pictures_are_the_same_if_their_ids_are(tmp_path: Path) -> None:
    rows = np.zeros((2, 3), np.float32)
    for name, ids in (("a", ["x", "y"]), ("b", ["x", "y"]), ("c", ["x", "z"])):
        (tmp_path / name).mkdir()
        note_measured(tmp_path / name, {"target": Features(ids, rows, rows, None, [], "")})
        assert (tmp_path / name / MEASURED_FILE).exists()
    assert differ_in(tmp_path / "a", tmp_path / "b") is None
    assert differ_in(tmp_path / "a", tmp_path / "c") == (
        "other pictures of the target set could be used (2 pictures by a, 2 by c)"
    )
