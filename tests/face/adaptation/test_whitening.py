"""The whitening of the embedding by pairs of one person across the shift."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from rsft.errors import InputError
from rsft.face.adaptation.whitening import (
    MIN_PAIRS,
    Whitening,
    between_people_covariance,
    fold_in,
    whitening_map,
    whitenings_of,
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


@pytest.mark.parametrize("factor", [1e-6, 1e-9, 1e-12, 1e-17])
def test_only_the_proportions_of_small_likenesses_matter(factor: float) -> None:
    embeddings, people, likeness = drawn(0)
    covariance, effective = within_person_covariance(embeddings, people, factor * likeness)
    expected, pairs = by_pairs(embeddings, people, np.add.outer(likeness, likeness))
    np.testing.assert_allclose(covariance, expected, atol=1e-5)
    assert effective == pytest.approx(pairs, rel=1e-5)


def test_names_of_people_and_norms_of_embeddings_do_not_matter() -> None:
    embeddings, people, likeness = drawn(0)
    first, pairs = within_person_covariance(embeddings, people, likeness)
    again, others = within_person_covariance(embeddings * 7, 10**6 - 3 * people, likeness)
    np.testing.assert_allclose(first, again, atol=1e-12)
    assert pairs == pytest.approx(others)


def covariance(seed: int) -> torch.Tensor:
    root = torch.from_numpy(np.random.default_rng(seed).normal(size=(WIDTH, WIDTH)))
    return root @ root.T + 0.1 * torch.eye(WIDTH, dtype=root.dtype)


@pytest.mark.parametrize("strength", [0.0, 0.5, 0.999])
def test_the_inner_product_of_mapped_embeddings_is_the_likelihood_ratio_of_one_person(strength: float) -> None:
    """But for terms of one picture: by the densities of two pictures of one person, and of two people."""
    within, between = covariance(1), covariance(2)
    half = within / 2
    noise = strength * half + (1 - strength) * half.trace() / WIDTH * torch.eye(WIDTH)
    of_one, zero = between + noise, torch.zeros(WIDTH, dtype=noise.dtype)
    both = torch.cat([torch.cat([of_one, between], 1), torch.cat([between, of_one], 1)])
    same = torch.distributions.MultivariateNormal(torch.zeros(2 * WIDTH, dtype=noise.dtype), both)
    single = torch.distributions.MultivariateNormal(zero, of_one)
    x, y = torch.from_numpy(np.random.default_rng(3).normal(size=(2, 50, WIDTH)))

    def ratio(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return same.log_prob(torch.cat([a, b], 1)) - single.log_prob(a) - single.log_prob(b)

    mixed = ratio(x, y) - ratio(x, 0 * y) - ratio(0 * x, y) + ratio(0 * x, 0 * y)

    def off(linear_map: torch.Tensor) -> float:
        """Return how far the inner products are from a multiple of the mixed term, relative to it."""
        found = ((x @ linear_map) * (y @ linear_map)).sum(1)
        scale = (found @ mixed) / (found @ found)
        return float((scale * found - mixed).norm() / mixed.norm())

    linear_map = whitening_map(within, between, strength)
    assert off(linear_map) < 1e-6
    values, vectors = torch.linalg.eigh(noise)
    whitens_only = vectors @ torch.diag(values.rsqrt()) @ vectors.T
    for wrong in (whitens_only, torch.eye(WIDTH, dtype=noise.dtype), whitening_map(2 * within, between, strength)):
        assert off(wrong) > 0.01


def test_the_map_is_symmetric_with_a_mean_eigenvalue_of_one_and_shrinks_what_varies_within_people() -> None:
    within, round_people = covariance(1), torch.eye(WIDTH, dtype=torch.float64)
    torch.testing.assert_close(whitening_map(within, round_people, 0.0), round_people)
    worst = torch.linalg.eigh(within)[1][:, -1]
    least = 1.0
    for strength in (0.1, 0.5, 0.9):
        linear_map = whitening_map(within, round_people, strength)
        torch.testing.assert_close(linear_map, linear_map.T)
        assert float(linear_map.trace()) == pytest.approx(WIDTH)
        shrunk = float(worst @ linear_map @ worst)
        assert 0 < shrunk < least  # stronger maps shrink the worst direction more
        least = shrunk


def test_the_covariance_of_people_is_that_of_their_means_and_a_sphere_if_they_are_few() -> None:
    """Picture counts do not matter; ten people in sixty dimensions tell next to nothing about directions."""
    generator = np.random.default_rng(0)
    spread = np.linspace(1, 3, WIDTH)
    centres = generator.normal(size=(20_000, WIDTH)) * spread
    found = between_people_covariance(np.concatenate([centres, centres[:500]]), np.r_[:20_000, :500])
    unit = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    np.testing.assert_allclose(found, np.cov(unit.T), atol=5e-3)
    few = between_people_covariance(generator.normal(size=(10, 60)), np.arange(10))
    assert np.linalg.eigvalsh(few)[0] > 0.5 * float(few.trace()) / 60


def people_in_two_conditions(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw embeddings, people and which pictures are moved: one of a person's three, along one direction."""
    generator = np.random.default_rng(seed)
    people = np.arange(200).repeat(3)
    moved = np.tile([0, 0, 1], 200)
    centres = generator.normal(size=(200, WIDTH))[people]
    shift = 3 * moved[:, None] * np.eye(WIDTH)[0] * generator.uniform(0.5, 1.5, size=(600, 1))
    return centres + shift + 0.1 * generator.normal(size=(600, WIDTH)), people, moved


