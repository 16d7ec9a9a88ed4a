"""Plans for faces, on one of several kinds of features."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rsft.data.features import Features
from rsft.errors import InputError
from rsft.face.adaptation.headroom import with_headroom
from rsft.plan import Plan, plan
from rsft.ranking import Ranked, rank_plans
from rsft.ratio.crossfit import FOLDS

# For each covariate of `rsft.face.pictures.covariates`, the words for a low and a high value.
WORDS = {
    "brightness": ("dark", "bright"),
    "contrast": ("low contrast", "high contrast"),
    "sharpness": ("blurred", "sharp"),
    "noise": ("clean", "noisy"),
    "mouth_detail": ("mouth covered", "mouth seen clearly"),
    "yaw": ("turned to the left of the picture", "turned to the right of the picture"),
    "roll_degrees": ("tilted to the left", "tilted to the right"),
    "eye_distance_pixels": ("small face", "large face"),
    "detector_confidence": ("hard to detect", "easy to detect"),
}

# Kinds of features that a plan can be made on. The first is the default.
FEATURES = ("activations", "covariates", "embedding")


def plan_faces(pool: Features, target: Features, *, features: str = FEATURES[0], **options: Any) -> Plan:
    """Plan which pictures of a pool to accept for a target, on one kind of features.

    "activations" are the outputs of the frozen stages, averaged over the picture. They reflect how a picture was taken
    more than who is in it. "covariates" are measurements of light, sharpness, pose and size. "embedding" is the
    embedding, which reflects the identity: pool and target barely overlap in it if they have different people.

    Args:
        pool: Features of the pool. Its people are assumed to differ from those of the target.
        target: Features of the target, by the same model.
        features: Kind of features, one of `FEATURES`.
        **options: Further arguments of `rsft.plan`.

    Returns:
        The plan, with the headroom of the network; see `with_headroom`.

    Raises:
        InputError: If pool and target were embedded by different models, or `features` is unknown.
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
    """Make a plan on each kind of features, and rank the plans.

    Args:
        pool: Features of the pool. Its people are assumed to differ from those of the target.
        target: Features of the target, by the same model.
        features: Kinds of features, from `FEATURES`; see `plan_faces`.
        **options: Further arguments of `rank_plans`.

    Returns:
        The ranked plans, the best first.

    Raises:
        InputError: If pool and target were embedded by different models, or a kind of features is unknown.
    """
    return rank_plans(
        {name: _table(pool, target, name) for name in features},
        **_of_people(pool.people),
        covariates=(pool.covariates, target.covariates),
        words=WORDS,
        refine=lambda made: with_headroom(made, pool),
        **options,
    )


def _of_people(people: np.ndarray) -> dict[str, Any]:
    """Return the options of a plan that identify people, and keep each in one fold of the ratio if they are enough."""
    identities = torch.from_numpy(people)
    enough = len(np.unique(people)) >= FOLDS
    return {"identities": identities} | ({"groups": identities} if enough else {})


def _table(pool: Features, target: Features, features: str) -> tuple[np.ndarray, np.ndarray]:
    """Return one kind of features of pool and target, as a row for each picture."""
    if pool.fingerprint != target.fingerprint:
        raise InputError(
            f"pool and target were embedded by different models ({pool.fingerprint} and {target.fingerprint}): "
            "embed both with the same model."
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
