"""Distances between two samples of embeddings that have a gradient: maximum mean discrepancy and CORAL."""

import torch
from torch import Tensor

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the Gaussian kernels, in mean squared distances


def mmd(first: Tensor, second: Tensor) -> Tensor:
    """Return the squared maximum mean discrepancy with a mean of Gaussian kernels (the biased estimate, at least 0).

    Source: M. Long et al., "Learning transferable features with deep adaptation networks", 2015; for faces Z. Luo et
    al., "Deep unsupervised domain adaptation for face recognition", 2018.

    Args:
        first: (N, D) sample.
        second: (K, D) sample.

    >>> x = torch.tensor([[0.0], [1.0]])
    >>> float(mmd(x, x)), bool(mmd(x, x + 5) > 0.5)
    (0.0, True)
    """
    both = torch.cat([first, second])
    squares = torch.cdist(both, both, compute_mode="donot_use_mm_for_euclid_dist").square()
    scale = squares.detach().mean().clamp(min=torch.finfo(squares.dtype).tiny)
    kernel = torch.stack([torch.exp(-squares / (bandwidth * scale)) for bandwidth in BANDWIDTHS]).mean(0)
    n = len(first)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


def coral(first: Tensor, second: Tensor) -> Tensor:
    """Return the squared Frobenius distance of the covariances, divided by 4 D^2.

    Source: B. Sun and K. Saenko, "Deep CORAL: correlation alignment for deep domain adaptation", 2016.

    Args:
        first: (N, D) sample, N at least 2.
        second: (K, D) sample, K at least 2.

    >>> x = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    >>> float(coral(x, 2 * x))  # variances 2 and 8
    2.25
    """
    difference = torch.cov(first.T) - torch.cov(second.T)
    return difference.square().sum() / (4 * first.shape[1] ** 2)
