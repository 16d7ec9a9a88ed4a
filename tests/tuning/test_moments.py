"""Distances between samples of embeddings."""

import pytest
import torch

from rsft.tuning.moments import BANDWIDTHS, coral, mmd


def test_mmd_is_that_of_a_loop_over_all_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(7, 3, generator=generator), torch.randn(9, 3, generator=generator) + 1
    both = torch.cat([first, second]).double()
    scale = sum(float((a - b).square().sum()) for a in both for b in both) / len(both) ** 2

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        square = float((a - b).double().square().sum())
        return sum(float(torch.exp(torch.tensor(-square / (width * scale)))) for width in BANDWIDTHS) / len(BANDWIDTHS)

    def mean(some: torch.Tensor, others: torch.Tensor) -> float:
        return sum(kernel(a, b) for a in some for b in others) / (len(some) * len(others))

    expected = mean(first, first) + mean(second, second) - 2 * mean(first, second)
    assert float(mmd(first, second)) == pytest.approx(expected, rel=1e-4)


def test_coral_is_the_distance_of_the_covariances() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(50, 4, generator=generator), 2 * torch.randn(60, 4, generator=generator)
    expected = (torch.cov(first.T) - torch.cov(second.T)).square().sum() / 64
    torch.testing.assert_close(coral(first, second), expected)
    torch.testing.assert_close(coral(first + 5, second), expected)  # means do not count
    assert float(coral(first, first)) == 0


@pytest.mark.parametrize("distance", [mmd, coral])
def test_the_gradient_brings_the_samples_closer(distance) -> None:  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(40, 3, generator=generator, requires_grad=True)
    second = 2 * torch.randn(40, 3, generator=generator) + 1
    before = distance(first, second)
    (gradient,) = torch.autograd.grad(before, first)
    after = distance(first.detach() - 0.1 * gradient / gradient.norm(), second)
    assert float(after) < float(before.detach())
