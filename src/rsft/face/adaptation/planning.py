"""Plans for faces, on one of several kinds of features."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from rsft.data.features import Features
from rsft.errors import InputError
from rsft.evaluation.shift import auc_error
from rsft.face.adaptation.headroom import with_headroom
from rsft.face.adaptation.recipe import AUTO, FEATURES, METHODS_OF
from rsft.face.adaptation.sameness import copies, people_met
from rsft.groups import joined
from rsft.plan import Plan, plan
from rsft.ranking import Ranked, rank_plans
from rsft.ratio.sample import FOLDS
from rsft.verdict import Outcome

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

# A kind is as good as the best if its AUC of accepted pictures against the target is behind by at most so many errors.
AS_GOOD_ERRORS = 2.0
HOPEFUL = (Outcome.WORTH_TRYING, Outcome.PILOT_TOO_SMALL)


def plan_faces(pool: Features, target: Features, *, features: str = AUTO, **options: Any) -> Plan:
    """Plan which pictures of a pool to accept for a target, on one kind of features.

    "covariates" are measurements of light, sharpness, pose and size, which need no network. "activations" are the
    outputs of the frozen stages, averaged over the picture. They reflect how a picture was taken more than who is in
    it. "embedding" is the embedding, which reflects the identity: pool and target barely overlap in it if they have
    different people. "auto" is the choice of `choose_features`.

    Args:
        pool: Features of the pool. Its people are assumed to differ from those of the target.
        target: Features of the target, by the same model.
        features: Kind of features, one of `FEATURES`, or "auto".
        **options: Further arguments of `rsft.plan`. The default method is that of `METHODS_OF`.

    Returns:
        The plan, with the headroom of the network; see `with_headroom`.

    Raises:
        InputError: If pool and target were embedded by different models, or `features` is unknown.
    """
    if features == AUTO:
        return choose_features(rank_face_plans(pool, target, **options)).plan
    return _refined(plan_on(pool, target, features, **options), pool, people_met(pool, target))


def plan_on(pool: Features, target: Features, features: str, **options: Any) -> Plan:
    """Make the plan of `plan_faces` without the headroom."""
    of_pool, of_target = table_of(pool, target, features)
    return plan(
        of_pool,
        of_target,
        **_of_people(pool.people),
        target_groups=target_groups(target),
        covariates=(pool.covariates, target.covariates),
        words=WORDS,
        **_with_method(features, options),
    )


def target_groups(target: Features) -> np.ndarray:
    """Group the target pictures that count as one, (K,) int64: copies of one another, and those of one clip."""
    alike = copies(target)
    return alike if target.clips is None else joined(alike, target.clips)


def _refined(made: Plan, pool: Features, notes: list[str]) -> Plan:
    """Return a plan with the headroom of the network and further notes."""
    found = with_headroom(made, pool)
    return replace(found, notes=[*found.notes, *notes])


def choose_features(ranking: Sequence[Ranked]) -> Ranked:
    """Choose the cheapest kind of features that is as good as the best of a ranking.

    A kind is as good if the AUC between its accepted items and the target is no farther from 0.5 than that of the best,
    or by at most two standard errors. Kinds whose plan may be worth trying come before the others, and then kinds that
    accept enough items to compare.

    Args:
        ranking: Plans with kinds of features from `FEATURES`.
    """
    left = [ranked for ranked in ranking if ranked.plan.verdict.outcome in HOPEFUL] or list(ranking)
    left = [ranked for ranked in left if ranked.after is not None] or left
    best = min(left, key=_excess)
    good = [ranked for ranked in left if _excess(ranked) <= _excess(best) + AS_GOOD_ERRORS * _error(best)]
    return min(good, key=lambda ranked: FEATURES.index(ranked.features))


def _excess(ranked: Ranked) -> float:
    return 0.0 if ranked.after is None else abs(ranked.after - 0.5)


def _error(ranked: Ranked) -> float:
    """Return the standard error of the AUC between the accepted items and the target."""
    accepted, targets = float(ranked.plan.likeness.sum()), ranked.plan.diagnostics["target_effective_groups"]
    return auc_error(0.5, targets, max(1, round(accepted)))


def _with_method(features: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with the default method of a kind of features."""
    return options | {"method": options.get("method") or METHODS_OF.get(features, "classifier")}


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
    notes = people_met(pool, target)
    return rank_plans(
        {name: table_of(pool, target, name) for name in features},
        {name: _with_method(name, options)["method"] for name in features},
        **_of_people(pool.people),
        target_groups=target_groups(target),
        covariates=(pool.covariates, target.covariates),
        words=WORDS,
        refine=lambda made: _refined(made, pool, notes),
        **{name: value for name, value in options.items() if name != "method"},
    )


def _of_people(people: np.ndarray) -> dict[str, Any]:
    """Return the options of a plan that identify people, and keep each in one fold of the ratio if they are enough."""
    identities = torch.from_numpy(people)
    enough = len(np.unique(people)) >= FOLDS
    return {"identities": identities} | ({"groups": identities} if enough else {})


def table_of(pool: Features, target: Features, features: str) -> tuple[np.ndarray, np.ndarray]:
    """Return one kind of features of pool and target, as a row for each picture.

    Args:
        pool: Features of the pool.
        target: Features of the target, by the same model.
        features: Kind of features, one of `FEATURES`.

    Raises:
        InputError: If pool and target were embedded by different models, or `features` is unknown.
    """
    if pool.fingerprint != target.fingerprint:
        raise InputError(
            f"pool and target were embedded by different models ({pool.fingerprint} and {target.fingerprint}): "
            "embed both with the same model."
        )
    if features not in FEATURES:
        raise InputError(f"unknown features '{features}': choose from {', '.join((AUTO, *FEATURES))}.")
    if features == "activations":
        return pool.nuisances, target.nuisances
    if features == "embedding":
        return pool.embeddings, target.embeddings
    names = shared_covariates(pool, target)
    return np.column_stack([pool.covariates[name] for name in names]), np.column_stack(
        [target.covariates[name] for name in names]
    )


def shared_covariates(pool: Features, target: Features) -> list[str]:
    """Return the names of the covariates that both have, in the order of their columns."""
    return [name for name in pool.covariates if name in target.covariates]
