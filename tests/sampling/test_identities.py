"""Acceptance rules for identities have exactly the inclusion probabilities they state."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rsft import acceptance_probability, plan
from rsft.sampling.identities import FloorAcceptance, IdentityAcceptance, identity_log_ratio, remap_classes

EPOCHS = 4000


def frequencies(rule: FloorAcceptance | IdentityAcceptance) -> np.ndarray:
    counts = np.zeros(len(rule))
    for epoch in range(EPOCHS):
        counts[rule.accepted(7, epoch)] += 1
    return counts / EPOCHS


def assert_frequencies(observed: np.ndarray, expected: np.ndarray) -> None:
    error = np.sqrt(np.maximum(expected * (1 - expected), 1 / EPOCHS) / EPOCHS)
    assert (np.abs(observed - expected) < 5 * error).all()


def enumerated(p: list[float], floor: int) -> list[float]:
    """Return the inclusion probabilities within one identity, summed over all 2^n outcomes."""
    n = len(p)
    inclusion = np.zeros(n)
    for kept in itertools.product((0, 1), repeat=n):
        chance = math.prod(q if k else 1 - q for q, k in zip(p, kept, strict=True))
        count = sum(kept)
        extra = min(1.0, (floor - count) / (n - count)) if 0 < count < min(floor, n) else 0.0
        inclusion += chance * np.array([1.0 if k else extra for k in kept])
    return inclusion.tolist()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(1, 5))
def test_inclusion_with_a_floor_equals_the_sum_over_all_outcomes(p: list[float], floor: int) -> None:
    rule = FloorAcceptance(torch.tensor(p, dtype=torch.float64), torch.zeros(len(p), dtype=torch.long), floor=floor)
    assert rule.inclusion().tolist() == pytest.approx(enumerated(p, floor), abs=1e-9)


def test_a_floor_draws_with_the_stated_probabilities() -> None:
    generator = torch.Generator().manual_seed(0)
    identities = torch.randint(6, (30,), generator=generator)
    rule = FloorAcceptance(torch.rand(30, generator=generator) ** 3, identities, floor=3)
    assert_frequencies(frequencies(rule), rule.inclusion().numpy())
    sizes = identities.bincount()
    for epoch in range(100):
        counts = identities[rule.accepted(7, epoch)].bincount(minlength=6)
        assert all(count == 0 or count >= min(3, size) for count, size in zip(counts, sizes, strict=True))


def test_wrong_inclusion_probabilities_fail_the_check() -> None:
    """Negative controls: the acceptance itself, and a rule that also fills identities without an accepted item."""
    p = torch.tensor([0.1, 0.1, 0.1, 0.5])
    rule = FloorAcceptance(p, torch.zeros(4, dtype=torch.long), floor=2)
    observed = frequencies(rule)
    for wrong in (p.numpy(), p.numpy() + (1 - p.numpy()) * 0.5):
        with pytest.raises(AssertionError):
            assert_frequencies(observed, wrong)


def test_weights_remove_the_bias_of_the_floor() -> None:
    """The mean over the accepted items, weighted by acceptance / inclusion, equals the mean over the target."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3000, generator=generator, dtype=torch.float64)
    identities = torch.arange(3000) // 5
    log_ratio = x - 0.5
    p = acceptance_probability(log_ratio, float(log_ratio.max()))
    rule = FloorAcceptance(p, identities, floor=3)
    weight = p / rule.inclusion()
    exact = float((p * x).sum() / p.sum())
    plain, weighed = [], []
    for epoch in range(300):
        rows = rule.accepted(0, epoch)
        plain.append(float(x[rows].mean()))
        weighed.append((float((weight * x)[rows].sum()), float(weight[rows].sum())))
    sums, totals = np.array(weighed).T
    estimate = sums.sum() / totals.sum()
    error = (sums - estimate * totals).std() / totals.mean() / math.sqrt(300)
    assert abs(estimate - exact) < 5 * error
    assert abs(np.mean(plain) - exact) > 10 * error


def test_identities_are_accepted_or_rejected_as_a_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    identities = torch.randint(20, (100,), generator=generator)
    shared = identity_log_ratio(torch.randn(100, generator=generator), identities)
    rule = IdentityAcceptance(acceptance_probability(shared, float(shared.max())), identities)
    assert_frequencies(frequencies(rule), rule.inclusion().numpy())
    for epoch in range(50):
        kept = rule.accepted(3, epoch)
        assert not set(identities[kept].tolist()) & set(np.delete(identities.numpy(), kept).tolist())


def test_draws_are_pure_functions_of_seed_and_epoch() -> None:
    rule = FloorAcceptance(torch.full((50,), 0.2), torch.arange(50) // 5, floor=2)
    assert np.array_equal(rule.accepted(1, 2), rule.accepted(1, 2))
    assert not np.array_equal(rule.accepted(1, 2), rule.accepted(1, 3))
    assert not np.array_equal(rule.accepted(1, 2), rule.accepted(2, 2))


def test_bad_identities_are_rejected() -> None:
    p, people = torch.tensor([0.5, 0.2]), torch.tensor([0, 0])
    with pytest.raises(ValueError, match="each of 2 items"):
        FloorAcceptance(p, people[:1], floor=2)
    with pytest.raises(ValueError, match="at least 1"):
        FloorAcceptance(p, people, floor=0)
    with pytest.raises(ValueError, match="one probability"):
        IdentityAcceptance(p, people)
    with pytest.raises(ValueError, match="probabilities"):
        FloorAcceptance(p + 1, people, floor=2)
    pool, target = torch.randn(200, 2), torch.randn(100, 2)
    with pytest.raises(ValueError, match="identities"):
        plan(pool, target, accept_by="identity")
    with pytest.raises(ValueError, match="'item'"):
        plan(pool, target, accept_by="person")
    with pytest.raises(ValueError, match="'item'"):
        plan(pool, target, identities=torch.arange(200), accept_by="identity", floor=2)


def test_classes_are_renumbered_for_the_kept_identities() -> None:
    identities = torch.tensor([5, 9, 5, 2, 9])
    classes, kept = remap_classes(identities, torch.tensor([4, 0, 2]))
    assert kept[classes].tolist() == [9, 5, 5]
    assert sorted(set(classes.tolist())) == [0, 1]
