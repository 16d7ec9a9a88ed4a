"""Domain adaptation with the target's own pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn_people import tiny_model
from torch import nn

from rsft.compare import Batches
from rsft.data.features import Features
from rsft.errors import InputError
from rsft.face.adaptation.peers import (
    CORAL,
    MMD,
    PSEUDO_LABELS,
    adapt_statistics,
    cluster,
    has_statistics,
    peer_penalty,
)
from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.trial import FaceTrial
from rsft.tuning.moments import mmd

RECIPE = Recipe(steps=8, batch_size=16, views=2, cut=-1, learning_rate=1e-2, whitening=0.0, features="activations")


def features(people: int, pictures: int, *, shift: float, seed: int) -> Features:
    """Return features of the tiny model's last stage, with activations drawn around a centre for each person."""
    prefix, suffix = tiny_model().split(RECIPE.cut)
    shape = prefix(torch.zeros(1, 3, tiny_model().size, tiny_model().size)).shape[1:]
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(people, 1, *shape)).repeat(pictures, 0)
    activations = (centres + shift + 0.2 * generator.normal(size=(people * pictures, 2, *shape))).astype(np.float16)
    with torch.inference_mode():
        embeddings = suffix(torch.from_numpy(activations).float().flatten(0, 1)).unflatten(0, (-1, 2)).sum(1).numpy()
    ids = [f"{seed}-{row // pictures:03d}/{row}.jpg" for row in range(people * pictures)]
    nuisances = activations[:, 0].astype(np.float32).reshape(len(ids), -1)
    return Features(ids, embeddings, nuisances, activations, [], tiny_model().fingerprint)


@pytest.fixture(scope="module")
def pool() -> Features:
    return features(24, 4, shift=0.0, seed=1)


@pytest.fixture(scope="module")
def target() -> Features:
    return features(15, 4, shift=1.5, seed=2)


@pytest.fixture(scope="module")
def trial(pool: Features, target: Features) -> FaceTrial:
    plan = plan_faces(pool, target, **RECIPE.plan_options(), seed=0)
    return FaceTrial(tiny_model(), pool, plan, {}, RECIPE, target=target)


def test_each_peer_comes_with_uniform_draws_and_with_those_of_rejection(trial: FaceTrial) -> None:
    peers = trial.peers()
    assert list(peers) == [f"{way}, {peer}" for way in ("uniform", "rejection") for peer in (MMD, CORAL, PSEUDO_LABELS)]
    assert not has_statistics(trial.suffix)  # so there are none to replace
    assert peers["uniform, MMD"].likeness is None
    assert peers["rejection, MMD"].likeness is not None


def test_a_peer_moves_the_pool_towards_the_target_and_plain_training_less(trial: FaceTrial, target: Features) -> None:
    """The distance is that of the embeddings, normalised, of pool and target."""

    def distance(suffix: nn.Module) -> float:
        with torch.inference_mode():
            sides = [
                nn.functional.normalize(suffix(torch.from_numpy(np.asarray(of.activations[:, 0])).float()))  # type: ignore[index]
                for of in (trial.pool, target)
            ]
        return float(mmd(*sides))

    methods = trial.methods() | trial.peers()
    after = {
        name: distance(trial.train(Batches(methods[name], 30, 16, seed=0), 1e-2, 0))
        for name in ("uniform", "uniform, MMD")
    }
    assert after["uniform, MMD"] < after["uniform"]


def test_clusters_are_the_people_of_a_target_whose_people_are_far_apart(pool: Features, target: Features) -> None:
    labels = cluster(target, pool, seed=0)
    for person in np.unique(target.people):
        assert len(set(labels[target.people == person])) == 1


def test_a_target_of_strangers_has_no_pseudo_labels(pool: Features) -> None:
    strangers = features(3, 1, shift=0.0, seed=3)
    units = np.eye(strangers.embeddings.shape[1], dtype=np.float32)[:3]
    with pytest.raises(InputError, match="no two target pictures look like one person"):
        peer_penalty(PSEUDO_LABELS, pool, replace(strangers, embeddings=units), RECIPE, seed=0)


def test_penalties_of_one_seed_draw_the_same_target_pictures(
    trial: FaceTrial, pool: Features, target: Features
) -> None:
    inputs = torch.from_numpy(np.asarray(pool.activations[:16, 0])).float()  # type: ignore[index]

    def value(seed: int) -> float:
        with torch.inference_mode():
            return float(
                peer_penalty(CORAL, pool, target, RECIPE, seed=seed)(trial.suffix, inputs, trial.suffix(inputs))
            )

    assert value(0) == value(0) != value(1)


def test_statistics_become_those_of_the_target(target: Features) -> None:
    width = int(np.prod(target.activations.shape[2:]))  # type: ignore[union-attr]
    suffix = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(width), nn.Linear(width, 4)).eval()
    assert has_statistics(suffix)
    adapt_statistics(suffix, target)
    every = torch.from_numpy(np.asarray(target.activations)).float().flatten(0, 1).flatten(1)
    norm = suffix[1]
    assert isinstance(norm, nn.BatchNorm1d)
    torch.testing.assert_close(norm.running_mean, every.mean(0))
    torch.testing.assert_close(norm.running_var, every.var(0))
    assert not norm.training
    assert norm.momentum == 0.1
