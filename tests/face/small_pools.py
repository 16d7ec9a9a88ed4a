"""Plans and features with chosen probabilities and people."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from rsft.data.features import Features
from rsft.plan import Plan, plan_from_ratio


def plan_with(acceptance: Tensor, likeness: Tensor | None = None) -> Plan:
    """A plan that accepts items with these probabilities (N,)."""
    made = plan_from_ratio(torch.zeros(len(acceptance), dtype=torch.float64))
    return replace(made, acceptance=acceptance, likeness=acceptance if likeness is None else likeness)


def with_people(features: Features, people: np.ndarray) -> Features:
    """The same rows with other identities (N,) int."""
    return replace(features, ids=[f"{person:04d}/{row}" for row, person in enumerate(people)])


def features_of(embeddings: np.ndarray, people: np.ndarray) -> Features:
    """Features that are embeddings (N, D) of people (N,) int alone."""
    return with_people(Features([], embeddings, embeddings, None, [], "made up"), people)
