"""Plans on real faces: the shifted covariates are named, and the accepted items have the shift."""

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch

from rsft.data.features import Features, load_features
from rsft.data.images import find_images
from rsft.errors import InputError
from rsft.evaluation.shift import auc_error
from rsft.face.adaptation.planning import choose_features, plan_faces, rank_face_plans
from rsft.face.adaptation.recipe import FEATURES
from rsft.face.networks.load import load_model
from rsft.face.pictures.embedding import embed
from rsft.plan import plan_from_ratio
from rsft.ranking import Ranked
from rsft.verdict import Outcome, Verdict


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


ACCEPTED, TARGETS = 100, 80
ERROR = auc_error(0.5, TARGETS, ACCEPTED)


def ranked(features: str, after: float | None, outcome: Outcome = Outcome.WORTH_TRYING) -> Ranked:
    """Return a made-up plan with an AUC between its accepted items and the target."""
    made = plan_from_ratio(torch.zeros(2 * ACCEPTED, dtype=torch.float64))
    made = replace(
        made,
        likeness=torch.full((2 * ACCEPTED,), 0.5, dtype=torch.float64),
        verdict=Verdict(outcome, ""),
        diagnostics={"target_effective_groups": float(TARGETS)},
    )
    return Ranked(features, "classifier", made, 0.9, after, "")


def chosen(*plans: Ranked) -> str:
    """Return the chosen kind, which must not depend on the order of the ranking."""
    (kind,) = {choose_features(order).features for order in permutations(plans)}
    return kind


def test_the_cheapest_kind_that_is_as_good_as_the_best_is_chosen() -> None:
    for sign in (1, -1):  # below 0.5 is as far from the target as above
        near, far = (0.5 + sign * (0.02 + share * ERROR) for share in (1.99, 2.01))
        best = ranked("embedding", 0.52)
        assert chosen(best, ranked("covariates", near), ranked("activations", 0.53)) == "covariates"
        assert chosen(best, ranked("covariates", far), ranked("activations", 0.53)) == "activations"
        assert chosen(best, ranked("covariates", far), ranked("activations", far)) == "embedding"
    assert chosen(ranked("covariates", 0.5), ranked("activations", 0.5), ranked("embedding", 0.5)) == "covariates"


def test_a_plan_that_may_be_worth_trying_comes_before_a_closer_one_that_is_not() -> None:
    hopeless = ranked("covariates", 0.5, Outcome.TOO_LITTLE_SUPPORT)
    assert chosen(hopeless, ranked("activations", 0.8), ranked("embedding", 0.9)) == "activations"
    small = ranked("embedding", 0.8, Outcome.PILOT_TOO_SMALL)
    assert chosen(hopeless, small, ranked("activations", 0.5, Outcome.NOT_ESTIMABLE)) == "embedding"
    none = [ranked(kind, after, Outcome.POOL_MATCHES) for kind, after in zip(FEATURES, (0.9, 0.6, 0.5), strict=True)]
    assert chosen(*none) in {"activations", "embedding"}


def test_a_kind_that_accepts_too_few_items_to_compare_is_chosen_only_if_all_do() -> None:
    assert chosen(ranked("covariates", None), ranked("activations", 0.9), ranked("embedding", 0.95)) == "activations"
    assert chosen(*(ranked(kind, None) for kind in FEATURES)) == "covariates"
