"""Plans on real faces: the shifted covariates are named, and the accepted items have the shift."""

from pathlib import Path

import numpy as np
import pytest

from rsft.data.features import Features, load_features
from rsft.data.images import find_images
from rsft.errors import InputError
from rsft.face.adaptation.planning import FEATURES, plan_faces, rank_face_plans
from rsft.face.networks.load import load_model
from rsft.face.pictures.embedding import embed
from rsft.verdict import Outcome


@pytest.fixture(scope="module")
def sides(faces: Path) -> tuple[Features, Features]:
    pool, target = (embed(load_model("dlib"), find_images(faces / name), aligned=True) for name in ("pool", "target"))
    return pool, target


def test_covariates_are_saved_with_the_features(sides: tuple[Features, Features], tmp_path: Path) -> None:
    pool, _ = sides
    pool.save(tmp_path)
    loaded = load_features(tmp_path)
    assert set(loaded.covariates) == {"brightness", "contrast", "sharpness", "noise", "mouth_detail"}
    assert np.array_equal(loaded.covariates["noise"], pool.covariates["noise"])
    assert len(pool.subset(np.array([3, 1])).covariates["noise"]) == 2


def test_plans_on_each_kind_of_features(sides: tuple[Features, Features]) -> None:
    pool, target = sides
    ranked = rank_face_plans(pool, target, envelope="max_tv=0.1", retain_fraction=0.5)
    assert {plan.features for plan in ranked} == set(FEATURES)
    arrival = ranked[0].plan.arrival
    assert arrival is not None
    darkest = {row.name: row.before.value for row in arrival.covariates}
    assert darkest["brightness"] is not None
    assert darkest["brightness"] < -1
    # the dark items are like the target
    likeness = plan_faces(pool, target, features="activations", envelope="max_tv=0.1").likeness.numpy()
    dark = pool.covariates["brightness"] < np.median(target.covariates["brightness"]) * 1.3
    assert likeness[dark].mean() > 5 * likeness[~dark].mean()
    # pool and target have different people, and only ten pictures are dark: only activations overlap enough
    outcomes = {plan.features: plan.plan.verdict.outcome for plan in ranked}
    assert outcomes == {
        "activations": Outcome.WORTH_TRYING,
        "covariates": Outcome.TOO_LITTLE_SUPPORT,
        "embedding": Outcome.TOO_LITTLE_SUPPORT,
    }
    # dark pictures are harder for the network than other pictures of the same people
    for made in (ranked[0].plan, plan_faces(pool, target, features="activations", envelope="max_tv=0.1")):
        assert made.diagnostics["tar_gap"] > 0.2


def test_unknown_features_are_refused(sides: tuple[Features, Features]) -> None:
    pool, target = sides
    with pytest.raises(InputError, match="unknown features 'colour': choose from auto, covariates"):
        plan_faces(pool, target, features="colour")
