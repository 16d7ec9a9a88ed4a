"""Whitening: a linear map of the embedding that makes the pictures of one person alike across the shift.

The map shrinks the directions in which target-like pictures differ from other pictures of the same person. It is
computed in closed form and becomes part of the network's last layer, so the network keeps its structure.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rsft.errors import InputError

MIN_PAIRS = 10.0  # in effect; below it no map is made
FOLDED_COSINE = 1 - 1e-4  # of the folded network's embeddings with the mapped ones, at least


def within_person_covariance(embeddings: np.ndarray, people: np.ndarray, likeness: np.ndarray) -> tuple[Tensor, float]:
    """Estimate the covariance of the difference between two pictures of a person, of which one is like the target.

    Every pair (i, j) of pictures of one person counts with the probability that at least one of them is accepted for
    the target alone, 1 - (1 - l_i) (1 - l_j). Embeddings are normalised first.

    Args:
        embeddings: (N, D) embeddings, of any norm.
        people: (N,) int person of each picture.
        likeness: (N,) probability that each picture is accepted for the target alone, in [0, 1]. With 1 everywhere, all
            pairs count alike.

    Returns:
        The covariance (D, D) float64, and the effective number of pairs.
    """
    unit = nn.functional.normalize(torch.from_numpy(np.asarray(embeddings, np.float64)))
    rejected = torch.from_numpy(1 - np.asarray(likeness, np.float64))
    rank = torch.from_numpy(np.unique(people, return_inverse=True)[1])
    # sum over pairs of w_ij (x_i - x_j)(x_i - x_j)^T with w = 1 - q_i q_j: a sum over the person less one weighted by q
    every, weight = _pair_scatter(unit, rank, torch.ones_like(rejected))
    neither, unlike = _pair_scatter(unit, rank, rejected)
    _, squares = _pair_scatter(unit, rank, rejected.square())
    total = weight - unlike
    # the sum of w^2 = 1 - 2 q_i q_j + q_i^2 q_j^2
    effective = float(total.square() / (weight - 2 * unlike + squares)) if total > 0 else 0.0
    return (every - neither) / total.clamp(min=torch.finfo(total.dtype).tiny), effective


def _pair_scatter(x: Tensor, people: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum over pairs of one person of q_i q_j (x_i - x_j)(x_i - x_j)^T, and the sum of q_i q_j.

    For one person the former is Q sum q x x^T - (sum q x)(sum q x)^T, where Q is the sum of q.
    """
    persons = int(people.max()) + 1
    sums = torch.zeros(persons, dtype=x.dtype).index_add_(0, people, weights)
    squares = torch.zeros(persons, dtype=x.dtype).index_add_(0, people, weights.square())
    means = torch.zeros(persons, x.shape[1], dtype=x.dtype).index_add_(0, people, weights[:, None] * x)
    return (x * (weights * sums[people])[:, None]).T @ x - means.T @ means, ((sums.square() - squares) / 2).sum()


def whitening_map(covariance: Tensor, strength: float) -> Tensor:
    """Return the symmetric map (D, D) that whitens a covariance, with a mean eigenvalue of 1.

    W is proportional to (strength * S + (1 - strength) * s I)^(-1/2), where s is the mean eigenvalue of S.

    Source: A. Hatch, S. Kajarekar and A. Stolcke, "Within-class covariance normalization for SVM-based speaker
    recognition", 2006.

    Args:
        covariance: (D, D) float64 covariance S.
        strength: Number in [0, 1). With 0 the map is the identity.

    >>> whitening_map(torch.diag(torch.tensor([4.0, 0.0])), 0.5).diagonal()
    tensor([0.7321, 1.2679])
    """
    values, vectors = torch.linalg.eigh(covariance)
    scales = (strength * values.clamp(min=0) + (1 - strength) * values.mean()).rsqrt()
    return vectors @ torch.diag(scales / scales.mean()) @ vectors.T


def whitening_of(embeddings: np.ndarray, people: np.ndarray, likeness: np.ndarray, strength: float) -> Tensor | None:
    """Return the map (D, D) of `whitening_map` for a pool, or None if too few pairs of one person are like the target.

    Args:
        embeddings: See `within_person_covariance`.
        people: See `within_person_covariance`.
        likeness: See `within_person_covariance`.
        strength: See `whitening_map`.
    """
    covariance, pairs = within_person_covariance(embeddings, people, likeness)
    if pairs < MIN_PAIRS or not covariance.diagonal().sum() > 0:
        return None
    return whitening_map(covariance, strength)


def fold_in(suffix: nn.Module, linear_map: Tensor, example: Tensor) -> None:
    """Change the last layer in place, so that the network returns `linear_map` times its embedding.

    The embedding must come from a linear layer or convolution, which at most one normalisation layer follows.

    Args:
        suffix: Module (B, ...) -> (B, D) in evaluation mode.
        linear_map: (D, D) map.
        example: (B, ...) input on which the result is checked.

    Raises:
        InputError: The network ends otherwise. It is left as it was.
    """
    before = {name: tensor.clone() for name, tensor in suffix.state_dict().items()}
    width = len(linear_map)
    with torch.no_grad():
        example = example.to(next(suffix.parameters()).device)
        wanted = suffix(example) @ linear_map.to(example).T
        last: nn.Linear | nn.Conv2d | None = None
        norm: _BatchNorm | None = None
        for module in suffix.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                last, norm = module, None
            elif isinstance(module, _BatchNorm):
                norm = module
        if last is not None and len(last.weight) == width and _fold(last, norm, linear_map):
            cosines = nn.functional.cosine_similarity(suffix(example), wanted)
            if bool((cosines >= FOLDED_COSINE).all()):
                return
        suffix.load_state_dict(before)
    raise InputError(
        "whitening needs a network whose embedding comes from a linear layer, with at most a batch normalisation after "
        "it: set recipe.whitening to 0 for this model."
    )


def _fold(last: nn.Linear | nn.Conv2d, norm: _BatchNorm | None, linear_map: Tensor) -> bool:
    """Multiply the layer, and the normalisation y -> gain * (y - mean) + shift after it; say whether there is room."""
    matrix = linear_map.to(last.weight.device)
    gain, mean, shift = _as_affine(norm, matrix)
    bias = torch.zeros_like(mean) if last.bias is None else last.bias.to(matrix)
    constant = matrix @ (gain * (bias - mean) + shift)  # the whole constant part of the new embedding
    flat = last.weight.to(matrix).flatten(1)
    last.weight.copy_(((matrix @ (gain[:, None] * flat)) / gain[:, None]).reshape(last.weight.shape))
    if norm is not None and norm.affine:
        norm.bias.copy_(constant - gain * (bias - mean))
    elif last.bias is not None:
        last.bias.copy_((constant - shift) / gain + mean)
    else:
        return not bool(constant.abs().max() > 0)
    return True


def _as_affine(norm: _BatchNorm | None, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (gain, mean, shift), (D,) each, of a normalisation with running statistics; ones and zeros for None."""
    ones, zeros = matrix.new_ones(len(matrix)), matrix.new_zeros(len(matrix))
    if norm is None or norm.running_var is None or norm.running_mean is None:
        return ones, zeros, zeros
    gain, mean = (norm.running_var.to(matrix) + norm.eps).rsqrt(), norm.running_mean.to(matrix)
    return (gain * norm.weight.to(matrix), mean, norm.bias.to(matrix)) if norm.affine else (gain, mean, zeros)
