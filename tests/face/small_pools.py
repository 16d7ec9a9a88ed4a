"""Plans and features with given probabilities and people."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsft.data.features import Features
from rsft.face.adaptation.candidates import all_candidates
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.tune import Tuned, tune
from rsft.face.networks.bundle import FaceModel
from rsft.plan import Plan, plan_from_ratio


def plan_with(acceptance: Tensor, likeness: Tensor | None = None) -> Plan:
    """Return a plan that accepts items with these probabilities (N,). `likeness` defaults to `acceptance`."""
    made = plan_from_ratio(torch.zeros(len(acceptance), dtype=torch.float64))
    return replace(made, acceptance=acceptance, likeness=acceptance if likeness is None else likeness)


def tune_all(model: FaceModel, pool: Features, plan: Plan, recipe: Recipe, **options: Any) -> Tuned:
    """Tune on a pool of which everything is known, with seed 0."""
    folds = recipe.folds_of(len(set(pool.identities)))
    return tune(model, pool, all_candidates(pool, plan, recipe, 0), recipe, folds=folds, seed=0, **options)


def with_people(features: Features, people: np.ndarray) -> Features:
    """Return the same features with other identities (N,) int."""
    return replace(features, ids=[f"{person:04d}/{row}" for row, person in enumerate(people)])


def features_of(embeddings: np.ndarray, people: np.ndarray) -> Features:
    """Return features with embeddings (N, D) of people (N,) int, and without activations."""
    return with_people(Features([], embeddings, embeddings, None, [], "made up"), people)
