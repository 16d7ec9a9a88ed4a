"""The whitening of the embedding by pairs of one person across the shift."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from rsft.errors import InputError
from rsft.face.adaptation.whitening import (
    MIN_PAIRS,
    fold_in,
    whitening_map,
    whitening_of,
    within_person_covariance,
)

WIDTH = 6


def drawn(seed: int, people: int = 9, pictures: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    embeddings = generator.normal(size=(pictures, WIDTH)) * generator.uniform(0.5, 2, size=(pictures, 1))
    return embeddings, generator.integers(0, people, pictures), generator.random(pictures)


def by_pairs(embeddings: np.ndarray, people: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Compute covariance and effective number of pairs by a loop over all pairs, with weights (N, N)."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    pairs = [(i, j) for i, j in itertools.combinations(range(len(people)), 2) if people[i] == people[j]]
    of_pairs = np.array([weight[pair] for pair in pairs])
    apart = np.array([unit[i] - unit[j] for i, j in pairs])
    return (apart * of_pairs[:, None]).T @ apart / of_pairs.sum(), of_pairs.sum() ** 2 / (of_pairs**2).sum()


@pytest.mark.parametrize("seed", range(3))
def test_the_covariance_is_that_of_a_loop_over_all_pairs(seed: int) -> None:
    embeddings, people, likeness = drawn(seed)
    covariance, effective = within_person_covariance(embeddings, people, likeness)
    one = 1 - np.outer(1 - likeness, 1 - likeness)
    expected, pairs = by_pairs(embeddings, people, one)
    np.testing.assert_allclose(covariance, expected, atol=1e-12)
    assert effective == pytest.approx(pairs)
    for wrong in (np.ones_like(one), np.outer(likeness, likeness), np.add.outer(likeness, likeness)):
        assert np.abs(by_pairs(embeddings, people, wrong)[0] - covariance.numpy()).max() > 1e-3


def test_names_of_people_and_norms_of_embeddings_do_not_matter() -> None:
    embeddings, people, likeness = drawn(0)
    first, pairs = within_person_covariance(embeddings, people, likeness)
    again, others = within_person_covariance(embeddings * 7, 10**6 - 3 * people, likeness)
    np.testing.assert_allclose(first, again, atol=1e-12)
    assert pairs == pytest.approx(others)


def test_a_full_whitening_makes_the_covariance_that_of_a_sphere() -> None:
    covariance = within_person_covariance(*drawn(1))[0]
    linear_map = whitening_map(covariance, 1 - 1e-12)
    after = linear_map @ covariance @ linear_map.T
    torch.testing.assert_close(after, after[0, 0] * torch.eye(WIDTH, dtype=after.dtype), rtol=1e-6, atol=1e-9)


def test_the_map_is_symmetric_has_a_mean_eigenvalue_of_one_and_no_strength_is_the_identity() -> None:
    covariance = within_person_covariance(*drawn(2))[0]
    torch.testing.assert_close(whitening_map(covariance, 0.0), torch.eye(WIDTH, dtype=covariance.dtype))
    least = 1.0
    for strength in (0.1, 0.5, 0.9):
        linear_map = whitening_map(covariance, strength)
        torch.testing.assert_close(linear_map, linear_map.T)
        assert float(linear_map.trace()) == pytest.approx(WIDTH)
        smallest = float(torch.linalg.eigvalsh(linear_map)[0])
        assert 0 < smallest < least  # stronger maps shrink the worst direction more
        least = smallest


def test_people_are_told_apart_across_a_shift_that_moves_all_of_them_alike() -> None:
    """Of two pictures of a person one is moved along a direction. Whitening by those pairs shrinks the direction."""
    generator = np.random.default_rng(0)
    people = np.arange(200).repeat(3)
    moved = np.tile([0, 0, 1], 200)
    centres = generator.normal(size=(200, WIDTH))[people]
    shift = 3 * moved[:, None] * np.eye(WIDTH)[0] * generator.uniform(0.5, 1.5, size=(600, 1))
    embeddings = centres + shift + 0.1 * generator.normal(size=(600, WIDTH))
    likeness = moved.astype(float)

    def found(linear_map: torch.Tensor | None) -> float:
        """Return the share of moved pictures whose nearest unmoved picture is of the same person."""
        mapped = embeddings if linear_map is None else embeddings @ linear_map.numpy()
        unit = mapped / np.linalg.norm(mapped, axis=1, keepdims=True)
        nearest = (unit[moved == 1] @ unit[moved == 0].T).argmax(1)
        return float((people[moved == 0][nearest] == people[moved == 1]).mean())

    across = whitening_of(embeddings, people, likeness, 0.9)
    within = whitening_of(embeddings[moved == 0], people[moved == 0], np.ones(400), 0.9)
    assert across is not None
    assert within is not None
    assert found(across) > found(None) + 0.1
    assert found(across) > found(within) + 0.1  # pairs of unmoved pictures do not know of the shift


def test_too_few_pairs_like_the_target_make_no_map() -> None:
    embeddings, people, _ = drawn(0)
    assert whitening_of(embeddings, people, np.zeros(len(people)), 0.5) is None
    assert whitening_of(embeddings, np.arange(len(people)), np.ones(len(people)), 0.5) is None  # nobody has two
    pairs = int(MIN_PAIRS)
    twins = np.arange(2 * pairs) // 2
    for kept in (pairs - 1, pairs):
        some = twins < kept
        made = whitening_of(embeddings[: 2 * pairs][some], twins[some], np.ones(some.sum()), 0.5)
        assert (made is not None) is (kept >= MIN_PAIRS)


def networks() -> dict[str, nn.Sequential]:
    return {
        "linear": nn.Sequential(nn.Linear(5, WIDTH)),
        "linear without bias": nn.Sequential(nn.Linear(5, WIDTH, bias=False)),
        "normalised": nn.Sequential(nn.Linear(5, WIDTH), nn.BatchNorm1d(WIDTH)),
        "normalised, without bias": nn.Sequential(nn.Linear(5, WIDTH, bias=False), nn.BatchNorm1d(WIDTH)),
        "normalised without weights": nn.Sequential(nn.Linear(5, WIDTH), nn.BatchNorm1d(WIDTH, affine=False)),
        "convolution": nn.Sequential(
            nn.Unflatten(1, (5, 1, 1)), nn.Conv2d(5, WIDTH, 1), nn.BatchNorm2d(WIDTH), nn.Flatten()
        ),
    }


@pytest.mark.parametrize("name", networks())
def test_the_folded_network_returns_the_mapped_embedding(name: str) -> None:
    torch.manual_seed(0)
    network = networks()[name]
    for _ in range(9):
        network(3 * torch.randn(8, 5) + 1)  # moves the running statistics
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    example = torch.randn(7, 5)
    linear_map = whitening_map(within_person_covariance(*drawn(3))[0], 0.8)
    names = list(network.eval().state_dict())
    with torch.no_grad():
        before = network(example)
        fold_in(network, linear_map, example)
        torch.testing.assert_close(network(example), before @ linear_map.float().T, rtol=1e-4, atol=1e-5)
    assert list(network.state_dict()) == names
    assert not torch.allclose(network(example), before)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Linear(5, WIDTH), nn.ReLU()),
        nn.Sequential(nn.Linear(5, WIDTH), nn.LayerNorm(WIDTH)),
        nn.Sequential(nn.Linear(5, WIDTH, bias=False), nn.BatchNorm1d(WIDTH, affine=False)),
    ],
)
def test_a_network_that_ends_otherwise_is_refused_and_left_as_it_was(network: nn.Sequential) -> None:
    torch.manual_seed(0)
    example = torch.randn(8, 5) + 2
    for module in network:
        if isinstance(module, nn.BatchNorm1d):
            network(example)
    network.eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    linear_map = whitening_map(within_person_covariance(*drawn(3))[0], 0.8)
    with pytest.raises(InputError, match=r"recipe\.whitening"):
        fold_in(network, linear_map, example)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
