"""Every benchmark can be imported. The tests do not run them, as this takes data and hours."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rsft.face.networks.load import load_model
from rsft.face.pictures.align import AlignedFace
from rsft.face.pictures.covariates import covariates
from rsft.face.pictures.embedding import embed
from rsft.types import Interval

FOLDER = Path(__file__).parents[1] / "benchmarks"
PEERS = ("densratio", "skada", "data_selection", "nltk")  # optional: the extra `bench`, and what `text.py` names


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_each_benchmark_can_be_imported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in PEERS:
            raise
        pytest.skip(f"needs {error.name}")


def test_the_chips_of_benchmarks_are_embedded_as_pictures_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    model = load_model("dlib")
    pixels = np.random.default_rng(0).integers(0, 256, (3, model.size, model.size, 3), dtype=np.uint8)
    chips = importlib.import_module("shifted_faces").Chips(["a/0", "a/1", "b/0"], pixels, np.zeros(3))
    stored = embed(model, chips, views=2, aligned=True, folder=tmp_path)
    assert len(stored) == 3
    assert np.array_equal(stored.embeddings, embed(model, chips, aligned=True).embeddings)


@pytest.mark.parametrize("name", ["real_shifts", "real_dealings", "real_fits", "real_parts", "verdicts"])
def test_the_page_of_a_benchmark_is_that_of_its_results(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    benchmark = importlib.import_module(name)
    assert benchmark.PAGE.read_text() == benchmark.page(json.loads(benchmark.RESULTS.read_text()))


def test_the_page_on_robustness_is_that_of_its_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    robustness = importlib.import_module("robustness")
    told = [read(f"soak_{name}") for name in robustness.RESULTS_OF]
    assert robustness.PAGE.read_text() == robustness.page(*told)


def test_views_with_the_nuisances_of_a_target_measure_like_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    nuisances, model = importlib.import_module("target_nuisances"), load_model("dlib")
    template, generator = np.array(model.template), np.random.default_rng(0)
    waves = np.sin(np.add.outer(np.arange(150), np.arange(150)) / 5)[..., None]
    chip = np.clip(128 + 60 * waves + generator.normal(0, 1, (150, 150, 3)), 0, 255).astype(np.uint8)
    wanted = {"brightness": 90.0, "contrast": 30.0, "sharpness": 2.0, "noise": 1.5}
    target = SimpleNamespace(covariates={name: np.array([value]) for name, value in wanted.items()})
    told = covariates(AlignedFace(nuisances.like_target(target, template)(chip, generator)), template)
    before = covariates(AlignedFace(chip), template)
    for name, far in (("brightness", 2.0), ("contrast", 2.0), ("sharpness", 0.3), ("noise", 0.2)):
        assert abs(told[name] - wanted[name]) < far < abs(before[name] - wanted[name]), name


def read(name: str) -> Any:
    return json.loads((FOLDER / "results" / f"{name}.json").read_text())


def test_the_pages_have_the_figures_of_what_to_train() -> None:
    docs, of = FOLDER.parent / "docs", read("real_parts")["networks"]["dlib"]

    def told(metric: str, trained: str, other: str = "pretrained") -> str:
        return Interval(**of[f"{metric} TAR at FMR 0.01"][trained][f"less {other}"]).signed().replace("0.", ".")

    free = "all, not held to the start"
    tuning, card = (" ".join((docs / name).read_text().split()) for name in ("tuning.md", "cards/recipe.md"))
    assert f"ordinary pictures: {told('retain', 'all')} in place of {told('retain', free)}" in tuning
    assert (
        f"{told('target', 'all')}, ordinary pictures {told('retain', 'all')}; without it {told('target', free)}" in card
    )
    assert told("retain", free) in card
    parts = {
        name: told("target", name, "rejection, whitening alone")
        for name in ("all", "adapters of rank 8", "normalisation")
    }
    all_of_them, adapters, normalisation = parts.values()
    assert f"alone: all {all_of_them}, adapters {adapters}, normalisation {normalisation}; ordinary" in card


def test_the_pages_have_the_figures_of_small_benchmarks() -> None:
    docs = FOLDER.parent / "docs"
    tuning, data, changes = (
        " ".join(path.read_text().split())
        for path in (docs / "tuning.md", docs / "data.md", FOLDER.parent / "CHANGELOG.md")
    )
    further = {kind: read("memory")[kind]["bytes_a_further_picture"] for kind in ("plan", "fit")}
    assert f"added {further['plan']} bytes each to the peak of a plan and {further['fit']} to that of a run" in tuning
    archives = read("landmark_order")["archives"]
    told = {name: of["alarms_mirrored"] / of["faces"] for name, of in archives.items()}
    faces, alarms = (sum(of[key] for of in archives.values()) for key in ("faces", "alarms"))
    assert f"{alarms} alarms in {faces:,} real faces" in data
    assert f"LFW's are told in {told['lfw-folds1-6']:.1%} of the rows, FRMDB's in {told['frmdb-dev']:.0%}" in data
    pools, remote = " ".join((docs / "pools.md").read_text().split()), read("remote_pool")
    for first, both in zip(*(remote["runs"][kind].values() for kind in ("latency", "latency and link")), strict=True):
        figures = (
            f"{first['bytes'] / 1e6:.1f} MB",
            first["requests"],
            f"{first['seconds']:.2f}",
            f"{both['seconds']:.2f}",
        )
        assert " | ".join(map(str, figures)) in pools
    assert f"{remote['pictures']:,} pictures of 38 kB in {remote['shards']} shards" in pools
    assert f"of which {remote['accepted']} are accepted" in pools
    assert read("startup")["processor_seconds"]["rsft --help"] < 0.3
    assert "`rsft --help` takes a fifth of a second" in changes