def found(embeddings: np.ndarray, people: np.ndarray, moved: np.ndarray, whitening: Whitening | None) -> float:
    """Return the share of moved pictures whose nearest unmoved picture is of the same person."""
    x = torch.from_numpy(embeddings)
    unit = nn.functional.normalize(x if whitening is None else whitening.of(x)).numpy()
    nearest = (unit[moved == 1] @ unit[moved == 0].T).argmax(1)
    return float((people[moved == 0][nearest] == people[moved == 1]).mean())


def test_people_are_told_apart_across_a_shift_that_moves_all_of_them_alike() -> None:
    """Whitening by pairs across the shift shrinks its direction; pairs of unmoved pictures do not know of it."""
    embeddings, people, moved = people_in_two_conditions(0)
    across = next(whitenings_of(embeddings, people, moved.astype(float), 0.9))
    within = next(whitenings_of(embeddings[moved == 0], people[moved == 0], np.ones(400), 0.9))
    assert found(embeddings, people, moved, across) > found(embeddings, people, moved, None) + 0.1
    assert found(embeddings, people, moved, across) > found(embeddings, people, moved, within) + 0.1


def test_embeddings_all_around_zero_are_moved_half_way_to_their_mean_and_others_are_not() -> None:
    generator = np.random.default_rng(0)
    people = np.arange(50).repeat(4)
    faces = generator.normal(size=(50, 12))[people] + 0.2 * generator.normal(size=(200, 12))
    around, aside = faces + np.eye(12)[0], faces + 20 * np.eye(12)[0]
    moved, unmoved = whitenings_of(around, people, np.ones(200), 0.25)
    np.testing.assert_allclose(moved.centre, around.mean(0) / 2)
    (stays,) = whitenings_of(aside, people, np.ones(200), 0.25)
    for each in (unmoved, stays):
        assert not each.centre.any()
    within, pairs = within_person_covariance(around - around.mean(0) / 2, people, np.ones(200))
    between = between_people_covariance(around - around.mean(0) / 2, people)
    torch.testing.assert_close(moved.matrix, whitening_map(within, between, 0.25 * pairs / (pairs + 12)))
    x = torch.from_numpy(faces)
    torch.testing.assert_close(moved.of(x), (x - moved.centre) @ moved.matrix.T)


