"""`migrate` embeds a gallery with another model and reports every changed match."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rsft.data.features import load_features
from rsft.errors import InputError
from rsft.face.embed_folder import embed_folder
from rsft.face.migrate import migrate
from rsft.face.networks.bundle import FaceModel, face_model
from rsft.face.networks.chip_points import ARCFACE, scaled


def model(seed: int) -> FaceModel:
    """Return a small random network for chips of 32 px."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 7 * 7, 12))
    return face_model(network, name=f"seed {seed}", size=32, template=scaled(ARCFACE, 32 / 112))


@pytest.fixture(scope="module")
def gallery(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embed the retention set with the old model."""
    out = tmp_path_factory.mktemp("gallery") / "old"
    embed_folder(pool=faces / "retention", out=out, model=model(0), aligned=True)
    return out


def nearest(probes: np.ndarray, gallery: np.ndarray, own: bool) -> tuple[list[int], list[float]]:
    """Find the nearest pictures with a plain loop."""
    found, scores = [], []
    for index, probe in enumerate(probes):
        cosines = [
            -2.0 if own and other == index else probe @ row / np.linalg.norm(probe) / np.linalg.norm(row)
            for other, row in enumerate(gallery)
        ]
        found.append(int(np.argmax(cosines)))
        scores.append(max(cosines))
    return found, scores


def test_changes_within_a_gallery_equal_those_of_a_plain_loop(gallery: Path, faces: Path, tmp_path: Path) -> None:
    embed_folder(pool=faces / "retention", out=tmp_path / "first", model=model(1), aligned=True)
    middle = []
    for folder in (gallery, tmp_path / "first"):
        embeddings = load_features(folder).embeddings
        middle.append(float(np.median(nearest(embeddings, embeddings, own=True)[1])))
    old, new = (replace(model(seed), thresholds={"0.001": middle[seed]}) for seed in (0, 1))
    found = migrate(gallery, pool=faces / "retention", model=new, old_model=old, out=tmp_path / "new", aligned=True)
    parts = load_features(gallery), load_features(tmp_path / "new")
    assert [part.fingerprint for part in parts] == [old.fingerprint, new.fingerprint]
    (before, before_score), (after, after_score) = (nearest(p.embeddings, p.embeddings, own=True) for p in parts)
    moved = [row for row in range(60) if before[row] != after[row]]
    decided = [row for row in range(60) if (before_score[row] > middle[0]) != (after_score[row] > middle[1])]
    people = [item.split("/")[0] for item in parts[0].ids]
    assert (found["enrolled"], found["left_out"], found["probes"], found["changed"]) == (60, 0, 60, len(moved))
    assert found["identity_changed"] == sum(people[before[row]] != people[after[row]] for row in moved)
    assert found["decision_changed"] == len(decided)
    assert found["accepted"] == [30, 30]
    assert moved
    assert decided
    changes = json.loads((tmp_path / "new" / "changes.json").read_text())
    assert [change["probe"] for change in changes] == [parts[0].ids[row] for row in sorted({*moved, *decided})]
    assert all(change["after"] == parts[0].ids[after[parts[0].ids.index(change["probe"])]] for change in changes)


def test_probes_are_searched_for_with_both_models(gallery: Path, faces: Path, tmp_path: Path) -> None:
    found = migrate(
        gallery,
        pool=faces / "retention",
        model=model(1),
        out=tmp_path / "new",
        probes=faces / "retention",
        old_model=model(0),
        aligned=True,
    )
    assert (found["probes"], found["changed"], found["decision_changed"]) == (60, 0, None)  # each finds itself
    assert found["thresholds"] == [None, None]  # so that no decision was compared


def test_invalid_migrations_are_refused(gallery: Path, faces: Path, tmp_path: Path) -> None:
    options = {"pool": faces / "retention", "out": tmp_path / "new", "aligned": True}
    with pytest.raises(InputError, match="already embedded with this model"):
        migrate(gallery, model=model(0), **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="give the old model too"):
        migrate(gallery, model=model(1), probes=faces / "target", **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="embeddings are not comparable"):
        migrate(gallery, model=model(1), old_model=model(2), **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="60 of the 60 pictures"):
        migrate(gallery, model=model(1), pool=faces / "target", out=tmp_path / "new")
    assert not (tmp_path / "new").exists()
