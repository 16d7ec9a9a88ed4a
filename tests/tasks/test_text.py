"""Texts as rows: a plan on them finds the texts of the target's kind."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pages import Ran

import rsft
from rsft.tasks.text import ngram_features

ROOT = Path(__file__).parents[2]
KINDS = {
    "weather": "rain sun wind snow storm cloud hail frost fog",
    "kitchen": "rice bread soup salt oven bake stir pan egg",
}


def texts(kind: str, number: int, seed: int) -> list[str]:
    """Draw texts of eight words, six of their kind."""
    generator = np.random.default_rng(seed)
    own, common = KINDS[kind].split(), ["the", "a", "of", "and", "in", "to"]
    return [" ".join([*generator.choice(own, 6), *generator.choice(common, 2)]) for _ in range(number)]


def test_a_plan_on_hashed_ngrams_accepts_the_texts_of_the_targets_kind() -> None:
    pool = texts("weather", 60, 0) + texts("kitchen", 540, 1)
    features = ngram_features(width=8).fit([*pool, *(target := texts("weather", 80, 2))])
    plan = rsft.plan(features.transform(pool), features.transform(target), envelope="rate=0.1")
    accepted = np.concatenate([plan.accepted(epoch) for epoch in range(10)])
    assert (accepted < 60).mean() > 0.8  # a tenth of the pool
    assert len(accepted) == pytest.approx(600, abs=100)


def test_rows_depend_on_the_words_alone_and_survive_pickle() -> None:
    pool = texts("weather", 30, 0) + texts("kitchen", 30, 1)
    features = ngram_features(width=4, seed=1).fit(pool)
    rows = features.transform(pool)
    assert rows.shape == (60, 4)
    again = pickle.loads(pickle.dumps(features)).transform([text.upper() for text in pool])
    np.testing.assert_array_equal(rows, again)
    np.testing.assert_allclose(ngram_features(width=4, seed=1).fit(pool).transform(pool), rows)
    turned = [" ".join(text.split()[::-1]) for text in pool]
    words = ngram_features(width=4, longest=1).fit(pool)
    np.testing.assert_allclose(words.transform(turned), words.transform(pool))
    assert not np.allclose(features.transform(turned), rows)  # pairs of words have an order


def test_the_example_of_the_page_selects_its_target(run_page: Callable[[str], Ran]) -> None:
    names = run_page("docs/text.md").names
    of_target = len(names["statistics"][::3]) / len(names["pool"])
    others = len(names["pool"]) - len(names["statistics"][::3])
    accepted = np.concatenate([names["plan"].accepted(epoch) for epoch in range(4)])
    assert of_target < 0.1
    assert (accepted >= others).mean() > 0.5
    acceptance = names["scored"]["acceptance"].to_numpy()
    assert acceptance[others:].sum() / acceptance.sum() > 0.5


def test_the_page_has_the_figures_of_the_benchmark() -> None:
    page = " ".join((ROOT / "docs" / "text.md").read_text().split())
    told = json.loads((ROOT / "benchmarks" / "results" / "text.json").read_text())
    main, larger = (told["settings"][name] for name in ("main", "larger sample"))
    for name, of in main["methods"].items():
        middle, low, high = of["loss"]["from_rsft"]
        apart = "" if name == "rsft" else f" ({middle:+.3f} [{low:+.3f}, {high:+.3f}])"
        share = f"{of['of_the_target']['mean']:.1%}".replace("%", " %")
        assert f"| {share} | {of['divergence']['mean']:.3f} | {of['loss']['mean']:.3f}{apart} |" in page, name
    runs = main["runs"]
    middle, low, high = larger["methods"]["DSIR"]["loss"]["from_rsft"]
    assert f"{larger['target']:,} passages" in page
    assert f"{middle:+.3f} [{low:+.3f}, {high:+.3f}] from rsft" in page
    for side in ("rsft", "DSIR"):
        assert f"{np.mean([run['distinct_in_epochs'][side] for run in runs]):.2f} times" in page
    for name in ("rsft", "DSIR's weights"):
        assert f"{np.mean([run['law'][name]['clipped_mass'] for run in runs]):.1%}".replace("%", " %") in page
    assert f"target {np.mean([run['auc_after'] for run in runs]):.2f}" in page