def test_too_few_pairs_like_the_target_or_one_person_make_no_map() -> None:
    embeddings, people, _ = drawn(0)
    none, all_of_them = np.zeros(len(people)), np.ones(len(people))
    assert not list(whitenings_of(embeddings, people, none, 0.5))
    assert not list(whitenings_of(embeddings, np.arange(len(people)), all_of_them, 0.5))  # nobody has two
    assert not list(whitenings_of(embeddings, none.astype(int), all_of_them, 0.5))
    twice = np.concatenate([embeddings[:20], embeddings[:20]])
    assert not list(whitenings_of(twice, np.arange(40) // 20, np.ones(40), 0.5))  # one person by two names
    pairs = int(MIN_PAIRS)
    twins = np.arange(2 * pairs) // 2
    for kept in (pairs - 1, pairs):
        some = twins < kept
        made = list(whitenings_of(embeddings[: 2 * pairs][some], twins[some], np.ones(some.sum()), 0.5))
        assert bool(made) is (kept >= MIN_PAIRS)


def test_few_pairs_whiten_less() -> None:
    """As if there were as many pairs more as the embedding is wide, with a spherical covariance."""
    embeddings, people, likeness = drawn(4, pictures=60)
    within, pairs = within_person_covariance(embeddings, people, likeness)
    between = between_people_covariance(embeddings, people)
    made = next(each for each in whitenings_of(embeddings, people, likeness, 0.5) if not each.centre.any())
    torch.testing.assert_close(made.matrix, whitening_map(within, between, 0.5 * pairs / (pairs + WIDTH)))
    assert (made.matrix - whitening_map(within, between, 0.5)).abs().max() > 1e-4


def some_map(seed: int, *, centred: bool = True) -> Whitening:
    centre = torch.from_numpy(np.random.default_rng(seed).normal(size=WIDTH))
    return Whitening(centre if centred else 0 * centre, whitening_map(covariance(seed), covariance(seed + 1), 0.8))


class NormalisedBefore(nn.Module):
    """A layer whose input is normalised, by a layer that is defined after it."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(5, WIDTH)
        self.before = nn.BatchNorm1d(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.before(x))


def networks() -> dict[str, nn.Sequential]:
    return {
        "linear": nn.Sequential(nn.Linear(5, WIDTH)),
        "linear without bias": nn.Sequential(nn.Linear(5, WIDTH, bias=False)),
        "normalised": nn.Sequential(nn.Linear(5, WIDTH), nn.BatchNorm1d(WIDTH)),
        "normalised, without bias": nn.Sequential(nn.Linear(5, WIDTH, bias=False), nn.BatchNorm1d(WIDTH)),
        "normalised without weights": nn.Sequential(nn.Linear(5, WIDTH), nn.BatchNorm1d(WIDTH, affine=False)),
        "normalised before": nn.Sequential(NormalisedBefore()),
        "convolution": nn.Sequential(
            nn.Unflatten(1, (5, 1, 1)), nn.Conv2d(5, WIDTH, 1), nn.BatchNorm2d(WIDTH), nn.Flatten()
        ),
    }


@pytest.mark.parametrize("name", networks())
def test_the_folded_network_returns_the_mapped_embedding(name: str) -> None:
    """About another point than 0, unless it has no bias at all."""
    torch.manual_seed(0)
    network = networks()[name]
    for _ in range(9):
        network(3 * torch.randn(8, 5) + 1)  # moves the running statistics
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    example = torch.randn(7, 5)
    whitening = some_map(3, centred=name != "linear without bias")
    names = list(network.eval().state_dict())
    with torch.no_grad():
        before = network(example)
        fold_in(network, whitening, example)
        torch.testing.assert_close(network(example), whitening.of(before), rtol=1e-4, atol=1e-5)
    assert list(network.state_dict()) == names
    assert not torch.allclose(network(example), before)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Flatten()),
        nn.Sequential(nn.Linear(5, WIDTH), nn.ReLU()),
        nn.Sequential(nn.Linear(5, WIDTH), nn.LayerNorm(WIDTH)),
        nn.Sequential(nn.Linear(5, WIDTH, bias=False), nn.BatchNorm1d(WIDTH, affine=False)),
        nn.Sequential(nn.Linear(5, WIDTH, bias=False)),
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
    strong = some_map(3)
    weak = Whitening(0.001 * strong.centre, torch.eye(WIDTH) + 0.001 * (strong.matrix - torch.eye(WIDTH)))
    for each in (strong, weak):
        with pytest.raises(InputError, match=r"recipe\.whitening"):
            fold_in(network, each, example)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
