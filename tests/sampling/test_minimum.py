import math

import numpy as np
import pytest

from rsft import RejectionSampler
from rsft.sampling.acceptance import uniforms
from rsft.sampling.identities import MinimumPerIdentity

EPOCHS = 4000


def test_every_identity_gets_its_minimum_and_accepted_items_stay() -> None:
    rng = np.random.default_rng(0)
    p, labels = rng.random(300) * 0.05, rng.integers(0, 40, 300)
    p[labels == 3] = 0
    rule = MinimumPerIdentity(p, labels, minimum=2)
    sizes = np.bincount(labels, minlength=40)
    for epoch in range(20):
        accepted = rule.accepted(7, epoch)
        assert (np.diff(accepted) > 0).all()
        plain = set(np.flatnonzero(uniforms(7, epoch, 0, 300) < p))
        assert plain <= set(accepted.tolist())
        got = np.bincount(labels[accepted], minlength=40)
        own = np.bincount(labels[sorted(plain)], minlength=40)
        expected = np.maximum(np.minimum(2, sizes), own)
        expected[3] = 0
        assert got.tolist() == expected.tolist()


def test_the_inclusion_probabilities_of_two_items_with_minimum_one() -> None:
    """With probabilities a >= b, item a is included if u_a < a, or if both are rejected and u_a / a < u_b / b."""
    a, b = 0.4, 0.1
    rule = MinimumPerIdentity(np.array([a, b]), np.zeros(2), minimum=1)
    counts = np.zeros(2)
    for epoch in range(EPOCHS):
        counts[rule.accepted(0, epoch)] += 1
    # If both are rejected, t = u / p is uniform on (1, 1/a) and (1, 1/b), and t_a is below t_b with probability
    # 1 - (1/a - 1)^2 / 2 / ((1/a - 1) (1/b - 1))
    first = 1 - (1 / a - 1) / (1 / b - 1) / 2
    for count, probability in zip(
        counts, (a + (1 - a) * (1 - b) * first, b + (1 - a) * (1 - b) * (1 - first)), strict=True
    ):
        error = math.sqrt(probability * (1 - probability) / EPOCHS)
        assert abs(count / EPOCHS - probability) < 5 * error


def test_a_sampler_yields_the_items_that_the_rule_accepts() -> None:
    rule = MinimumPerIdentity(np.full(50, 0.01), np.repeat(np.arange(10), 5), minimum=1)
    sampler = RejectionSampler(rule, seed=3)
    assert sorted(sampler) == rule.accepted(3, 0).tolist()


def test_bad_arguments_are_rejected() -> None:
    with pytest.raises(ValueError, match="row 1"):
        MinimumPerIdentity(np.array([0.5, 1.5]), np.zeros(2), minimum=1)
    with pytest.raises(ValueError, match="labels"):
        MinimumPerIdentity(np.array([0.5]), np.zeros(2), minimum=1)
    with pytest.raises(ValueError, match="at least 1"):
        MinimumPerIdentity(np.array([0.5]), np.zeros(1), minimum=0)
