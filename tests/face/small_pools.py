"""Plans and features with given probabilities and people."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from rsft.data.features import Features
from rsft.plan import Plan, plan_from_ratio


def plan_with(acceptance: Tensor, likeness: Tensor | None = None) -> Plan:
    """Return a plan that accepts items with these probabilities (N,). `likeness` defaults to `acceptance`."""
    made = plan_from_ratio(torch.zeros(len(acceptance), dtype=torch.float64))
    return replace(made, acceptance=acceptance, likeness=acceptance if likeness is None else likeness)


def with_people(features: Features, people: np.ndarray) -> Features:
    """Return the same features with other identities (N,) int."""
    return replace(features, ids=[f"{person:04d}/{row}" for row, person in enumerate(people)])


def features_of(embeddings: np.ndarray, people: np.ndarray) -> Features:
    """Return features with embeddings (N, D) of people (N,) int, and without activations."""
    return with_people(Features([], embeddings, embeddings, None, [], "made up"), people)
