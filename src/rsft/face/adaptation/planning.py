"""A plan for faces: on which features, with which covariates told."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rsft.data.features import Features
from rsft.errors import InputError
from rsft.face.adaptation.headroom import with_headroom
from rsft.face.pictures.covariates import WORDS
from rsft.plan import Plan, plan
from rsft.ranking import Ranked, rank_plans
from rsft.ratio.crossfit import FOLDS

# What a plan can be made on; the first is the default.
FEATURES = ("activations", "covariates", "embedding")


def plan_faces(pool: Features, target: Features, *, features: str = FEATURES[0], **options: Any) -> Plan:
    """Plan on one kind of features.

    "activations" is what the frozen stages see, averaged over the picture: its nuisances more than its identity.
    "covariates" is light, sharpness, pose and size alone. "embedding" is the identity the network sees: supports barely
    overlap in it where pool and target are different people.

    Args:
        pool: embedded by the same model as the target; its people are taken for others than those of the target.
        target: likewise.
        features: one of `FEATURES`.
        **options: of `rsft.plan`.

    Raises:
        InputError: pool and target were embedded by different models, or `features` is unknown.
    """
    of_pool, of_target = _table(pool, target, features)
    made = plan(
        of_pool,
        of_target,
        **_of_people(pool.people),
        covariates=(pool.covariates, target.covariates),
        words=WORDS,
        **options,
    )
    return with_headroom(made, pool)


def rank_face_plans(
    pool: Features, target: Features, features: Sequence[str] = FEATURES, **options: Any
) -> list[Ranked]:
    """A plan with each kind of features, the best first; `options` are those of `rank_plans`."""
    return rank_plans(
        {name: _table(pool, target, name) for name in features},
        **_of_people(pool.people),
        covariates=(pool.covariates, target.covariates),
        words=WORDS,
        refine=lambda made: with_headroom(made, pool),
        **options,
    )


def _of_people(people: np.ndarray) -> dict[str, Any]:
    """Each person's pictures in one fold of the ratio, if there are as many people as folds."""
    identities = torch.from_numpy(people)
    enough = len(np.unique(people)) >= FOLDS
    return {"identities": identities} | ({"groups": identities} if enough else {})


def _table(pool: Features, target: Features, features: str) -> tuple[np.ndarray, np.ndarray]:
    if pool.fingerprint != target.fingerprint:
        raise InputError(
            f"pool and target were embedded by different models ({pool.fingerprint} and {target.fingerprint}): "
            "embed both with one."
        )
    if features not in FEATURES:
        raise InputError(f"unknown features '{features}': choose from {', '.join(FEATURES)}.")
    if features == "activations":
        return pool.nuisances, target.nuisances
    if features == "embedding":
        return pool.embeddings, target.embeddings
    names = [name for name in pool.covariates if name in target.covariates]
    return np.column_stack([pool.covariates[name] for name in names]), np.column_stack(
        [target.covariates[name] for name in names]
    )
